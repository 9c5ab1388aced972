import numpy as np
import pytest

from bench.data.items import Collection, Item
from bench.evaluate.object_width import widths_of_missed_classes
from bench.spec import Task

TASK = Task(3, 100)
CLASSES = ("ground", "lines", "squares")
METRICS = {"dice/lines": 0.0, "dice/squares": 0.04}


def collection(height: int = 400, width: int = 400) -> Collection:
    """Lines of 7 px (the median of 3, 7 and 9) and a square of 41 px."""
    mask = np.zeros((height, width), np.uint8)
    for top, thickness in ((20, 3), (40, 7), (60, 9)):
        mask[top : top + thickness, 10:300] = 1
    mask[100:141, 100:141] = 2
    image = np.zeros((height, width, 3), np.uint8)
    return Collection("c", CLASSES, (Item("i", image, mask, "g"),))


@pytest.mark.parametrize(
    ("task", "zoom", "scale"),
    [
        (TASK, None, 0.25),
        (TASK, 1, 1.0),
        (TASK, 2, 2.0),
        (Task(3, 200, fit="pad"), None, 0.5),
    ],
)
def test_widths_are_those_that_the_model_sees(task: Task, zoom: int | None, scale: float) -> None:
    made = collection()
    widths = widths_of_missed_classes(METRICS, made.items, made, task, scale=zoom)
    assert widths == {
        "width/lines": pytest.approx(7 * scale),
        "width/squares": pytest.approx(41 * scale),
    }


def test_a_padded_wide_image_keeps_its_scale() -> None:
    made = collection(400, 800)
    task = Task(3, 200, fit="pad")
    widths = widths_of_missed_classes({}, made.items, made, task, scale=None)
    assert widths["width/squares"] == pytest.approx(41 / 4)


def test_classes_that_are_found_or_absent_are_not_measured() -> None:
    made = collection()
    found = {"dice/lines": 0.9, "dice/squares": 0.05}
    assert not widths_of_missed_classes(found, made.items, made, TASK, scale=None)
    empty = Collection(
        "c", CLASSES, (Item("i", made.items[0].image, np.zeros((9, 9), np.uint8), "g"),)
    )
    assert not widths_of_missed_classes(METRICS, empty.items, empty, TASK, scale=None)
