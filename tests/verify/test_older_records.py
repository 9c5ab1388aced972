"""Records that are older than a score are sound without it, not with a part of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from records import ENV

from bench.data.fingerprint import fingerprint
from bench.data.items import Collection, Item
from bench.data.selection import WHOLE, Selection
from bench.evaluate.scoring import Prediction, Scoring
from bench.run.store import Store
from bench.spec import Cell, Recipe, Record, Task
from bench.verify import verify

MASK = np.array([[1, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1]], np.uint8).repeat(4, 0).repeat(4, 1)
NUMBERS = (MASK * np.arange(1, 17, dtype=np.uint16)[None, :]).astype(np.uint16)
ITEMS = tuple(Item(f"i{n}", MASK * 80, MASK, f"g{n}", instances=NUMBERS) for n in range(3))
MADE = Collection("made", ("matrix", "particle"), ITEMS)


def load(name: str, selection: Selection = WHOLE) -> Collection:
    return MADE


def findings(folder: Path, leave_out: tuple[str, ...], **changed: Any) -> list[str]:
    """What is found about maps and record if the record has no keys that begin so."""
    store = Store.open(folder)
    cell = Cell("lora", "made", Task(2), Recipe(lr=1e-3), dataset_sha=fingerprint(MADE))
    scoring, maps = Scoring(MADE), store.predictions(cell)
    maps.mkdir(parents=True)
    for item in ITEMS:
        scoring.add(Prediction(item, MASK, MASK, MASK.astype(np.float32)))
        Image.fromarray(MASK).save(maps / f"{item.name}.png")
    rows = [{k: v for k, v in row.items() if not k.startswith(leave_out)} for row in scoring.images]
    rows[0] |= changed
    metrics = scoring.summary()
    store.write(
        Record(cell, "ok", classes=MADE.classes, metrics=metrics, per_image=tuple(rows), env=ENV)
    )
    verdict = verify(folder, load)
    return [f"{one.path.name}: {one.message}" for one in verdict.findings]


@pytest.mark.parametrize(
    "leave_out",
    [
        ("no such key",),
        ("size_counts",),
        ("aspect_ratio", "touching"),
        ("aspect_ratio", "touching", "size_counts"),
    ],
)
def test_sound(tmp_path: Path, leave_out: tuple[str, ...]) -> None:
    assert findings(tmp_path, leave_out) == []


def test_a_value_that_was_changed_or_removed_is_found(tmp_path: Path) -> None:
    changed = {"touching_truth/particle": 0.5}
    (found,) = findings(tmp_path / "a", ("no such key",), **changed)
    assert found.startswith("i0.png: touching_truth/particle is 0.5, this map gives ")
    changed_counts = {"size_counts/particle": [0, 7]}
    (found,) = findings(tmp_path / "c", ("no such key",), **changed_counts)
    assert found.startswith("i0.png: size_counts/particle is [0, 7], this map gives [")
    removed = findings(tmp_path / "b", ("touching",))
    assert [one.partition(":")[0] for one in removed] == ["i0.png", "i1.png", "i2.png"]
