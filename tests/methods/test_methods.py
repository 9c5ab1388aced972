"""The contract, checked for every file in methods/, and what some methods promise besides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.contract.methods import completes_a_cell, promises_of
from bench.contract.tiny import write_tiny_folder
from bench.cost.flops import on_meta
from bench.data.bank import Bank
from bench.errors import UnsupportedError, UserError
from bench.learn.images import LabelledImages
from bench.learn.loop import fit
from bench.learn.model import Model
from bench.plugins.registry import Method, get_method, list_methods
from bench.run.cell import work
from bench.run.store import Store
from bench.sam import Prompts, load_sam
from bench.spec import Cell, Recipe, Task

TASK = Task(num_classes=3, image_size=64, weights="random")
METHODS = list_methods()
TRAINED = [method for method in METHODS if method.lr is not None]


def build(name: str, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return get_method(name).build(TASK, **options)


def batch(count: int = 2, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=random)
    masks = torch.randint(3, (count, size, size), dtype=torch.uint8, generator=random)
    return images, masks


def prompts(count: int) -> Prompts:
    box = torch.tensor([[8.0, 8.0, 40.0, 48.0]])
    one = Prompts((box,), (torch.tensor([[[24.0, 24.0]]]),), (torch.tensor([2]),))
    return Prompts.join([one] * count)


def every(methods: list[Method]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("method", methods, ids=lambda method: method.name)


@pytest.mark.parametrize(
    ("method", "check"),
    [
        pytest.param(
            method,
            check,
            id=f"{method.name}-{check.__name__}",
            marks=[pytest.mark.slow] if check is completes_a_cell else [],
        )
        for method in METHODS
        for check in promises_of(method)
    ],
)
def test_keeps_its_contract(method: Method, check: Callable[[Method, Task], None]) -> None:
    check(method, TASK)


@every(TRAINED)
def test_reusing_frozen_work_changes_nothing(method: Method) -> None:
    images, masks = batch(6)
    bank = Bank(images.permute(0, 2, 3, 1).numpy(), masks.numpy())
    views = LabelledImages.of(bank, torch.device("cpu"))
    # Plain gradient descent: Adam makes whole steps of differences in the last digit.
    recipe = Recipe(
        lr=1e-2, optimizer="sgd", steps=4, batch_size=3, precision="fp32", warmup_steps=1
    )
    results = []
    for keep in (True, False):
        model = build(method.name)
        fit(
            Model(model, TASK, recipe), views, seed=0, report=lambda row: None,
            validate=lambda: None, keep_frozen=keep,
        )  # fmt: skip
        results.append(model.state_dict())
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("name", "options"),
    [("lora", {}), ("lora", {"targets": "qkvom"}), ("adapter", {}), ("decoder_lora", {})],
)
def test_untrained_adapters_give_the_output_of_the_base(name: str, options: dict[str, Any]) -> None:
    base, adapted = build("decoder_only"), build(name, 5, **options)
    missing = adapted.load_state_dict(_renamed(base, adapted), strict=False)
    assert not missing.unexpected_keys
    images = batch()[0].float() / 255
    with torch.no_grad():
        assert torch.equal(base.eval()(images), adapted.eval()(images))


def _renamed(base: nn.Module, adapted: nn.Module) -> dict[str, torch.Tensor]:
    """The base's tensors under the names that wrappers gave them."""
    strip = {
        name.replace(".base.", ".").replace(".layer.", "."): name for name in adapted.state_dict()
    }
    return {strip[name]: value for name, value in base.state_dict().items()}


@pytest.mark.parametrize(("targets", "pairs"), [("qv", 2), ("qkv", 3), ("qkvo", 4), ("q", 1)])
@pytest.mark.parametrize("rank", [1, 4])
def test_lora_has_two_d_r_parameters_a_projection(targets: str, pairs: int, rank: int) -> None:
    """Width 96 and 4 blocks: 2 d r for each projection of each block."""
    model = build("lora", targets=targets, rank=rank)
    update = sum(p.numel() for n, p in model.image_encoder.named_parameters() if p.requires_grad)
    assert update == 4 * pairs * 2 * 96 * rank


def test_lora_on_the_mlp_and_on_some_blocks() -> None:
    model = build("lora", targets="m", rank=2, blocks="2-3")
    update = sum(p.numel() for n, p in model.image_encoder.named_parameters() if p.requires_grad)
    assert update == 2 * (2 * 2 * (96 + 384))  # blocks, layers, r (in + out)
    frozen = Model(model, TASK, Recipe(lr=0.0)).frozen_stages
    assert frozen == 1 + 2  # embedding and blocks 0 and 1 run once per image


def test_lora_leaves_keys_alone() -> None:
    layer = build("lora").image_encoder.blocks[0].attn.qkv
    for update in layer.updates.values():
        nn.init.ones_(update.b.weight)
    tokens = torch.rand(2, 96)
    change = (layer(tokens) - layer.base(tokens)).abs().sum(0)
    assert (change[:96] > 0).all()
    assert (change[96:192] == 0).all()
    assert (change[192:] > 0).all()


def test_adapter_has_two_bottlenecks_a_block() -> None:
    model = build("adapter", bottleneck=8)
    added = sum(p.numel() for p in model.image_encoder.parameters() if p.requires_grad)
    assert added == 4 * 2 * (2 * 96 * 8 + 8 + 96)


def test_frozen_encoders_run_once_an_image() -> None:
    for name in ("frozen_head", "decoder_only", "decoder_lora", "zero_shot"):
        model = Model(build(name), TASK, Recipe(lr=0.0))
        assert model.frozen_stages == len(model.stages), name
    assert Model(build("full"), TASK, Recipe(lr=0.0)).frozen_stages == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lora", {"rank": 0}),
        ("lora", {"alpha": -1.0}),
        ("lora", {"targets": "qx"}),
        ("lora", {"targets": "qq"}),
        ("lora", {"targets": ""}),
        ("lora", {"blocks": "4-9"}),
        ("lora", {"blocks": "5-4"}),
        ("lora", {"blocks": "some"}),
        ("adapter", {"bottleneck": 0}),
        ("decoder_lora", {"rank": -2}),
        ("zero_shot", {"prompt": "text"}),
        ("samed", {"rank": 0}),
        ("samed", {"targets": "qx"}),
        ("samed", {"pixels": "raw"}),
        ("sam_lora", {"prompt": "text"}),
        ("sam_adapter", {"reduction": 0}),
        ("med_sa", {"dims": 4}),
        ("med_sa", {"condition": "mul"}),
        ("medsam", {"overlap": 2.0}),
        ("mobile_sam_lora", {"rank": 0}),
        ("unet", {"width": 1}),
        ("unet", {"encoder": "resnet_x"}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        build(name, **options)


def test_classes_start_from_sams_mask_tokens() -> None:
    torch.manual_seed(0)
    sam = load_sam(TASK)
    torch.manual_seed(0)
    model: Any = get_method("decoder_only").build(Task(6, 64, weights="random"))
    decoder = model.head.mask_decoder
    assert decoder.num_mask_tokens == 6
    expected = sam.mask_decoder.mask_tokens.weight[[0, 1, 2, 3, 0, 1]]
    assert torch.equal(decoder.mask_tokens.weight, expected)


def test_zero_shot_joins_the_masks_of_a_class() -> None:
    model = build("zero_shot").eval()
    images = batch(1)[0].float() / 255
    with torch.no_grad():
        nothing = model(images)
        asked = model(images, prompts(1))
    assert (nothing.argmax(1) == 0).all()
    assert torch.equal(asked[:, :2], nothing[:, :2])  # only class 2 was asked for
    assert (asked[:, 2] > nothing[:, 2]).any()


def test_the_whole_image_as_prompt_is_not_an_oracle_prompt(tmp_path: Path) -> None:
    """A cell without any use of the truth: its record says so, and its box is the image."""
    folder = write_tiny_folder(tmp_path / "tiny")
    store = Store.open(tmp_path / "results")
    task, recipe = Task(2, 64, weights="random"), Recipe(lr=0.0, precision="fp32")
    cell = Cell("zero_shot", str(folder), task, recipe, {"prompt": "image"})
    work(cell, "cpu", torch.get_num_threads(), store, lambda event: None)
    record = store.read(cell)
    assert record is not None
    assert (record.status, record.prompts) == ("ok", "automatic")
    origins = {
        name: [get_method(name).prompt_origin({"prompt": kind}) for kind in ("box", "image")]
        for name in ("zero_shot", "sam_lora", "med_sa", "medsam")
    }
    assert all(origin == ["oracle", "automatic"] for origin in origins.values())
    assert get_method("lora").prompt_origin({"rank": 2}) == "none"
    with pytest.raises(UnsupportedError, match="selects no class"):
        build("zero_shot", prompt="image")


def test_a_meta_copy_counts_like_the_model() -> None:
    model = build("lora")
    assert [p.shape for p in on_meta(model).parameters()] == [p.shape for p in model.parameters()]
    assert not any(p.is_meta for p in model.parameters())
