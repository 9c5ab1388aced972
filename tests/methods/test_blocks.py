"""Selections of encoder blocks: the option `blocks` of every method that has it."""

from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import UserError
from bench.plugins.registry import Method, get_method, list_methods
from bench.sam import freeze_other_blocks, load_sam, select_blocks
from bench.spec import Task

TASK = Task(num_classes=2, image_size=64, weights="random")
METHODS = [method for method in list_methods() if "blocks" in method.options]


@pytest.mark.parametrize(
    ("blocks", "indices"),
    [
        ("all", range(12)),
        ("0-11", range(12)),
        ("7", (7,)),
        ("2+5+8-11", (2, 5, 8, 9, 10, 11)),
        ("0-1+3-3+5", (0, 1, 3, 5)),
    ],
)
def test_blocks_are_indices_and_ranges(blocks: str, indices: Any) -> None:
    assert select_blocks(blocks, 12) == tuple(indices)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ("", "write all, or indices and ranges joined by +, such as 0+2-11"),
        ("some", "write all, or indices and ranges joined by +"),
        ("2+", "write all, or indices and ranges joined by +"),
        ("2,5", "write all, or indices and ranges joined by +"),
        ("-1", "write all, or indices and ranges joined by +"),
        ("1-2-3", "write all, or indices and ranges joined by +"),
        ("\N{ARABIC-INDIC DIGIT TWO}", "write all, or indices and ranges joined by +"),
        ("2+8-5", "write the range 8-5 as 5-8"),
        ("2+12", "this encoder has no block 12, only 0-11"),
        ("0-99999999999", "this encoder has no block 99999999999, only 0-11"),
        ("2+5+2", "name each block once, in ascending order"),
        ("2-5+5", "name each block once, in ascending order"),
        ("5+2", "name each block once, in ascending order"),
    ],
)
def test_selections_that_cannot_be_read_are_refused(blocks: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        select_blocks(blocks, 12)
    assert str(raised.value).startswith(f"blocks '{blocks}'")
    assert message in str(raised.value)


def test_methods_that_adapt_blocks_let_them_be_selected() -> None:
    adapting = (
        "adapter bias_only lora med_sa mobile_sam_lora norm_only peft prompt_tokens sam_adapter"
        " sam_lora samed samed_s ssf"
    )
    assert [method.name for method in METHODS] == adapting.split()


def build(method: Method, blocks: str, backbone: str = "sam_nano", **options: Any) -> Any:
    torch.manual_seed(0)
    return method.build(Task(2, 64, backbone, "random"), blocks=blocks, **options)


def trained_blocks(model: Any) -> list[int]:
    """Indices of the blocks with a trainable parameter."""
    return [
        index
        for index, block in enumerate(model.image_encoder.blocks)
        if any(parameter.requires_grad for parameter in block.parameters())
    ]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_only_selected_blocks_are_adapted(method: Method) -> None:
    everything, by_range, some = (build(method, blocks) for blocks in ("all", "0-3", "0+2-3"))
    states = [model.state_dict() for model in (everything, by_range)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    base = load_sam(TASK).image_encoder.blocks[1]
    assert some.image_encoder.blocks[1].state_dict().keys() == base.state_dict().keys()
    if method.name == "sam_adapter":  # its new layers are outside the encoder
        assert list(some.positions) == [0, 2, 3]
        assert len(some.generator.blocks) == 3
    else:
        assert trained_blocks(everything) == [0, 1, 2, 3]
        assert trained_blocks(some) == [0, 2, 3]
    with pytest.raises(UserError, match="this encoder has no block 4, only 0-3"):
        build(method, "4")


def test_prompts_of_sam_adapter_enter_the_selected_blocks() -> None:
    model = build(get_method("sam_adapter"), "1+3").eval()
    x = torch.rand(1, 3, 64, 64)
    nn.init.constant_(model.generator.shared.bias, 1.0)
    calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(block: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        calls.append((inputs[0], output))

    for block in model.image_encoder.blocks:
        block.register_forward_hook(keep)
    with torch.no_grad():
        model(x)
    added = [(calls[i][0] - calls[i - 1][1]).abs().max().item() for i in (1, 2, 3)]
    assert added[0] > 0.5
    assert added[1] == 0
    assert added[2] > 0.5


@pytest.mark.parametrize("name", ["mobile_sam_lora", "ssf", "peft"])
def test_blocks_of_tiny_vit_are_numbered_in_the_order_of_the_forward_pass(name: str) -> None:
    model = build(get_method(name), "1-2+9", "mobile_sam")
    assert trained_blocks(model) == [1, 2, 9]


def test_layers_outside_the_blocks_are_left_alone() -> None:
    encoder = load_sam(TASK).image_encoder
    freeze_other_blocks(encoder, "1-2")
    frozen = {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}
    assert frozen
    assert all(name.startswith(("blocks.0.", "blocks.3.")) for name in frozen)


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        ("fo", {"attn.qkv", "attn.proj"}),
        ("m", {"mlp.fc1", "mlp.fc2"}),
        ("qvm", {"attn.qkv", "mlp.fc1", "mlp.fc2"}),
    ],
)
def test_the_convolutional_head_goes_with_lora_anywhere(targets: str, layers: set[str]) -> None:
    model = build(get_method("mobile_sam_lora"), "all", "mobile_sam", targets=targets)
    names = [name for name, p in model.image_encoder.named_parameters() if p.requires_grad]
    wrapped = {".".join(name.split(".updates.")[0].split(".")[-2:]) for name in names}
    assert wrapped == layers
    assert all(parameter.requires_grad for parameter in model.head.parameters())


def test_one_update_of_the_fused_layer_has_four_d_r_parameters() -> None:
    """d to r and r to 3 d, on 4 blocks of width 96."""
    fused = build(get_method("lora"), "all", targets="f", rank=2)
    trained = sum(p.numel() for p in fused.image_encoder.parameters() if p.requires_grad)
    assert trained == 4 * 2 * (96 + 3 * 96)
    with pytest.raises(UserError, match=r"targets 'fq': f already contains q, k and v"):
        build(get_method("lora"), "all", targets="fq")


def test_lora_in_the_encoder_alone_trains_nothing_else() -> None:
    model = build(get_method("lora"), "all", decoder="frozen")
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(".updates." in name for name in trained)
    model(torch.rand(1, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n in trained)
    with pytest.raises(UserError, match="decoder 'thawed': give trained or frozen"):
        build(get_method("lora"), "all", decoder="thawed")


def test_rank_zero_of_sam_lora_is_fine_tuning_of_the_encoder() -> None:
    method = get_method("sam_lora")
    model = build(method, "all", rank=0)
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {
        "image_encoder"
    }
    base = load_sam(TASK).image_encoder
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == sum(p.numel() for p in base.parameters())
    assert trained_blocks(build(method, "1+3", rank=0)) == [1, 3]
    with pytest.raises(UserError, match="rank -1 is negative: give 1 or more, or 0"):
        build(method, "all", rank=-1)
