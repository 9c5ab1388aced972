"""The loss of learned distances, and the views that it learns from."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from banks import make_bank
from folders import make_folder
from torch import nn

from bench.cost.predict.memory import kept_bytes
from bench.data.bank import Bank
from bench.errors import UnsupportedError
from bench.learn.distance_loss import SCALE, distance_loss
from bench.learn.images import (
    MOST_BYTES,
    DrawnImages,
    LabelledImages,
    TrainingImages,
    image_views,
    training_images,
)
from bench.learn.losses import get_loss
from bench.learn.model import Model
from bench.objects.rules import RULES
from bench.objects.targets import distance_maps
from bench.plugins.registry import load_collection
from bench.sam.prompts import PromptRule
from bench.spec import Recipe, Task

RECIPE = Recipe(lr=1e-3, objects="distances", precision="fp32")
TASK = Task(2, 8, "none", "random")
BOTH = (1.0, 1.0)  # weights of the two maps of the rule "distances"


class Constant(nn.Module):
    """Outputs (B, 4, S, S) that do not depend on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs = nn.Parameter(torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.outputs.expand(len(images), -1, -1, -1)


def test_worked_example() -> None:
    logits = torch.tensor([0.0, 100.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    distances = torch.tensor([[[51, 255, 0]], [[0, 255, 255]]], dtype=torch.uint8)[None]
    # Pixels 1 and 2 are in objects: |0.5 - 0.2| + |1 - 0| and |0.5 - 1| + |1 - 1|.
    assert distance_loss(logits, distances, BOTH).item() == pytest.approx((1.3 + 0.5) / 2)
    weighted = distance_loss(logits, distances, (1.0, 0.1)).item()
    assert weighted == pytest.approx((0.3 + 0.1 * 1.0 + 0.5) / 2)
    assert distance_loss(logits, torch.zeros_like(distances), BOTH).item() == 0


def test_only_the_foreground_has_a_gradient() -> None:
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    distances = torch.zeros(1, 2, 4, 4, dtype=torch.uint8)
    distances[..., 1, 1] = 200
    distance_loss(logits, distances, BOTH).backward()
    assert logits.grad is not None
    assert (logits.grad != 0).sum() == 2


def test_the_loss_of_a_model_is_the_sum_of_both() -> None:
    model = Model(Constant(), TASK, RECIPE)
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    masks = torch.randint(2, (3, 8, 8), dtype=torch.uint8)
    distances = torch.randint(256, (3, 2, 8, 8), dtype=torch.uint8)
    logits = model.forward(images)
    classes, shares = model.split(logits, 1)
    assert classes.shape == (3, 2, 8, 8)
    assert shares is not None
    assert shares.shape == (3, 2, 8, 8)
    expected = get_loss(RECIPE.loss)(logits[:, :2], masks)
    expected = expected + distance_loss(logits[:, 2:], distances, BOTH)
    assert model.loss(logits, masks, distances).item() == pytest.approx(expected.item())
    plain = Model(Constant(), TASK, replace(RECIPE, objects="watershed"))
    assert plain.split(logits)[1] is None


def test_a_model_with_prompts_has_no_outputs_for_distances() -> None:
    module = Constant()
    module.prompt_rule = PromptRule("box")  # type: ignore[assignment]
    with pytest.raises(UnsupportedError, match="give --objects watershed"):
        Model(module, TASK, RECIPE)


def _sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    numbers = np.zeros((40, 40), np.int32)
    numbers[5:20, 3:18], numbers[5:20, 18:33], numbers[25:38, 10:30] = 1, 2, 3
    image = np.repeat((numbers * 60).astype(np.uint8)[..., None], 3, 2)
    return image, (numbers > 0).astype(np.uint8), numbers


@pytest.mark.parametrize(
    "kind", ["standard", "reports", "zoomed", "windows", "sliding", "none", "turns"]
)
def test_distances_are_those_of_the_objects_of_each_view(kind: str) -> None:
    bank = make_bank([_sample()], views=4, size=32, kind=kind, seed=0)
    images = LabelledImages.of(bank, torch.device("cpu"), rule=RULES["distances"])
    assert images.distances is not None
    assert images.distances.shape == (len(bank), 2, 32, 32)
    assert images.instances is None
    assert bank.instances is not None
    for row in range(len(bank)):
        maps, inside = distance_maps(bank.masks[row], bank.instances[row])
        stored = images.distances[row].numpy()
        assert np.array_equal(stored[0] > 0, inside)
        np.testing.assert_allclose(stored / SCALE, maps, atol=0.51 / SCALE)
    batch = images.batch([len(bank) - 1])
    assert batch.distances is not None
    assert torch.equal(batch.distances[0], images.distances[-1])
    assert images.nbytes == sum(
        one.nbytes for one in (images.images, images.masks, images.distances)
    )


def test_views_that_are_drawn_for_each_batch_have_the_same_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "images", 4)
    shutil.copytree(folder / "masks", folder / "instances")  # each shows one object
    collection = load_collection(str(folder))

    def views() -> TrainingImages:
        made = image_views(
            [(item,) for item in collection.items],
            collection,
            views=8,
            kind="standard",
            size=32,
            seed=0,
            instances=True,
        )
        return training_images(made, torch.device("cpu"), True, RULES["distances"])

    stored = views()
    monkeypatch.setitem(MOST_BYTES, "cpu", 0)
    drawn = views()
    assert isinstance(drawn, DrawnImages)
    batches = [images.batch([6, 1]).distances for images in (stored, drawn)]
    assert batches[0] is not None
    assert batches[1] is not None
    assert batches[0].any()
    assert torch.equal(batches[0], batches[1])
    # The prediction of memory counts what stays in memory.
    assert isinstance(stored, LabelledImages)
    model = Model(Constant(), replace(TASK, image_size=32), RECIPE)
    assert kept_bytes(model, 8) == (stored.nbytes, False)


def test_distances_need_instance_numbers() -> None:
    image, mask, _ = _sample()
    bank = Bank(image[None], mask[None])
    with pytest.raises(ValueError, match="need instance numbers"):
        LabelledImages.of(bank, torch.device("cpu"), rule=RULES["distances"])
