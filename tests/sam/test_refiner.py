"""The further stage of `--mask-grid fine`: how it starts, for whom it is, and what it costs."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from memory_error import compare
from torch import Tensor

import bench
from bench.cost.count import cost_card
from bench.data.bank import Bank
from bench.errors import UnsupportedError, UserError
from bench.learn.frozen import run_frozen_stages
from bench.learn.images import LabelledImages
from bench.learn.loop import fit
from bench.learn.model import Model
from bench.plugins.registry import get_method, list_methods
from bench.sam.refiner import MaskRefiner
from bench.spec import Recipe, Task

TASK = Task(3, 64, weights="random", mask_grid="fine")
PROMPTED = {"med_sa", "medsam", "sam_lora", "zero_shot"}
METHODS = list_methods(built_in_only=True)
REFINED = [m.name for m in METHODS if not m.from_scratch and m.name not in PROMPTED]


def build(name: str, task: Task = TASK) -> Any:
    torch.manual_seed(0)
    return get_method(name).build(task)


def images(count: int = 2) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, 3, 64, 64), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("name", REFINED)
def test_it_starts_as_a_bilinear_enlargement(name: str) -> None:
    fine, coarse = build(name).eval(), build(name, replace(TASK, mask_grid="coarse")).eval()
    shown = images().float() / 255
    with torch.no_grad():
        features = shown
        for stage in coarse.stages():
            features = stage.run(features)
        small = coarse.decode(features, low=True)
        expected = F.interpolate(small, (64, 64), mode="bilinear", align_corners=False)
        assert small.shape[-1] == 32
        torch.testing.assert_close(fine(shown), expected)
    ours, theirs = fine.state_dict(), coarse.state_dict()
    assert {key for key in ours if key not in theirs} == {
        key for key in ours if key.startswith("refiner.")
    }
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_it_is_refused_where_there_is_no_class_map_of_sam(method: Any) -> None:
    if method.name in REFINED:
        return
    why = "one mask for each prompt" if method.name in PROMPTED else "SAM's decoder, and this"
    with pytest.raises(UnsupportedError, match=why):
        method.build(replace(TASK, backbone="none") if method.from_scratch else TASK)


def test_it_sees_details_that_the_grid_of_sam_cannot_hold() -> None:
    """Stripes of one pixel: no enlargement of a coarser grid has them, the refiner learns them."""
    torch.manual_seed(0)
    refiner = MaskRefiner(2, 8, levels=2)
    columns = torch.arange(32) % 2
    picture = columns.expand(1, 3, 32, 32).float()
    truth = columns.expand(1, 32, 32)
    coarse, embedding = torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 2, 2)
    optimizer = torch.optim.AdamW(refiner.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(refiner(coarse, embedding, picture), truth)
        loss.backward()
        optimizer.step()
    assert torch.equal(refiner(coarse, embedding, picture).argmax(1), truth)


@pytest.mark.parametrize(("backbone", "levels"), [("sam_vit_b", 2), ("mobile_sam", 2)])
def test_it_doubles_the_grid_until_it_is_that_of_the_image(backbone: str, levels: int) -> None:
    task = Task(2, 256, backbone, "random", mask_grid="fine")
    with torch.device("meta"):
        model: Any = get_method("decoder_only").build(task).to("meta")
    assert len(model.refiner.up) == levels
    shown = torch.zeros(1, 3, 256, 256, device="meta")
    assert model(shown).shape == (1, 2, 256, 256)


@pytest.mark.parametrize("name", ["decoder_only", "lora", "frozen_head"])
def test_frozen_stages_are_reused_with_the_same_result(name: str) -> None:
    model = Model(build(name).train(), TASK, Recipe(lr=1e-2, precision="fp32"))
    inputs = run_frozen_stages(model, images(3), batch=2)
    assert inputs.encoded
    assert inputs.images is not None
    assert model.frozen_stages
    torch.testing.assert_close(model.logits(inputs[1:]), model.forward(images(3)[1:]))
    recipe = Recipe(lr=1e-2, optimizer="sgd", steps=3, batch_size=2, precision="fp32")
    masks = torch.randint(3, (3, 64, 64), dtype=torch.uint8)
    bank = Bank(images(3).permute(0, 2, 3, 1).numpy(), masks.numpy())
    views, states = LabelledImages.of(bank, torch.device("cpu")), []
    for keep in (True, False):
        trained = Model(build(name), TASK, recipe)
        fit(
            trained, views, seed=0, report=lambda row: None, validate=lambda: None,
            keep_frozen=keep,
        )  # fmt: skip
        states.append(trained.module.state_dict())
    assert states[0]["refiner.change.weight"].any()
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-4, atol=1e-6, msg=key)


def test_the_loss_at_the_decoder_reaches_it() -> None:
    recipe = Recipe(lr=1e-3, loss_at="decoder", precision="fp32")
    model = Model(build("samed"), TASK, recipe)
    inputs = run_frozen_stages(model, images())
    assert model.logits(inputs, small=True).shape == (2, 3, 64, 64)


def test_its_costs_are_counted() -> None:
    coarse, fine = (
        cost_card(get_method("lora"), {}, replace(TASK, image_size=256, mask_grid=grid)).counts
        for grid in ("coarse", "fine")
    )
    # By hand: K = 3, C = 96; 16 channels at 256 px, 32 at 128 px.
    norms = 2 * (16 + 32 + 32 + 16)
    weights = 9 * (3 * 16 + 16 * 32 + (64 + 3) * 32 + 48 * 16) + (96 + 1) * 32 + (16 + 1) * 3
    assert fine.total_params - coarse.total_params == norms + weights
    assert fine.trainable_params - coarse.trainable_params == norms + weights
    full, half, s = 256**2, 128**2, 32**2
    multiply_adds = full * (9 * 3 * 16 + 9 * 48 * 16 + 16 * 3)
    multiply_adds += half * (9 * 16 * 32 + 9 * 67 * 32) + s * 96 * 32
    assert fine.part_flops["refiner"] == 2 * multiply_adds
    assert fine.forward_flops - coarse.forward_flops == 2 * multiply_adds
    assert fine.train_step_flops - coarse.train_step_flops > 4 * multiply_adds
    names = fine.saved_bytes - coarse.saved_bytes - 4 * (norms + weights)  # in the file's header
    assert 0 < names < 2000


def test_its_memory_is_predicted() -> None:
    recipe = Recipe(1e-4, batch_size=2, precision="fp32")
    predicted, measured = compare(get_method("frozen_head"), TASK, recipe)
    assert predicted.weights == measured.weights
    assert predicted.peak == pytest.approx(measured.peak, rel=0.005)


def test_predicted_costs_are_those_of_the_grid() -> None:
    coarse, fine = (
        bench.predict_cost("frozen_head", image_size=64, mask_grid=grid).iloc[0]
        for grid in ("coarse", "fine")
    )
    assert (coarse["mask_grid"], fine["mask_grid"]) == ("coarse", "fine")
    assert fine["activations_bytes"] > 2 * coarse["activations_bytes"]
    assert bench.predict_cost("unet", image_size=64, mask_grid="fine").iloc[0]["reason"]
    with pytest.raises(UserError, match="grid of masks"):
        bench.predict_cost("lora", mask_grid="finest")
