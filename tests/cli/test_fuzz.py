"""Random input in a short, bounded form: only a UserError may come of it."""

import copy
import dataclasses
import json
import string
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import check_sentence, fuzz
from hypothesis import strategies as st
from records import make_cell, make_record

from bench.api.compare import read_options
from bench.ask import suites
from bench.ask.grid import LoadedDataset
from bench.ask.method_words import parse_methods
from bench.ask.published import PUBLISHED
from bench.ask.request import Request, read_labels, read_rates, read_seeds
from bench.choice.limits import parse_count
from bench.cost.predict.gpus import find_gpu
from bench.data.folder.sidecars import list_of_lines
from bench.data.items import Collection, Item
from bench.data.selection import Selection
from bench.data.split import canonical_ratio
from bench.errors import BOUNDS, UserError, read_number
from bench.report.compare.before_after import compare_records, get_metric
from bench.report.compare.comparison import make_comparisons
from bench.report.page import find_ledgers
from bench.report.published.ledger import ledger
from bench.report.published.ledger_file import ledger_markdown
from bench.report.records.frame import to_frame
from bench.report.tables.before_after import before_after_notes
from bench.report.tables.folds import write_folds
from bench.report.tables.readings import write_readings
from bench.report.tables.write import write_tables
from bench.run.durations import read_seconds
from bench.run.schedule import RunSettings
from bench.run.shard import read_shard
from bench.run.store import RecordError, Store, read_record

OPTIONS = [field.name for cls in (Request, RunSettings) for field in dataclasses.fields(cls)]
WORDS = st.sampled_from(["0", "1,2", "steel", "x", "fp32", "published", "", "../x", "\0", "\ud800"])
METHOD_WORDS = ["lora", "adapter", "rank", "targets", "=", "|", "[", "]", ",", " ", "1", "qv", "-"]
SETTINGS = [*string.digits, *":/,|=.eE+-% ", "all", "nan", "inf", "h", "GB", "top", "٣", "\n"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@fuzz(st.lists(st.sampled_from(METHOD_WORDS), max_size=12).map("".join) | st.text(max_size=20))
def test_methods(text: str) -> None:
    try:
        assert parse_methods(text)
    except UserError as error:
        check_sentence(error)


@fuzz(st.lists(st.sampled_from(SETTINGS), max_size=8).map("".join) | st.text(max_size=10))
def test_numbers_in_text(text: str) -> None:
    readers = (read_seeds, read_labels, read_rates, read_shard, canonical_ratio, find_gpu)
    for read in (
        *readers,
        partial(read_seconds, option="--max-time", bound="max-time"),
        parse_count,
    ):
        try:
            read(text)
        except UserError as error:
            check_sentence(error)
    for name in BOUNDS:
        try:
            assert BOUNDS[name].allows(read_number(name, text))
        except UserError as error:
            check_sentence(error, name)
    for pair in ((text, None), (None, text)):
        try:
            Selection.parse(*pair)
        except UserError as error:
            check_sentence(error)
    list_of_lines(text)


@fuzz(st.dictionaries(st.sampled_from(OPTIONS), JSON | WORDS, max_size=3))
def test_requests(values: dict[str, Any]) -> None:
    """Options of `bench.compare`."""
    try:
        request, settings = read_options({"methods": "lora", "datasets": "steel", **values})
        settings.check()
        request.check()
        assert request.dataset_names
        assert request.backbone_names
    except UserError as error:
        check_sentence(error)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store.open(tmp_path_factory.mktemp("fuzz"))
    store.write(make_record(make_cell()))
    return store.path(make_cell())


NUMBERS = st.none() | st.integers(-3, 300) | st.floats() | st.sampled_from([0, 1, 1e18, -1e18])
OTHER = make_record(make_cell("unet"), dice=0.7)


@fuzz(st.data())
def test_records(record: Path, data: st.DataObject) -> None:
    """Tables of what is accepted can be written."""
    values = json.loads(record.read_text())
    cell, row = values["cell"], data.draw(st.sampled_from(["per_image", "history"]))
    parts = [values, cell, cell["task"], cell["recipe"], values["metrics"], values["cost"]]
    part = data.draw(st.sampled_from([*parts, values["env"], *values[row][:2]]))
    if part:
        name = data.draw(st.sampled_from(sorted(part)))
        part[name] = data.draw(NUMBERS if isinstance(part[name], float | int) else JSON)
    path = record.with_name("changed.json")
    path.write_text(json.dumps(values))
    try:
        accepted = read_record(path)
    except RecordError as error:
        return check_sentence(error, str(path))
    frame = to_frame([accepted, OTHER])
    comparisons = make_comparisons(frame)
    for write in (write_folds, write_readings):
        write(comparisons, record.parent / "tables")
    assert write_tables(frame, record.parent / "tables", comparisons)
    change = compare_records([accepted], [OTHER, accepted], get_metric("dice"))
    assert list(before_after_notes(change))


STEEL = Collection(
    "steel",
    ("matrix", "carbide", "spheroidite"),
    tuple(
        Item(f"image_{n}", np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), f"group_{n}")
        for n in range(12)
    ),
)
RUN = make_record(make_cell("unet"))
NOTE = {"suite": "steel-baselines", "dataset": "steel", "seeds": "1", "steps": 4}


@fuzz(
    st.dictionaries(
        st.sampled_from(["suite", "seeds", *(field.name for field in dataclasses.fields(Request))]),
        JSON | NUMBERS | WORDS,
        max_size=3,
    )
)
def test_notes(tmp_path: Path, values: dict[str, Any]) -> None:
    """A ledger whose request was changed is made, or left out with a sentence or as another's."""
    (tmp_path / "ledger").mkdir(exist_ok=True)
    text = f"<!-- asked: {json.dumps(NOTE | values)} -->"
    (tmp_path / "ledger" / "a.md").write_text(text)
    ledgers, left_out = find_ledgers(tmp_path, [RUN], {"steel": STEEL})
    assert len(ledgers) + len(left_out) <= 1
    assert all(sentence.startswith("no ledger of ") for sentence in left_out)


SUITE = tomllib.loads((PUBLISHED / "suites.toml").read_text())["steel-baselines"]
FIELDS = sorted({*SUITE, "labels", "folds", "depth", "epochs", "loss", "units", "counted", "x"})
LINE_FIELDS = sorted({field.name for field in dataclasses.fields(suites.SuiteLine)} | {"x"})


@fuzz(st.data(), examples=40)
def test_suites(data: st.DataObject) -> None:
    """The ledger of a suite whose table was changed is written, or refused in a sentence."""
    table = copy.deepcopy(SUITE)
    value = JSON | NUMBERS | WORDS
    if data.draw(st.booleans()):
        table["lines"][0][data.draw(st.sampled_from(LINE_FIELDS))] = data.draw(value)
    else:
        name = data.draw(st.sampled_from(FIELDS))
        if isinstance(table.get(name), dict) and data.draw(st.booleans()):
            table[name] = {key: data.draw(value) for key in table[name]}
        else:
            table[name] = data.draw(value)
    try:
        suite = suites.make_suite("steel-baselines", table)
        choice = suites.SuiteChoice("steel", "1", {"steps": 4})
        loaded = LoadedDataset(STEEL, "", ((),) * suite.folds)
        cells, _ = suites.expand_suite(suite, choice, {"steel": loaded})
        assert ledger_markdown(suite, ledger(suite, choice, cells, {RUN.cell.id: RUN}))
    except UserError as error:
        check_sentence(error)
