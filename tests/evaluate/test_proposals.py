"""Objects of one model as prompts of another: boxes, clicks, overlaps, and what is refused."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from bench.data.items import Collection
from bench.errors import UnsupportedError
from bench.evaluate.modes import get_mode
from bench.evaluate.proposals import MARGIN, at_side, find_objects, predict_proposals, prompts_of
from bench.learn.model import Model
from bench.objects.targets import distance_maps
from bench.plugins.registry import get_method
from bench.sam.prompts import PromptRule, Prompts
from bench.spec import Recipe, Task

SIDE = 64
TASK = Task(2, SIDE, weights="random")
RECIPE = Recipe(lr=0.0, precision="fp32")


def squares() -> npt.NDArray[np.int32]:
    """Two squares of 16 px that touch, and one of another class (number 3)."""
    numbers = np.zeros((SIDE, SIDE), np.int32)
    numbers[8:24, 8:24], numbers[8:24, 24:40], numbers[40:50, 44:64] = 1, 2, 3
    return numbers


CLASSES = np.array([0, 1, 1, 2], np.uint8)[squares()]


class Told(nn.Module):
    """Stands for a trained proposer: perfect outputs for `squares`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        known = np.minimum(CLASSES, classes - 1)
        scores = np.where(np.arange(classes)[:, None, None] == known, 9.0, -9.0)
        shares = distance_maps(known, squares())[0].clip(1e-4, 1 - 1e-4)
        logits = np.concatenate([scores, np.log(shares / (1 - shares))])
        self.logits = nn.Parameter(torch.from_numpy(logits).float(), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[None].expand(len(images), -1, -1, -1)


def proposer_of(classes: int = 2) -> Model:
    recipe = Recipe(lr=0.0, precision="fp32", objects="distances")
    return Model(Told(classes), Task(classes, SIDE), recipe)


def prompted(name: str, classes: int = 2, **options: Any) -> Model:
    task = Task(classes, SIDE, weights="random")
    torch.manual_seed(0)
    return Model(get_method(name).build(task, **options), task, RECIPE)


def test_boxes_are_a_little_larger_and_clicks_are_at_the_peaks() -> None:
    numbers = squares()
    border, centre = distance_maps(CLASSES, numbers)[0]
    prompts = prompts_of(numbers, CLASSES, border - centre)
    more = 16 * MARGIN
    assert prompts.boxes[0][0].tolist() == pytest.approx([8 - more, 8 - more, 24 + more, 24 + more])
    # The third ends at the edge of the image, and so does its box.
    assert prompts.boxes[0][2].tolist() == pytest.approx([43, 39.5, 64, 50.5])
    assert prompts.classes[0].tolist() == [1, 1, 2]
    for number, ((x, y),) in enumerate(prompts.clicks[0].tolist(), start=1):
        row, column = int(y), int(x)
        inside = numbers == number
        assert numbers[row, column] == number
        assert (border - centre)[row, column] == (border - centre)[inside].max()
    assert prompts.clicks[0][0, 0].tolist() == [15.5, 15.5]  # 8 to 23: the first of four middles


def test_numbers_may_be_missing_and_there_may_be_no_object() -> None:
    numbers = np.where(squares() == 1, 0, squares())
    assert len(prompts_of(numbers, CLASSES, np.zeros((SIDE, SIDE), np.float32)).classes[0]) == 2
    none = prompts_of(numbers * 0, CLASSES, np.zeros((SIDE, SIDE), np.float32))
    assert [tuple(part[0].shape) for part in (none.boxes, none.clicks)] == [(0, 4), (0, 1, 2)]


@pytest.mark.parametrize(("fit", "expected"), [("square", [32, 32]), ("pad", [32, 16])])
def test_prompts_in_pixels_of_the_input(fit: str, expected: list[float]) -> None:
    box, click = torch.tensor([[0.0, 0, 200, 100]]), torch.tensor([[[100.0, 50.0]]])
    scaled = at_side(Prompts((box,), (click,), (torch.tensor([1]),)), (100, 200), SIDE, fit)
    assert scaled.clicks[0][0, 0].tolist() == expected
    assert scaled.boxes[0][0].tolist() == [0, 0, *(2 * value for value in expected)]


class Masks:
    """Stands for `Model.scored_masks`: each box is filled, and the predicted IoU is given."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores

    def __call__(self, image: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        rows = torch.arange(SIDE)[:, None] + 0.5
        columns = torch.arange(SIDE)[None] + 0.5
        masks = [
            (columns > x0) & (columns < x1) & (rows > y0) & (rows < y1)
            for x0, y0, x1, y1 in prompts.boxes[0].tolist()
        ]
        return torch.stack(masks).float() * 18 - 9, torch.tensor(self.scores)


@pytest.mark.parametrize(("scores", "first"), [([0.9, 0.5, 0.1], 1), ([0.5, 0.9, 0.1], 2)])
def test_a_pixel_belongs_to_the_mask_of_the_highest_predicted_iou(
    monkeypatch: pytest.MonkeyPatch, scores: list[float], first: int
) -> None:
    model = prompted("sam_lora", classes=3)
    monkeypatch.setattr(model, "scored_masks", Masks(scores))
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    objects, classes = find_objects(model, proposer_of(3), image)
    assert objects.max() == 3
    # Both boxes are 0.8 px larger, so both claim the columns 23 and 24.
    owner = objects[15, 15] if first == 1 else objects[15, 30]
    assert owner == 1  # numbers follow the predicted IoU
    assert objects[15, 23:25].tolist() == [1, 1]
    assert np.unique(classes[objects == objects[45, 50]]).tolist() == [2]
    assert (classes > 0).tolist() == (objects > 0).tolist()


def test_a_mask_that_others_have_taken_is_dropped_with_its_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = prompted("sam_lora", classes=3)

    def everything(image: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        return torch.ones(3, SIDE, SIDE), torch.tensor([0.1, 0.2, 0.3])

    monkeypatch.setattr(model, "scored_masks", everything)
    objects, classes = find_objects(model, proposer_of(3), np.zeros((SIDE, SIDE, 3), np.uint8))
    assert np.unique(objects).tolist() == [1]
    assert np.unique(classes).tolist() == [2]


@pytest.mark.parametrize("prompt", ["box", "point"])
def test_masks_are_those_of_the_prompted_model(prompt: str) -> None:
    """`scored_masks` gives the masks that the model's own logits are the maximum of."""
    model = prompted("zero_shot", prompt=prompt)
    image = torch.randint(256, (1, 3, SIDE, SIDE), dtype=torch.uint8)
    numbers = squares()
    prompts = PromptRule(prompt).for_evaluation((numbers > 0).astype(np.uint8), numbers)
    masks, scores = model.scored_masks(image, prompts)
    assert scores.shape == (3,)
    largest = nn.functional.interpolate(masks.amax(0)[None, None], SIDE, mode="bilinear")[0, 0]
    torch.testing.assert_close(largest, model.predict(image, prompts)[0, 1])


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("lora", {}, "this one takes no prompts"),
        ("medsam", {}, "unit=class learns one box around all objects"),
        ("sam_lora", {"prompt": "image"}, "takes no proposals"),
        ("zero_shot", {"prompt": "point", "clicks": 2}, "give clicks=1"),
    ],
)
def test_models_that_cannot_segment_objects_are_refused(
    name: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UnsupportedError, match=sentence):
        predict_proposals(
            prompted(name, **options), [], Collection("x", ("a", "b"), ()), proposer_of(2)
        )


def test_the_mode_is_automatic_and_needs_a_proposer() -> None:
    mode = get_mode("proposals")
    assert mode.prompt_origin("oracle") == mode.prompt_origin("none") == "automatic"
    assert mode.separates_objects
    with pytest.raises(ValueError, match="learned distances"):
        mode.predict(prompted("sam_lora"), [], Collection("x", ("a", "b"), ()))
