"""Windows of enlarged images, and the choice of the zoom on validation images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from bench.ask.request import read_zoom
from bench.data.items import Collection, Item
from bench.errors import UserError
from bench.evaluate.tiles import ImageRows, predict_tiled, tile_bands
from bench.evaluate.zoom import check_validation_images, choose_zoom
from bench.learn.model import Model
from bench.spec import Recipe, Task

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (75, 53, 3), dtype=np.uint8)


def grey(windows: Tensor) -> Tensor:
    values = windows.float().mean(1)
    return torch.stack([values, -values], dim=1)


@pytest.mark.parametrize("zoom", [1, 2, 3])
def test_logits_are_those_of_the_enlarged_image_averaged(zoom: int) -> None:
    bands = list(tile_bands(grey, IMAGE, 32, zoom=zoom))
    assert [rows.start for rows, _ in bands] == [0, *(rows.stop for rows, _ in bands[:-1])]
    assert bands[-1][0].stop == 75
    assert all(logits.shape == (2, rows.stop - rows.start, 53) for rows, logits in bands)
    size = (53 * zoom, 75 * zoom)
    large = Image.fromarray(IMAGE).resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(large, np.float32).mean(2).reshape(75, zoom, 53, zoom)
    logits = torch.cat([band for _, band in bands], dim=1)
    np.testing.assert_allclose(logits[0], pixels.mean((1, 3)), rtol=1e-5)
    for start in (7, 40, 74):
        later = torch.cat([b for _, b in tile_bands(grey, IMAGE, 32, start=start, zoom=zoom)], 1)
        assert torch.equal(later, logits[:, start:])
    assert not list(tile_bands(grey, IMAGE, 32, start=75, zoom=zoom))


def test_few_rows_are_read_at_once() -> None:
    class Watched:
        shape = (600, 40, 3)
        most = 0

        def __getitem__(self, rows: slice) -> Any:
            self.most = max(self.most, rows.stop - rows.start)
            return np.zeros((rows.stop - rows.start, 40, 3), np.uint8)

    image = Watched()
    shown: ImageRows = image
    for _ in tile_bands(grey, shown, 32, zoom=2):
        pass
    assert image.most <= 32 // 2 + 3


class Narrow(nn.Module):
    """Finds bright lines that are at least `width` pixels wide, in both directions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = nn.Parameter(torch.tensor(float(width)))

    def forward(self, images: Tensor) -> Tensor:
        width = int(self.width)
        bright = images.mean(1, keepdim=True)
        least = -nn.functional.max_pool2d(-bright, width, 1)
        spread = nn.functional.pad(least, [width - 1] * 4)
        opened = nn.functional.max_pool2d(spread, width, 1) - 0.5
        return torch.cat([-opened, opened], dim=1)


def collection(instances: bool) -> Collection:
    """Two images with lines of 2 px."""
    items = []
    for number in range(2):
        mask = np.zeros((48, 48), np.uint8)
        for row in (10 + number, 20, 30):
            mask[row : row + 2, 5:40] = 1
        pixels = np.repeat(255 * mask[..., None], 3, axis=2)
        objects = np.cumsum(np.diff(mask, axis=0, prepend=0) == 1, axis=0) * mask
        numbers = objects.astype(np.int32) if instances else None
        items.append(Item(f"i{number}", pixels, mask, f"g{number}", instances=numbers))
    return Collection("c", ("ground", "line"), tuple(items))


@pytest.mark.parametrize(("instances", "metric"), [(True, "pq_dataset"), (False, "dice_dataset")])
def test_the_zoom_with_the_best_score_is_chosen(instances: bool, metric: str) -> None:
    """Lines of 2 px are found when they are enlarged to 4 px; 6 px are no better."""
    recipe = Recipe(lr=1e-3, precision="fp32", evaluation="tiles", zoom="auto")
    model = Model(Narrow(4), Task(2, 32, "none", "random"), recipe)
    made, calls = collection(instances), []
    choice = choose_zoom(model, made.items, made, lambda: calls.append(1))
    assert (choice.zoom, choice.metric, list(choice.scores)) == (2, metric, [1, 2, 3])
    assert choice.scores[1] in (0, None)
    assert (choice.scores[2] or 0) > 0.6
    assert model.zoom == 2
    assert len(calls) == 3 * len(made.items)
    assert choice.to_dict()["chosen"] == 2
    found = [one.classes.any() for one in predict_tiled(model, made.items, made)]
    assert found == [True, True]


def test_some_slices_of_a_volume_are_enough_to_choose() -> None:
    """A measure of volumes would need all slices."""
    made = collection(instances=False)
    slices = [
        replace(made.items[n % 2], name=f"s{n:02}", group="scan", volume="scan") for n in range(30)
    ]
    recipe = Recipe(lr=1e-3, precision="fp32", evaluation="tiles", zoom="auto")
    model = Model(Narrow(4), Task(2, 32, "none", "random"), recipe)
    choice = choose_zoom(model, slices, replace(made, items=tuple(slices)))
    assert (choice.zoom, choice.metric) == (2, "dice_dataset")


def test_without_validation_images_the_zoom_must_be_given() -> None:
    with pytest.raises(UserError, match="this split has none: give --zoom N"):
        check_validation_images(())


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("2", "2"), (" +03 ", "3")])
def test_a_zoom_has_one_form(text: str, value: str) -> None:
    assert read_zoom(text) == value


@pytest.mark.parametrize("text", ["0", "17", "1.5", "best", ""])
def test_other_zooms_are_refused(text: str) -> None:
    with pytest.raises(
        UserError, match=r"--zoom is .*: give a whole number from 1 to 16 .*, or auto"
    ):
        read_zoom(text)
