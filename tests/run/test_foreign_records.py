"""Records that others made, copied or changed: refused with the name of the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from records import make_cell, make_record

from bench.run.store import RecordError, Store
from bench.verify import verify

CELL = make_cell()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store.open(tmp_path / "results")
    opened.write(make_record(CELL))
    return opened


def test_a_copied_record_is_not_counted_twice(store: Store) -> None:
    path = store.path(CELL)
    shutil.copy(path, path.with_name("copy.json"))
    with pytest.raises(RecordError, match=f"copy.json is the record '{CELL.id}' under another"):
        store.read_all()


def test_a_record_under_the_name_of_another_cell_is_refused(store: Store) -> None:
    other = make_cell(seed=1)
    store.path(CELL).rename(store.path(other))
    with pytest.raises(RecordError, match="under another name"):
        store.read(other)


CHANGES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda r: r["metrics"].update(dice_dataset=float("nan")), "holds NaN in place of a number"),
    (lambda r: r["metrics"].update(dice_dataset=float("inf")), "holds Infinity in place"),
    (lambda r: r["metrics"].update(dice_dataset=10**400), "a whole number of 401 digits"),
    (lambda r: r["metrics"].update(dice_dataset="0.9"), "dice_dataset is '0.9', expected"),
    (lambda r: r.update(env=[]), "env is"),
    (lambda r: r.update(id="other"), "has an id that moved"),
    (lambda r: r["cell"].update(seed=5), "has an id that moved"),
    (lambda r: r["cell"].update(seed=2**64), "a whole number of 20 digits"),
    (lambda r: r.update(status="fine"), "status is 'fine'"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_changed_records_are_refused_with_the_name_of_the_file(
    store: Store, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = store.path(CELL)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(RecordError, match=message) as error:
        store.read_all()
    assert str(path) in str(error.value)


def test_a_number_beyond_floats_is_refused(store: Store) -> None:
    path = store.path(CELL)
    values = json.loads(path.read_text())
    values["metrics"]["dice_dataset"] = 0.123
    path.write_text(json.dumps(values).replace("0.123", "1e999"))
    with pytest.raises(RecordError, match="dice_dataset is inf, expected a finite number"):
        store.read_all()


def test_verify_next_to_a_run_says_being_written(store: Store) -> None:
    def load(*_: object) -> Any:
        raise AssertionError

    with store.claim(CELL):
        verdict = verify(store.folder, load)
    assert any("being written by a run that works on" in text for text in verdict.skipped)
    assert store.claimed() == []
