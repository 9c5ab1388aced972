"""LoRA: its counts, its rows, merging, and Hugging Face's LoRA as an independent value."""

import importlib
from typing import Any

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from bench.errors import UnsupportedError
from bench.plugins.registry import get_method
from bench.sam import LoRALinear, add_lora, freeze, load_sam, merge
from bench.sam.backbones.sam import SIZES
from bench.sam.build import build_sam
from bench.spec import Task

TASK = Task(num_classes=3, image_size=64, weights="random")


def build(name: str, backbone: str = "sam_nano", **options: Any) -> Any:
    torch.manual_seed(0)
    task = Task(3, 64, backbone, "random")
    return get_method(name).build(task, **options).eval()


@torch.no_grad()
def as_if_trained(model: nn.Module) -> Any:
    random = torch.Generator().manual_seed(9)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=random), alpha=0.02)
    return model


# Parameters a rank, from the originals: one d x d projection, q and v, all four, both of the MLP.
LAWS = {
    "sam_vit_b": {"q": 18_432, "o": 18_432, "qv": 36_864, "qkvo": 73_728, "m": 92_160},
    "sam_vit_l": {"k": 49_152, "qv": 98_304, "qkvo": 196_608, "m": 245_760},
    "sam_vit_h": {"v": 81_920, "qv": 163_840, "qkvo": 327_680, "m": 409_600},
}
CASES = [(backbone, *law) for backbone, laws in LAWS.items() for law in laws.items()]


@pytest.mark.parametrize(("backbone", "targets", "a_rank"), CASES)
@pytest.mark.parametrize("rank", [1, 4])
def test_lora_has_the_counts_of_the_originals(
    backbone: str, targets: str, a_rank: int, rank: int
) -> None:
    with torch.device("meta"):
        encoder = build_sam(backbone, 1024).image_encoder
        freeze(encoder)
        for block in encoder.blocks:
            add_lora(block, rank, rank, targets)
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == rank * a_rank


def test_lora_has_the_same_counts_on_segment_anythings_own_encoder() -> None:
    arch = SIZES["b"]
    with torch.device("meta"):
        encoder = ImageEncoderViT(
            embed_dim=arch.width, depth=arch.depth, num_heads=arch.heads, use_rel_pos=True
        )
        freeze(encoder)
        for block in encoder.blocks:
            add_lora(block, 4, 4.0, "qv")
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == 147_456


def test_rows_of_a_per_head_layer_are_where_the_heads_are() -> None:
    """Two heads of width 3: rows are q0 k0 v0 q1 k1 v1, three numbers each."""
    torch.manual_seed(0)
    layer = as_if_trained(LoRALinear(nn.Linear(6, 18), 2, 2.0, "qv", of="qkv", heads=2))
    x = torch.rand(4, 6)
    change = (layer(x) - layer.base(x)).view(4, 2, 3, 3)  # rows, heads, slices, width
    assert (change[:, :, 1] == 0).all()
    for index, key in ((0, "q"), (2, "v")):
        torch.testing.assert_close(change[:, :, index].flatten(1), layer.updates[key](x))
    torch.testing.assert_close(layer.merged()(x), layer(x))


@pytest.mark.parametrize("targets", ["q", "v", "qkvom"])
def test_lora_on_tiny_vit_leaves_the_other_rows_alone(targets: str) -> None:
    model = as_if_trained(build("lora", "mobile_sam", targets=targets))
    assert len(model.image_encoder.blocks) == 10
    layer = model.image_encoder.blocks[0].attn.qkv
    heads = model.image_encoder.blocks[0].attn.num_heads
    assert layer.heads == heads == 4
    x = torch.rand(5, layer.base.in_features)
    change = (layer(x) - layer.base(x)).view(5, heads, 3, -1).abs().sum((0, 1, 3))
    assert [key in targets for key in "qkv"] == (change > 0).tolist()


LORA = [
    ("lora", "sam_nano", {}),
    ("lora", "sam_nano", {"targets": "qkvom", "alpha": 8.0}),
    ("lora", "sam_nano", {"targets": "k", "blocks": "1-2"}),
    ("lora", "mobile_sam", {"targets": "qkvom"}),
    ("decoder_lora", "sam_nano", {}),
    ("samed", "sam_nano", {}),
    ("samed_s", "sam_nano", {}),
    ("sam_lora", "sam_nano", {}),
    ("mobile_sam_lora", "mobile_sam", {}),
]


@pytest.mark.parametrize(("name", "backbone", "options"), LORA)
def test_merging_keeps_outputs_and_gives_the_bases_names(
    name: str, backbone: str, options: dict[str, Any]
) -> None:
    model = as_if_trained(build(name, backbone, **options))
    merged = merge(model)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        features, plain = model.image_encoder(images), merged.get_submodule("image_encoder")(images)
        torch.testing.assert_close(plain, features, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(merged(images), model(images), rtol=1e-5, atol=1e-5)
    assert not any(isinstance(part, LoRALinear) for part in merged.modules())
    base = load_sam(Task(3, 64, backbone, "random")).image_encoder
    encoder = merged.get_submodule("image_encoder").state_dict()
    shapes = {key: value.shape for key, value in base.state_dict().items()}
    assert {key: value.shape for key, value in encoder.items()} == shapes


def test_merging_leaves_the_model_itself_alone() -> None:
    model = as_if_trained(build("lora"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    merge(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", ["adapter", "full", "decoder_only", "sam_adapter", "zero_shot"])
def test_what_cannot_be_merged_says_so(name: str) -> None:
    with pytest.raises(UnsupportedError, match="nothing that can be merged"):
        merge(build(name))


def test_lora_equals_that_of_peft() -> None:
    """One update of the fused layer and of the projection: same weights, outputs, gradients."""
    peft: Any = importlib.import_module("peft")
    torch.manual_seed(0)
    ours, theirs = (load_sam(TASK).image_encoder for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    freeze(ours)
    layers = r"blocks\.\d+\.attn\.(qkv|proj)"
    for block in ours.blocks:
        for name in ("qkv", "proj"):
            layer = LoRALinear(getattr(block.attn, name), 4, 6.0)
            setattr(block.attn, name, layer)
    config = peft.LoraConfig(r=4, lora_alpha=6, target_modules=layers)
    theirs = peft.inject_adapter_in_model(config, theirs)
    as_if_trained(ours)
    pairs = []
    for mine, other in zip(ours.blocks, theirs.blocks, strict=True):
        for name in ("qkv", "proj"):
            update, layer = getattr(mine.attn, name).updates["o"], getattr(other.attn, name)
            pairs += [(update.a.weight, layer.lora_A["default"].weight)]
            pairs += [(update.b.weight, layer.lora_B["default"].weight)]
    with torch.no_grad():
        for source, target in pairs:
            target.copy_(source)
    images = torch.rand(2, 3, 64, 64)
    outputs = ours(images), theirs(images)
    torch.testing.assert_close(*outputs, rtol=1e-6, atol=1e-6)
    for output in outputs:
        output.square().sum().backward()
    for source, target in pairs:
        torch.testing.assert_close(source.grad, target.grad, rtol=1e-4, atol=1e-4)
    trained = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert sum(p.numel() for p in ours.parameters() if p.requires_grad) == trained


@pytest.mark.parametrize("key", ["q", "v"])
def test_a_slice_equals_pefts_lora_on_a_layer_of_its_own(key: str) -> None:
    """peft has no rows: a layer of the slice's rows alone stands for them."""
    peft: Any = importlib.import_module("peft")
    torch.manual_seed(0)
    fused = nn.Linear(12, 36)
    alone: Any = nn.Sequential(nn.Linear(12, 12))
    rows = slice(12 * "qkv".index(key), 12 * ("qkv".index(key) + 1))
    with torch.no_grad():
        alone[0].weight.copy_(fused.weight[rows])
        alone[0].bias.copy_(fused.bias[rows])
    ours = as_if_trained(LoRALinear(fused, 3, 3.0, key, of="qkv"))
    theirs = peft.inject_adapter_in_model(
        peft.LoraConfig(r=3, lora_alpha=3, target_modules=r"0"), alone
    )
    adapted = theirs[0]
    with torch.no_grad():
        adapted.lora_A["default"].weight.copy_(ours.updates[key].a.weight)
        adapted.lora_B["default"].weight.copy_(ours.updates[key].b.weight)
    x = torch.rand(5, 12)
    torch.testing.assert_close(ours(x)[:, rows], theirs(x))
    torch.testing.assert_close(merge(nn.Sequential(ours))(x)[:, rows], theirs(x))
