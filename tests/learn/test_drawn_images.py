from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.items import Collection, Item
from bench.learn import images as images_module
from bench.learn.images import DrawnImages, LabelledImages, image_views, training_images
from bench.learn.loop import fit
from bench.learn.model import Model
from bench.sam.prompts import PromptRule, Prompts
from bench.spec import Recipe, Task

CPU = torch.device("cpu")


def item(number: int, volume: str = "") -> Item:
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mask = (image[..., 0] > 99).astype(np.uint8)
    return Item(f"i{number}", image, mask, "g", mask.astype(np.uint16) * 7, volume)


def views(stacks: Sequence[tuple[Item, ...]], **settings: Any) -> LabelledImages | DrawnImages:
    items = tuple(dict.fromkeys(one for stack in stacks for one in stack))
    drawn = image_views(
        stacks,
        Collection("c", ("ground", "object"), items),
        **{"views": 9, "kind": "standard", "size": 16, "seed": 3, **settings},
        instances=True,
    )
    made = training_images(drawn, CPU, numbers=True)
    assert isinstance(made, LabelledImages | DrawnImages)
    return made


@pytest.mark.parametrize("depth", [1, 2])
def test_batches_drawn_from_files_equal_those_from_memory(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slices = [item(number, "v") for number in range(4)]
    stacks = [tuple(slices[start : start + depth]) for start in range(5 - depth)]
    kept = views(stacks)
    monkeypatch.setitem(images_module.MOST_BYTES, "cpu", 1000)
    drawn = views(stacks)
    assert isinstance(kept, LabelledImages)
    assert isinstance(drawn, DrawnImages)
    assert len(kept) == len(drawn) == 9 * depth
    assert kept.nbytes == 9 * depth * 16 * 16 * 8
    assert drawn.nbytes == 0
    rows = [4 * depth + row for row in range(depth)] + list(range(depth))
    for name in ("images", "masks", "instances"):
        torch.testing.assert_close(
            getattr(drawn.batch(rows), name), getattr(kept.batch(rows), name), atol=0, rtol=0
        )


def test_a_training_is_the_same_from_files_and_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pixelwise(torch.nn.Module):
        prompt_rule = PromptRule()

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 2, 1)

        def forward(self, images: torch.Tensor, prompts: Prompts | None = None) -> torch.Tensor:
            logits: torch.Tensor = self.layer(images)
            return logits

    stacks = [(item(number),) for number in range(3)]
    curves, reports = [], []
    for most in (1 << 30, 1000):
        monkeypatch.setitem(images_module.MOST_BYTES, "cpu", most)
        torch.manual_seed(0)
        recipe = Recipe(lr=0.1, steps=4, batch_size=2, precision="fp32")
        model = Model(Pixelwise(), Task(2, 16), recipe)
        said: list[dict[str, float]] = []
        curves.append(
            fit(model, views(stacks), seed=0, report=said.append, validate=lambda: None, points=2)
        )
        reports.append(said[-1]["data_bytes"])
    assert curves[0] == curves[1]
    assert reports == [9 * 16 * 16 * 8, 0]
