"""Published recipes: from registration to steps, rates, augmentation and the loss's side."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from banks import make_bank
from folders import make_folder
from torch import nn

from bench import SamSegmenter, SemanticDecoder, Task, UserError, cli, load_sam, register_method
from bench.ask.grid import expand, recipe_of
from bench.ask.request import Request
from bench.cost import measure
from bench.data.bank import Bank
from bench.errors import UnsupportedError
from bench.learn.images import LabelledImages
from bench.learn.loop import fit, learning_rate, make_optimizer, train_step
from bench.learn.losses import get_loss
from bench.learn.model import Model, ModelInput
from bench.plugins import registry
from bench.plugins.registry import get_method, list_methods
from bench.run.cell import run_cell
from bench.run.store import Store
from bench.spec import Cell, Recipe

# SAMed's, as its code trains: see docs/protocol/training.md.
POLY = Recipe(
    lr=0.005,
    optimizer="adamw",
    weight_decay=0.1,
    warmup_steps=250,
    schedule="poly",
    power=0.9,
    horizon=200 / 160,
    loss="ce_squared_dice",
    loss_at="decoder",
    epochs=160,
    batch_size=24,
    augmentation="turns",
    precision="fp32",
    clip_norm=0.0,
)


# As its source states it: optimiser, decay, rate, schedule, epochs, batch, loss, side, views, size.
STATED = {
    "samed": POLY,
    "samed_s": POLY,
    "sam_lora": ("adam", 0.0, 1e-4, "constant", 50, 1, "bce_binary_dice", "image", "none", 1024),
    "sam_adapter": ("adamw", 0.01, 2e-4, "cosine", 20, 2, "bce_soft_iou", "image", "mirror", 1024),
    "med_sa": (
        "adam",
        0.0,
        1e-4,
        "constant",
        100,
        32,
        "bce_positive_twice",
        "decoder",
        "none",
        1024,
    ),
    "medsam": ("adamw", 0.01, 1e-4, "constant", 150, 160, "bce_binary_dice", "image", "none", 1024),
}


@pytest.mark.parametrize("name", STATED)
def test_a_published_recipe_is_what_its_source_states(name: str) -> None:
    method, stated = get_method(name), STATED[name]
    recipe = method.published
    assert recipe is not None
    assert (recipe.precision, recipe.clip_norm) == ("fp32", 0.0)
    if isinstance(stated, Recipe):
        assert (recipe, method.published_size) == (stated, 512)
        return
    named = (recipe.optimizer, recipe.weight_decay, recipe.lr, recipe.schedule, recipe.epochs)
    seen = (recipe.loss_at, recipe.augmentation, method.published_size)
    assert (*named, recipe.batch_size, recipe.loss, *seen) == stated
    assert recipe.warmup_steps == 0


def test_a_report_states_a_part_of_a_recipe() -> None:
    """docs/protocol/training.md says what the reports on particles, steel and nuclei omit."""
    lora, unet3plus, mobile = map(get_method, ("lora", "unet3plus", "mobile_sam_lora"))
    assert lora.published is not None
    stated = (lora.published.optimizer, lora.published.weight_decay, lora.published.lr)
    assert (*stated, lora.published.batch_size) == ("adam", 0.01, 1e-4, 4)
    views = round(5820 * 0.7)
    assert (lora.published.bank_views, lora.published.epoch_images) == (views, views)
    assert lora.published.epochs == 40
    assert (lora.published_size, lora.published_options["rank"]) == (512, 512)
    for network in (unet3plus, get_method("elunet")):
        assert network.published is not None
        assert (network.published.bank_views, network.published.batch_size) == (4480, 16)
        assert network.published.loss == "focal_jaccard_ms_ssim"
        assert network.published_size == 800
    assert mobile.published is not None
    assert (mobile.published.epochs, mobile.published.batch_size) == (10, 4)
    assert mobile.published_size == 1024


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    """A method with a published recipe, forgotten after the test."""
    methods = registry._METHODS
    methods.names()
    monkeypatch.setattr(methods, "entries", dict(methods.entries))

    @register_method("toy", paper="https://example.org", lr=1e-3, published=POLY, published_size=96)
    def toy(task: Task) -> nn.Module:
        """A convolution."""
        return nn.Conv2d(3, task.num_classes, 1)

    return "toy"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "mine")


def ask(folder: Path, methods: str, **asked: Any) -> tuple[list[Cell], list[str]]:
    whole = {"protocol": "published", "weights": "random", **asked}
    return expand(Request(methods=methods, datasets=str(folder), **whole))


def the_cell(folder: Path, methods: str, **asked: Any) -> Cell:
    (cell,), _ = ask(folder, methods, **asked)
    return cell


def test_a_method_brings_its_recipe_and_image_side(folder: Path, toy: str) -> None:
    (cell,), notes = ask(folder, toy, labels="3")
    steps = 160  # one batch of 3 images in each epoch
    assert cell.recipe == replace(POLY, steps=steps, epochs=None, epoch_images=3)
    assert cell.task.image_size == 96
    assert cell.protocol == "published"
    assert Cell.from_dict(cell.to_dict()) == cell
    told = f"toy: {steps} steps of 24 images at 96 px in fp32, adamw at 0.005 (poly)"
    assert any(note.startswith(told) and note.endswith("epochs of 3 images") for note in notes)
    equal = the_cell(folder, toy, protocol="equal")
    assert equal.recipe == Recipe(lr=1e-3)
    assert (
        equal.task.image_size == the_cell(folder, "frozen_head", protocol="equal").task.image_size
    )


def test_a_method_brings_its_published_options_unless_others_are_typed(folder: Path) -> None:
    assert the_cell(folder, "sam_lora").label == "sam_lora[rank=512,unit=class]"
    assert the_cell(folder, "sam_lora[rank=8]").label == "sam_lora[rank=8,unit=class]"
    typed = the_cell(folder, "sam_lora[rank=4,unit=object]")  # the defaults
    assert typed.label == "sam_lora"
    assert the_cell(folder, "sam_lora", protocol="equal").label == "sam_lora"
    assert the_cell(folder, "unet3plus").options == {"width": 64}


def test_another_loss_is_another_cell(folder: Path, toy: str) -> None:
    plain, other = (the_cell(folder, toy, loss=name) for name in (None, "binary_dice"))
    assert (plain.recipe.loss, other.recipe.loss) == (POLY.loss, "binary_dice")
    assert plain.id != other.id
    with pytest.raises(UserError, match=r"no loss 'dise'\. Did you mean 'dice'"):
        ask(folder, toy, loss="dise")


def test_checkpointing_is_asked_for_and_told_apart(folder: Path) -> None:
    """Records from before it could be asked for keep their names."""
    plain, saving = (
        the_cell(folder, "lora", protocol="equal", checkpointing=on) for on in (False, True)
    )
    assert saving.recipe.checkpointing
    assert plain.id != saving.id
    old = plain.to_dict()
    del old["recipe"]["checkpointing"]
    assert Cell.from_dict(old) == plain


@pytest.mark.parametrize("method", ["lora", "med_sa", "unet"])
def test_checkpointing_keeps_fewer_activations(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    for name in ("WARMUP_S", "BLOCK_S", "LIMIT_S"):
        monkeypatch.setattr(measure, name, 0.01)
    small = {"protocol": "equal", "steps": 2, "batch_size": 2, "image_size": 64}
    cell = the_cell(folder, method, precision="fp32", **small)
    again = replace(cell, recipe=replace(cell.recipe, checkpointing=True))
    store = Store.open(tmp_path / "out")
    if method == "unet":
        with pytest.raises(UnsupportedError, match="no encoder blocks"):
            run_cell(again, torch.device("cpu"), store, lambda event: None)
        return
    kept, less = (
        run_cell(c, torch.device("cpu"), store, lambda event: None) for c in (cell, again)
    )
    assert kept.history[-1]["loss"] == less.history[-1]["loss"]
    assert kept.metrics == less.metrics
    more, fewer = (dataclasses.asdict(record.cost) for record in (kept, less) if record.cost)
    assert fewer["activations_bytes"] < 0.6 * more["activations_bytes"]
    assert fewer["train_step_flops"] > 1.2 * more["train_step_flops"]


def test_a_dry_run_tells_the_recipe(
    folder: Path, toy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("COLUMNS", "200")
    line = f"--dataset {folder} --methods {toy} --labels 3 --protocol published --weights random"
    assert cli.main([*line.split(), "--dry-run"]) == 0
    assert "note: toy: 160 steps of 24 images at 96 px in fp32, adamw" in capsys.readouterr().out


def test_a_cell_runs_by_its_recipe(
    folder: Path, toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WARMUP_S", "BLOCK_S", "LIMIT_S"):
        monkeypatch.setattr(measure, name, 0.01)
    full = replace(POLY, loss_at="image", loss="bce_soft_iou")
    registry._METHODS.entries[toy] = replace(registry.get_method(toy), published=full)
    cell = the_cell(folder, toy, labels="3", epochs=2, batch_size=2, image_size=32)
    record = run_cell(cell, torch.device("cpu"), Store.open(tmp_path / "out"), lambda event: None)
    assert record.status == "ok"
    assert (record.history[-1]["step"], record.history[-1]["epoch"]) == (4, 2)
    assert record.cell.recipe == replace(full, steps=4, batch_size=2, epochs=None, epoch_images=3)


@pytest.mark.parametrize(
    ("asked", "steps", "batch", "epoch_images"),
    [
        ({"steps": 7}, 7, 24, None),
        ({"epochs": 16}, 16, 24, 3),
        ({"batch_size": 2}, 320, 2, 3),
        ({"batch_size": 3}, 160, 3, 3),
        ({"epochs": 1, "batch_size": 2}, 2, 2, 3),
    ],
)
def test_what_is_asked_wins(
    folder: Path,
    toy: str,
    asked: dict[str, int],
    steps: int,
    batch: int,
    epoch_images: int | None,
) -> None:
    cell = the_cell(folder, toy, labels="3", image_size=64, precision="bf16", **asked)
    expected = replace(POLY, steps=steps, batch_size=batch, precision="bf16", epochs=None)
    assert cell.recipe == replace(expected, epoch_images=epoch_images)
    assert cell.task.image_size == 64


# Steps on the 2,211 slices of SAMed's Synapse: epochs x batches of an epoch, the short one too.
STEPS = {
    "samed": 160 * 93,  # 92 batches of 24 and one of 3: 14,880 steps
    "samed_s": 160 * 93,
    "sam_lora": 50 * 2211,
    "sam_adapter": 20 * 1106,
    "med_sa": 100 * 70,
    "medsam": 150 * 14,
    "mobile_sam_lora": 10 * 553,
    "lora": 40 * 1019,  # over the 4,074 views of its report
}


def test_every_epoch_keeps_its_last_short_batch() -> None:
    request = Request(methods="", datasets="", protocol="published")
    epochs = {m.name: m for m in list_methods() if m.published and m.published.epochs}
    assert {name: recipe_of(request, m, 2211).steps for name, m in epochs.items()} == STEPS
    equal = replace(request, protocol="equal", epochs=3)
    assert recipe_of(equal, epochs["lora"], 2211).steps == math.ceil(3 * 2211 / 4)


def test_the_batches_of_an_epoch_are_those_of_a_data_loader() -> None:
    """7 images in batches of 3: each epoch takes each image once, in batches of 3, 3 and 1."""
    bank = Bank(np.zeros((7, 4, 4, 3), np.uint8), np.zeros((7, 4, 4), np.uint8))
    bank.images[:] = np.arange(7)[:, None, None, None]
    images = LabelledImages.of(bank, torch.device("cpu"))
    batches: list[list[int]] = []

    class Recorder(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            batches.append((x[:, 0, 0, 0] * 255).round().int().tolist())
            return super().forward(x)

    recipe = Recipe(lr=0.0, steps=6, batch_size=3, precision="fp32", epoch_images=7)
    model = Model(Recorder(3, 2, 1), Task(2, 4, "none"), recipe)
    curve = fit(model, images, seed=0, report=lambda row: None, validate=lambda: None, points=2)
    assert [len(batch) for batch in batches] == [3, 3, 1, 3, 3, 1]
    for epoch in (batches[:3], batches[3:]):
        assert sorted(view for batch in epoch for view in batch) == list(range(7))
    assert [row["epoch"] for row in curve] == [1, 2]


def test_a_method_without_a_published_recipe_is_refused(folder: Path, toy: str) -> None:
    with pytest.raises(UserError, match=r"^zero_shot has no published recipe: remove it, or"):
        ask(folder, f"{toy},zero_shot")
    with pytest.raises(UserError, match=r"no protocol 'publish'\. Did you mean 'published'"):
        ask(folder, toy, protocol="publish")


def test_the_rate_of_samed() -> None:
    """Base / 250 first, the base after 250 steps, then to the power .9 of what 200 epochs leave."""
    recipe = replace(POLY, steps=1600)
    assert learning_rate(recipe, 0) == pytest.approx(0.005 / 250)
    assert learning_rate(recipe, 249) == pytest.approx(0.005)
    for step in (250, 800, 1599):
        expected = 0.005 * (1 - (step - 250) / 2000) ** 0.9
        assert learning_rate(recipe, step) == pytest.approx(expected)


@pytest.mark.parametrize("epochs", [20, 100])
def test_a_cosine_set_once_an_epoch_is_torch_s(epochs: int) -> None:
    """As SAM-Adapter: 20 epochs, here of 5 steps, down to 1e-7."""
    steps = 5 * epochs
    recipe = Recipe(lr=2e-4, steps=steps, warmup_steps=0, rate_levels=epochs, final_lr=1e-7)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 2e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, eta_min=1e-7)
    for epoch in range(epochs):
        rates = [learning_rate(recipe, 5 * epoch + i) for i in range(5)]
        assert rates == pytest.approx([optimizer.param_groups[0]["lr"]] * 5)
        optimizer.step()
        schedule.step()


def test_a_constant_rate_stays() -> None:
    recipe = Recipe(lr=1e-4, steps=50, warmup_steps=0, schedule="constant")
    assert {learning_rate(recipe, step) for step in range(50)} == {1e-4}


def test_no_clipping_leaves_the_gradients() -> None:
    """One step of SGD moves the weight by rate x gradient, however large."""
    images = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    masks = torch.ones(2, 4, 4, dtype=torch.uint8)

    def moved(clip_norm: float) -> float:
        torch.manual_seed(0)
        module = nn.Conv2d(3, 2, 1)
        before = [p.detach().clone() for p in module.parameters()]
        recipe = Recipe(lr=1.0, optimizer="sgd", weight_decay=0.0, loss="ce", clip_norm=clip_norm)
        recipe = replace(recipe, precision="fp32")
        model = Model(module, Task(2, 4, "none"), recipe)
        train_step(model, make_optimizer(model), ModelInput(images), masks)
        after = torch.cat(
            [(p - q).flatten() for p, q in zip(module.parameters(), before, strict=True)]
        )
        return after.norm().item()

    assert moved(0.01) == pytest.approx(0.01, rel=1e-3)
    assert moved(0.0) > 0.1


def segmenter() -> SamSegmenter:
    torch.manual_seed(0)
    sam = load_sam(Task(3, image_size=64, weights="random"))
    return SamSegmenter(sam, SemanticDecoder(sam, 3))


def test_the_loss_can_be_taken_at_the_decoder_s_side() -> None:
    recipe = Recipe(lr=1e-3, loss_at="decoder", loss="ce_squared_dice", precision="fp32")
    model = Model(segmenter(), Task(3, 64, weights="random"), recipe)
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    masks = torch.randint(3, (2, 64, 64), dtype=torch.uint8)
    small, full = model.logits(ModelInput(images), small=True), model.forward(images)
    side = small.shape[-1]
    assert side == 4 * 64 // 8  # patches of 8
    upsampled = nn.functional.interpolate(small, (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsampled, full)
    factor = 64 // side
    centre = masks[:, factor // 2 :: factor, factor // 2 :: factor]
    expected = get_loss(recipe.loss)(small, centre)
    loss = train_step(model, make_optimizer(model), ModelInput(images), masks)
    torch.testing.assert_close(loss, expected.detach())
    with pytest.raises(UnsupportedError, match="this model does not run in stages"):
        Model(nn.Conv2d(3, 2, 1), model.task, recipe).logits(ModelInput(images), small=True)


def pairs() -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    return [
        (rng.integers(1, 256, (24, 24, 3), dtype=np.uint8), np.full((24, 24), k, np.uint8))
        for k in (1, 2)
    ]


def bank(kind: str, views: int = 0, seed: int = 0) -> Bank:
    return make_bank(pairs(), views=views, size=24, kind=kind, seed=seed)


def test_half_of_the_views_are_mirrored() -> None:
    made = bank("mirror", views=50)
    assert len(made) == 4
    for k, (image, _) in enumerate(pairs()):
        np.testing.assert_array_equal(made.images[k], image)
        np.testing.assert_array_equal(made.images[k + 2], image[:, ::-1])


def test_the_mix_of_samed_is_half_flips_a_quarter_rotations_a_quarter_whole() -> None:
    made = bank("turns", views=90)
    assert len(made) == 96
    image = pairs()[0][0]
    whole = sum(np.array_equal(view, image) for view in made.images[::2])
    reflections = [np.rot90(image, k)[:, ::-1] for k in range(4)]
    flipped = [
        sum(np.array_equal(view, reflection) for view in made.images[::2])
        for reflection in reflections
    ]
    assert sum(flipped) == 24
    assert min(flipped) > 0
    zero_degrees = whole - 12
    assert 0 <= zero_degrees <= 3
    for turned, mask in zip(made.images[4::8], made.masks[4::8], strict=True):
        corner = (turned == 0).all(-1)  # no pixel of the image is black
        np.testing.assert_array_equal(mask == 0, corner)
    again, longer = bank("turns", views=90), bank("turns", views=97)
    np.testing.assert_array_equal(made.images, again.images)
    np.testing.assert_array_equal(made.images, longer.images[:96])
    assert (bank("turns", views=90, seed=1).images != made.images).any()


RECIPES = [method for method in list_methods() if method.published is not None]


@pytest.mark.parametrize("method", RECIPES, ids=lambda method: method.name)
def test_every_published_recipe_can_be_followed(method: registry.Method) -> None:
    """It names a loss, an augmentation, an optimiser and a schedule that exist."""
    recipe = method.published
    assert recipe is not None
    get_loss(recipe.loss)
    assert bank(recipe.augmentation, recipe.bank_views).images.size
    model = Model(nn.Conv2d(3, 2, 1), Task(2, 8, "none"), recipe)
    assert make_optimizer(model).param_groups[0]["lr"] == recipe.lr
    assert 0 < learning_rate(recipe, recipe.steps - 1) <= recipe.lr
    assert recipe.loss_at in ("image", "decoder")


@pytest.mark.parametrize("change", [lambda r: r, lambda r: replace(r, lr=0.0)])
def test_a_published_recipe_trains(change: Callable[[Recipe], Recipe]) -> None:
    """SAMed's, cut to a few steps: the loss falls; without a rate nothing moves."""
    recipe = change(replace(POLY, steps=12, batch_size=2, warmup_steps=2))
    module = segmenter()
    made = make_bank(
        [(np.full((64, 64, 3), 40 * k, np.uint8), np.full((64, 64), k, np.uint8)) for k in (1, 2)],
        views=0,
        size=64,
        kind=recipe.augmentation,
        seed=0,
    )
    curve = fit(
        Model(module, Task(3, 64, weights="random"), recipe),
        LabelledImages.of(made, torch.device("cpu")),
        seed=0,
        report=lambda row: None,
        validate=lambda: None,
        points=2,
    )
    if recipe.lr:
        assert curve[-1]["loss"] < curve[0]["loss"]
    else:
        fresh = segmenter().state_dict()
        assert all(torch.equal(value, fresh[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("asked", "native", "precision"),
    [
        ({}, True, None),
        ({}, False, "fp32"),
        ({"precision": "bf16"}, False, "bf16"),
        ({"protocol": "published"}, False, None),
    ],
)
def test_a_device_that_emulates_bf16_gets_fp32(
    asked: dict[str, Any], native: bool, precision: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.sam.precision.computes_bf16", lambda device: native)
    request = Request("lora", "steel", **asked)
    assert request.on_device("cuda") == replace(request, precision=precision)
