"""Predictions at the size of the masks: of whole images, and window by window."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from bench import Task, UnsupportedError, UserError
from bench.data.items import Collection, Item
from bench.evaluate.modes import MODES, get_mode
from bench.evaluate.scoring import Prediction
from bench.learn.model import Model
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


def model_of(module: nn.Module, size: int = SIZE) -> Model:
    task = Task(3, size, "none", "random")
    return Model(module, task, Recipe(lr=0.1, precision="fp32"))


def predictions(image: npt.NDArray[np.uint8], module: nn.Module, mode: str = "whole") -> Prediction:
    mask = np.digitize(image, [80, 190]).astype(np.uint8)
    item = Item("x", image, mask, "g")
    collection = Collection("made", ("dark", "middle", "bright"), (item,))
    (found,) = get_mode(mode).predict(model_of(module), [item], collection)
    return found


@pytest.mark.parametrize("shape", [(100, 75), (20, 90), (32, 32)])
def test_tiles_see_what_the_whole_image_loses(shape: tuple[int, int]) -> None:
    found = predictions(blocks(*shape, side=2), Threshold(), "tiles")
    assert np.array_equal(found.classes, found.truth)
    assert found.foreground is not None
    assert found.foreground.shape == shape
    assert np.array_equal(found.foreground > 0.5, found.truth > 0)


def test_a_whole_image_comes_back_at_its_own_size() -> None:
    found = predictions(blocks(96, 64, side=32), Threshold())
    assert found.classes.shape == (96, 64)
    assert (found.classes == found.truth).mean() > 0.85  # edges are resized away


@pytest.mark.parametrize("mode", ["whole", "tiles"])
def test_a_model_predicts_as_it_is_when_predictions_are_taken(mode: str) -> None:
    model = nn.Sequential(nn.Dropout(0.9), Threshold())
    image = blocks(32, 32, side=32)
    mask = np.digitize(image, [80, 190]).astype(np.uint8)
    item = Item("x", image, mask, "g")
    made = Collection("made", ("dark", "middle", "bright"), (item,))
    found = get_mode(mode).predict(model_of(model), [item], made)
    model.train()  # as training does, before the first item is asked for
    assert np.array_equal(next(found).classes, mask)


def test_one_window_is_the_whole_image() -> None:
    image = blocks(SIZE, SIZE, side=4)
    whole, tiled = (predictions(image, Threshold(), mode) for mode in ("whole", "tiles"))
    assert np.array_equal(whole.classes, tiled.classes)
    assert whole.foreground is not None
    assert tiled.foreground is not None
    np.testing.assert_allclose(whole.foreground, tiled.foreground, atol=1e-6)


def test_tiles_are_not_for_models_that_take_prompts() -> None:
    model = get_method("zero_shot").build(Task(3, 256))
    with pytest.raises(UnsupportedError, match="whole images only"):
        predictions(blocks(32, 32, side=4), model, "tiles")


def test_stacks_are_not_tiled() -> None:
    stacked = Model(Threshold(), Task(3, SIZE, "none", depth=2), Recipe(lr=0.1))
    with pytest.raises(UnsupportedError, match="whole images only"):
        MODES["tiles"].predict(stacked, [], Collection("made", ("a", "b"), ()))


def test_modes_say_where_their_prompts_come_from_and_what_they_give() -> None:
    assert set(MODES) == {"whole", "tiles", "generator", "proposals"}
    assert [mode.prompt_origin("oracle") for mode in MODES.values()] == [
        "oracle", "oracle", "automatic", "automatic"
    ]  # fmt: skip
    own = [name for name, mode in MODES.items() if mode.separates_objects]
    assert own == ["generator", "proposals"]
    assert [name for name, mode in MODES.items() if mode.takes_proposer] == ["proposals"]
    assert [name for name, mode in MODES.items() if mode.takes_stacks] == ["whole"]
    with pytest.raises(UserError, match="Did you mean 'tiles'"):
        get_mode("tile")


def test_the_evaluation_is_part_of_what_is_asked_and_older_records_keep_their_name() -> None:
    cell = Cell("lora", "steel", Task(3), Recipe(lr=1e-3))
    tiled = replace(cell, recipe=replace(cell.recipe, evaluation="tiles"))
    assert cell.id != tiled.id
    older = cell.to_dict()
    del older["recipe"]["evaluation"]
    assert Cell.from_dict(older).id == cell.id
