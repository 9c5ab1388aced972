"""Predictions at the size of the masks: of whole images, and window by window."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from bench import Task, UnsupportedError
from bench.data.items import Collection, Item
from bench.evaluate.scoring import Prediction
from bench.evaluate.whole import evaluate
from bench.plugins.registry import get_method
from bench.spec import Cell, Recipe

SIZE = 32
RNG = np.random.default_rng(5)


class Threshold(nn.Module):
    """Three classes by the level of the pixel alone: dark, middle, bright."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to (B, 3, S, S)."""
        level = images.mean(1)
        return 40 * torch.stack([0.4 - level, 0.1 - (level - 0.5).abs(), level - 0.6], 1)


def blocks(height: int, width: int, side: int) -> npt.NDArray[np.uint8]:
    """Squares of one level each, far from the thresholds."""
    levels = RNG.choice([20, 128, 235], (-(-height // side), -(-width // side)))
    return np.kron(levels, np.ones((side, side)))[:height, :width].astype(np.uint8)


def predictions(image: npt.NDArray[np.uint8], model: nn.Module, **how: Any) -> Prediction:
    mask = np.digitize(image, [80, 190]).astype(np.uint8)
    item = Item("x", image, mask, "g")
    collection = Collection("made", ("dark", "middle", "bright"), (item,))
    device = torch.device("cpu")
    (found,) = evaluate(
        model, [item], collection, size=SIZE, precision="fp32", device=device, **how
    )
    return found


@pytest.mark.parametrize("shape", [(100, 75), (20, 90), (32, 32)])
def test_tiles_see_what_the_whole_image_loses(shape: tuple[int, int]) -> None:
    found = predictions(blocks(*shape, side=2), Threshold(), tiles=True)
    assert np.array_equal(found.classes, found.truth)
    assert found.foreground is not None
    assert found.foreground.shape == shape
    assert np.array_equal(found.foreground > 0.5, found.truth > 0)


def test_a_whole_image_comes_back_at_its_own_size() -> None:
    found = predictions(blocks(96, 64, side=32), Threshold())
    assert found.classes.shape == (96, 64)
    assert (found.classes == found.truth).mean() > 0.85  # edges are resized away


@pytest.mark.parametrize("tiles", [False, True])
def test_a_model_is_asked_as_it_is_when_the_items_are_due(tiles: bool) -> None:
    model = nn.Sequential(nn.Dropout(0.9), Threshold())
    image = blocks(32, 32, side=32)
    mask = np.digitize(image, [80, 190]).astype(np.uint8)
    item = Item("x", image, mask, "g")
    made = Collection("made", ("dark", "middle", "bright"), (item,))
    device = torch.device("cpu")
    found = evaluate(model, [item], made, size=32, precision="fp32", device=device, tiles=tiles)
    model.train()  # as training does, before the first item is asked for
    assert np.array_equal(next(found).classes, mask)


def test_one_window_is_the_whole_image() -> None:
    image = blocks(SIZE, SIZE, side=4)
    whole, tiled = (predictions(image, Threshold(), tiles=tiles) for tiles in (False, True))
    assert np.array_equal(whole.classes, tiled.classes)
    assert whole.foreground is not None
    assert tiled.foreground is not None
    np.testing.assert_allclose(whole.foreground, tiled.foreground, atol=1e-6)


def test_tiles_are_not_for_models_that_take_prompts() -> None:
    model = get_method("zero_shot").build(Task(3, 256))
    with pytest.raises(UnsupportedError, match="whole images only"):
        predictions(blocks(32, 32, side=4), model, tiles=True)


def test_the_evaluation_is_part_of_what_is_asked_and_older_records_keep_their_name() -> None:
    cell = Cell("lora", "steel", Task(3), Recipe(lr=1e-3))
    tiled = replace(cell, recipe=replace(cell.recipe, evaluation="tiles"))
    assert cell.id != tiled.id
    older = cell.to_dict()
    del older["recipe"]["evaluation"]
    assert Cell.from_dict(older).id == cell.id
