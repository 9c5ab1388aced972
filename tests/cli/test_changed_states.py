"""Files that commands keep for later ones, changed by hand: they are left out or refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.choice import comebacks
from bench.choice.setup import _decided
from bench.data.layouts.write import _is_imported
from bench.data.remember import Remembered, State
from bench.errors import UserError
from bench.predict.resume import done_before, objects_path, state_path
from bench.predict.unfinished import JOURNAL, Unfinished
from bench.report.plots import families
from bench.run.claims import _is_stale
from bench.run.folders import same_record

DEEP = "[" * 100_000
ROOT = Path(__file__).parents[2]


def test_json_of_files_is_read_by_one_function() -> None:
    """`json.loads` raises RecursionError for what `parse_json` reports."""
    for path in (ROOT / "bench").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert "json.load" not in line or "read_" not in line, path


def test_a_remembered_result_that_was_changed_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.data.remember.cache_folder", lambda: tmp_path)
    state = State("of the files", settled=True)
    memory = Remembered("x", tmp_path / "files")
    memory.keep("a", state, {"values": (1, 2), 3: [0.1]})
    memory.save()
    (path,) = tmp_path.rglob("x-*.json")
    again = Remembered("x", tmp_path / "files")
    assert again.recall("a", state) == {"values": [1, 2], "3": [0.1]}
    for text in (path.read_text().replace("[1, 2]", "[1, 3]"), "3", DEEP, '{"a": [1]}'):
        path.write_text(text)
        assert Remembered("x", tmp_path / "files").recall("a", state) is None


@pytest.mark.parametrize(
    "values",
    [
        *(3, [], {"steel": 3}, {"steel": {"lora": "1"}}, {"steel": {"lora": [None]}}),
        *({"steel": {"lora": []}}, {"steel": {"lora": [float("nan")]}}),
    ],
)
def test_comebacks_of_another_type_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: Any
) -> None:
    monkeypatch.setattr(comebacks, "shipped_results", lambda: tmp_path)
    (tmp_path / "reference").mkdir()
    path = tmp_path / "reference" / comebacks.FILE
    path.write_text(json.dumps({"comebacks": values}))
    with pytest.raises(UserError, match=r"comebacks.json cannot be read .*: restore it"):
        comebacks.load_comebacks()
    path.write_text(DEEP)
    with pytest.raises(UserError, match="nested too deeply"):
        comebacks.load_comebacks()


STATE = {"made_from": {}, "evaluation": "whole", "files": ["a.png"], "rows": [{"image": "a"}]}


@pytest.mark.parametrize(
    "changes", [{}, {"files": 3}, {"files": [3]}, {"rows": [3]}, {"rows": {}}, {"more": 1}]
)
def test_a_changed_state_of_a_picture_is_not_used(tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / ".done").mkdir()
    for path in (tmp_path / "a.png", objects_path(tmp_path, "a")):
        path.touch()
    state_path(tmp_path, "a").write_text(json.dumps(STATE | changes))
    assert (done_before(tmp_path, "a", {}) is None) == bool(changes)
    state_path(tmp_path, "a").write_text(DEEP)
    assert done_before(tmp_path, "a", {}) is None


JOURNALS: list[Any] = [
    *({}, {"rows": "1"}, {"rows": -1}, {"rows": True}, {"sums": 3}, {"sums": [3]}),
    *({"sums": [{"x": "1"}]}, {"made_from": {"other": 1}}, None, []),
]


@pytest.mark.parametrize("changes", JOURNALS)
def test_a_changed_journal_of_a_picture_is_not_used(tmp_path: Path, changes: Any) -> None:
    journal = {"made_from": {}, "rows": 1, "sums": [{"x": 1.0}]}
    (tmp_path / "x.rows").write_bytes(bytes(4))
    content = journal | changes if isinstance(changes, dict) else changes
    (tmp_path / JOURNAL).write_text(json.dumps(content))
    with Unfinished(tmp_path, 4, {"x": np.uint8}, {}) as picture:
        assert (picture.rows, picture.sums) == ((1, [{"x": 1.0}]) if changes == {} else (0, []))


@pytest.mark.parametrize("text", ["low_rank", "low_rank = 3", "low_rank = [3]", f"a = {DEEP}"])
def test_families_of_methods_that_cannot_be_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("bench.methods.__path__", [str(tmp_path)])
    (tmp_path / "families.toml").write_text(text)
    with pytest.raises(UserError, match=r"families.toml' \(.*\): correct or restore it"):
        families._places.__wrapped__()


@pytest.mark.parametrize("text", ["3", "[]", "null", DEEP, "\0"])
def test_other_small_files_are_as_good_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "meta.json"
    path.write_text(text)
    other = tmp_path / "other.json"
    other.write_text(text + " ")
    assert not _is_imported(tmp_path)
    assert _decided(path) is None
    assert _is_stale(path, path.stat().st_mtime + 1e6)
    assert same_record(path, other) == (text in ("3", "[]", "null"))
