"""Ids of committed records never change: not by a new field, not by a changed default."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench import spec
from bench.run.store import Store

RECORDS = Path(__file__).parents[2] / "results" / "reference" / "records"
# Add the ids of new records to this list; never change or remove an id of a record that stays.
COMMITTED_IDS = (Path(__file__).parent / "committed_ids.txt").read_text().split()

Edited = Callable[[str, str], ModuleType]


@pytest.fixture(scope="module")
def committed() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))]


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edited:
    """Import a copy of bench/spec.py in which one piece of text is replaced."""

    def load(old: str, new: str) -> ModuleType:
        source = Path(spec.__file__).read_text()
        assert source.count(old) == 1
        copy = tmp_path / "edited_spec.py"
        copy.write_text(source.replace(old, new))
        located = importlib.util.spec_from_file_location("edited_spec", copy)
        assert located is not None
        assert located.loader is not None
        module = importlib.util.module_from_spec(located)
        monkeypatch.setitem(sys.modules, "edited_spec", module)
        located.loader.exec_module(module)
        return module

    return load


def ids(module: ModuleType, records: list[dict[str, Any]]) -> list[str]:
    return [module.Record.from_dict(values).cell.id for values in records]


def test_every_committed_record_has_its_listed_id(committed: list[dict[str, Any]]) -> None:
    assert len(COMMITTED_IDS) >= 744
    assert [path.stem for path in sorted(RECORDS.glob("*.json"))] == COMMITTED_IDS
    assert [values["id"] for values in committed] == COMMITTED_IDS
    assert ids(spec, committed) == COMMITTED_IDS


def test_the_store_finds_every_committed_record_by_its_cell() -> None:
    store = Store(RECORDS.parent)
    assert all(store.path(record.cell).exists() for record in store.stream())


LAST_FIELDS = {
    "Task": "    depth: int = 1\n",
    "Recipe": '    evaluation: str = "whole"\n',
    "Cell": "    leaks: tuple[str, ...] = ()\n",
}


@pytest.mark.parametrize("name", LAST_FIELDS)
def test_a_new_field_enters_the_id_only_where_it_differs_from_its_default(
    name: str, committed: list[dict[str, Any]], edited: Edited
) -> None:
    module = edited(LAST_FIELDS[name], LAST_FIELDS[name] + "    dropout: float = 0.0\n")
    assert ids(module, committed) == COMMITTED_IDS

    def cell_id(**new: float) -> str:
        values = json.loads(json.dumps(committed[0]["cell"]))
        (values if name == "Cell" else values[name.lower()]).update(new)
        return str(module.Cell.from_dict(values).id)

    moved = {cell_id(dropout=0.1), cell_id(dropout=0.2)}
    assert cell_id(dropout=0.0) == cell_id() == COMMITTED_IDS[0]
    assert len(moved) == 2
    assert COMMITTED_IDS[0] not in moved


def test_a_new_default_of_an_old_field_changes_no_id(
    committed: list[dict[str, Any]], edited: Edited
) -> None:
    module = edited("    steps: int = 200\n", "    steps: int = 300\n")
    assert ids(module, committed) == COMMITTED_IDS


def test_a_later_default_cannot_change_unnoticed(
    committed: list[dict[str, Any]], edited: Edited
) -> None:
    module = edited("    checkpointing: bool = False\n", "    checkpointing: bool = True\n")
    assert ids(module, committed) != COMMITTED_IDS
