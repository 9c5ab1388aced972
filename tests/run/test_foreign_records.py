"""Records that others made, copied or changed: refused with the name of the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from records import make_cell, make_record

from bench.run.status import read_status
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
    (lambda r: r["metrics"].update(dice_dataset=1e308), "dice_dataset is 1e.308, expected a numb"),
    (lambda r: r["metrics"].update(dice_dataset=1.1), "dice_dataset is 1.1, .* from 0 to 1.000001"),
    (lambda r: r["metrics"].update({"in_domain_dice/a\nb": -0.5}), "is -0.5, expected a number"),
    (lambda r: r["metrics"].update(hd95_max_px=-1), "hd95_max_px is -1, .* from 0 to 1e.18"),
    (lambda r: r["metrics"].update(ber_dataset=101), "ber_dataset is 101, .* from 0 to 100"),
    (lambda r: r["metrics"].update(ber_dataset=True), "ber_dataset is True, expected a number"),
    (lambda r: r["cost"].update(trainable_params=-1), "trainable_params is -1, expected a number"),
    (lambda r: r["cost"].update(infer_images_per_s=0), "infer_images_per_s is 0, expected a numb"),
    (lambda r: r["cell"].update(seed=-1), "seed is -1, expected a number from 0 to 4.29"),
    (lambda r: r["cell"].update(folds=0), "folds is 0, expected a number from 1"),
    (lambda r: r["cell"]["task"].update(image_size=-64), "image_size is -64, expected"),
    (lambda r: r["cell"]["recipe"].update(steps=-5), "steps is -5, expected"),
    (lambda r: r["per_image"][0].update(dice=-0.1), "dice is -0.1, expected a number from 0"),
    (lambda r: r["per_image"][0].update(dice=[1]), r"dice is \[1\], expected a number"),
    (lambda r: r["per_image"][0].update({"size_counts/a": [1.5]}), "expected a list of whole"),
    (
        lambda r: r["per_image"][0].update({"size_counts/a": [1, -1]}),
        "expected at most 200 numbers",
    ),
    (lambda r: r["per_image"][0].update({"size_counts/a": [0] * 201}), "expected at most 200"),
    (lambda r: r["metrics"].update({"size_counts/a": [1]}), "expected a number or nothing"),
    (lambda r: r["per_image"][0].update(group=7), "group is 7, expected str"),
    (lambda r: r["per_image"][0].pop("group"), "KeyError: 'group'"),
    (lambda r: r.update(per_image=[]), "a run that ended well, without a test image"),
    (lambda r: r["env"].update(threads="x"), "threads is 'x', expected int"),
    (lambda r: r["env"].update(packages=None), "packages is None, expected dict"),
    (lambda r: r["cell"].update(leaks=[[1]]), r"leaks or joined is \[1\], expected str"),
    (lambda r: r["history"][0].pop("step"), "KeyError: 'step'"),
    (lambda r: r["history"][0].update(epoch=0), "epoch is 0, expected a number from 1e-09"),
    (lambda r: r.update(env=[]), "env is"),
    (lambda r: r.update(id="other"), "has an id that moved"),
    (lambda r: r["cell"].update(seed=5), "has an id that moved"),
    (lambda r: r["cell"].update(seed=2**64), "a whole number of 20 digits"),
    (lambda r: r.update(status="fine"), "status is 'fine'"),
    (lambda r: r.update(prompts="x"), "prompts is 'x', expected one of none, automatic, oracle"),
    (lambda r: r.update(classes=["a", 1]), "classes is 1, expected str"),
    (lambda r: r["env"].update(cpu="\ud800"), "it holds text that is not UTF-8"),
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
    with pytest.raises(RecordError, match="dice_dataset is inf, expected a number from 0"):
        store.read_all()


def test_errors_and_losses_may_be_negative(store: Store) -> None:
    path = store.path(CELL)
    values = json.loads(path.read_text())
    errors = {"phase_fraction_error/matrix": -0.25, "d50_relative_error/carbide": -1.5}
    values["metrics"] |= errors | {"s_alpha": -0.1, "dice/carbide": None}
    values["history"][0]["loss"] = -2.5
    path.write_text(json.dumps(values))
    (record,) = store.read_all()
    assert record.metrics.items() >= errors.items()


def test_verify_next_to_a_run_says_being_written(store: Store) -> None:
    def load(*_: object) -> Any:
        raise AssertionError

    with store.claim(CELL):
        verdict = verify(store.folder, load)
    assert any("being written by a run that works on" in text for text in verdict.skipped)
    assert store.claimed() == []


def test_text_of_two_surrogates_is_one_sign(store: Store) -> None:
    path = store.path(CELL)
    values = json.loads(path.read_text())
    values["env"]["cpu"] = "\U0001f52c"
    path.write_text(json.dumps(values))
    assert r"\ud83d" in path.read_text()
    assert store.read_all()[0].env["cpu"] == "\U0001f52c"


LINES = [
    '{"time": "2026-01-01T00:00:00+00:00", "event": "run_started"}',
    '{"time": "2026-01-01T00:00:00+00:00", "event": "run_started", "jobs": 1, "to_do": [[1]]}',
    '{"time": "2026-01-01T00:00:00+00:00", "event": "run_started", "jobs": -1, "to_do": []}',
    '{"time": "2026-01-01T00:00:00", "event": "cell_started", "cell": "a"}',
    '{"time": "2026-01-01T00:00:00+00:00", "event": "cell_started", "cell": {"a": 1}}',
    '{"time": "2026-01-01T00:00:00+00:00", "event": "cell_started", "cell": "a", "steps": "b"}',
    '{"time": "2026-01-01T00:00:00+00:00", "event": "cell_finished", "cell": "a", "seconds": NaN}',
    '{"time": "2026-01-01T00:00:00+00:00", "event": "run_finished", "pid": 99999999999}',
    *('{"time": 1, "event": 2}', "[" * 9999, "[]", "null", '"x"', "{"),
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_log_that_no_run_writes_is_left_out(store: Store, line: str) -> None:
    (store.folder / "events.jsonl").write_text(line + "\n")
    status = read_status(store.folder)
    assert status.notes == (
        "line 1 of events.jsonl cannot be read and was left out, as after a kill while it was"
        " written",
    )


@pytest.mark.parametrize("text", ['{"status": "x", "error": null}', "[]", "[" * 9999])
def test_the_status_of_a_folder_has_no_status_that_does_not_exist(store: Store, text: str) -> None:
    store.path(CELL).write_text(text)
    with pytest.raises(RecordError, match="is not a record"):
        read_status(store.folder)


def test_numbers_of_objects_by_size_are_lists(store: Store) -> None:
    path = store.path(CELL)
    values = json.loads(path.read_text())
    counts = {"size_counts/carbide": [0, 3, 1], "size_counts_truth/carbide": []}
    values["per_image"][0] |= counts
    path.write_text(json.dumps(values))
    (record,) = store.read_all()
    assert record.per_image[0].items() >= counts.items()
