from dataclasses import replace

import numpy as np
import pytest
import torch
from banks import make_bank

from bench.data.fit import PADDING, fitted_size
from bench.data.items import IGNORE, Collection, Item
from bench.evaluate.whole import predict_whole
from bench.learn.losses import LOSSES, get_loss
from bench.learn.model import Model
from bench.predict.prompts import ImagePrompts
from bench.sam.prompts import PromptRule, Prompts
from bench.spec import Cell, Recipe, Task

SIDE = 192


class Bright(torch.nn.Module):
    """Class 1 where an image is bright, class 2 in the colour of padding."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.boxes: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor, prompts: Prompts | None = None) -> torch.Tensor:
        if prompts is not None:
            self.boxes += prompts.boxes
        level = images[:, 0] - 0.6
        padding = (images * 255 - torch.tensor(PADDING)[:, None, None]).abs().sum(1) < 1
        return torch.stack([torch.zeros_like(level), level, padding * 9.0], 1) * self.weight


def wide(height: int = 60, width: int = 150) -> Item:
    image = np.full((height, width, 3), 20, np.uint8)
    image[20:40, 90:130] = 250
    mask = (image[..., 0] > 100).astype(np.uint8)
    return Item("wide", image, mask, "g")


@pytest.mark.parametrize("size", [(60, 150), (150, 140), (300, 150)])
def test_predictions_are_unpadded_before_scoring(size: tuple[int, int]) -> None:
    item = wide(*size)
    collection = Collection("c", ("ground", "object", "padding"), (item,))
    model = Model(Bright(), Task(3, SIDE, fit="pad"), Recipe(lr=0.1, precision="fp32"))
    (prediction,) = predict_whole(model, [item], collection)
    assert prediction.classes.shape == size
    assert not (prediction.classes == 2).any()
    assert (prediction.classes == item.mask).mean() > 0.98


def test_oracle_and_typed_prompts_are_where_the_padded_image_is() -> None:
    item = wide()

    class Prompted(Bright):
        prompt_rule = PromptRule()

    module = Prompted()
    task = Task(3, SIDE, fit="pad")
    model = Model(module, task, Recipe(lr=0.1, precision="fp32"))
    list(predict_whole(model, [item], Collection("c", ("ground", "object", "other"), (item,))))
    scale = SIDE / 150
    expected = torch.tensor([[90.0, 20.0, 130.0, 40.0]]) * scale
    torch.testing.assert_close(module.boxes[0], expected, atol=1.0, rtol=0)
    box = np.array([[90.0, 20.0, 130.0, 40.0]])
    typed = ImagePrompts(box, np.zeros((1, 0, 2)), np.ones(1, np.int64)).at_side((60, 150), task)
    torch.testing.assert_close(typed.boxes[0], expected, atol=1.0, rtol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_the_padding_has_no_part_in_a_loss(name: str) -> None:
    item = wide()
    assert isinstance(item.image, np.ndarray)
    assert isinstance(item.mask, np.ndarray)
    bank = make_bank([(item.image, item.mask)], views=1, size=SIDE, kind="none", seed=0, fit="pad")
    masks = torch.from_numpy(bank.masks)
    assert fitted_size((60, 150), SIDE, "pad") == (77, SIDE)
    assert (masks[:, 77:] == IGNORE).all()
    torch.manual_seed(0)
    logits = torch.randn(1, 2, SIDE, SIDE)
    other = logits.clone()
    other[:, :, 77:] += 5 * torch.randn(1, 2, SIDE - 77, SIDE)
    loss = get_loss(name)
    torch.testing.assert_close(loss(logits, masks), loss(other, masks))


def test_the_fit_enters_an_id_only_where_it_is_not_the_default() -> None:
    cell = Cell("lora", "steel", Task(3), Recipe(lr=0.1))
    assert replace(cell, task=Task(3, fit="square")).id == cell.id
    assert replace(cell, task=Task(3, fit="pad")).id != cell.id
    assert Cell.from_dict(replace(cell, task=Task(3, fit="pad")).to_dict()).task.fit == "pad"
