"""Random input in a short, bounded form: only a UserError may come of it."""

import json
import string
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fuzzing import check_sentence, fuzz
from hypothesis import strategies as st
from records import make_cell, make_record

from bench.ask.method_words import parse_methods
from bench.ask.request import Request, read_labels, read_rates, read_seeds
from bench.choice.limits import parse_count
from bench.cost.predict.gpus import find_gpu
from bench.data.folder.sidecars import list_of_lines
from bench.data.selection import Selection
from bench.data.split import canonical_ratio
from bench.errors import BOUNDS, UserError, read_number
from bench.report.records.frame import to_frame
from bench.run.durations import read_seconds
from bench.run.shard import read_shard
from bench.run.store import RecordError, Store, read_record

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


@fuzz(st.dictionaries(st.sampled_from(["folds", "steps", "depth", "lr", "epochs"]), JSON))
def test_requests(values: dict[str, Any]) -> None:
    try:
        Request("lora", "steel", **values).check()
    except UserError as error:
        check_sentence(error)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store.open(tmp_path_factory.mktemp("fuzz"))
    store.write(make_record(make_cell()))
    return store.path(make_cell())


@fuzz(st.data())
def test_records(record: Path, data: st.DataObject) -> None:
    values = json.loads(record.read_text())
    part = data.draw(st.sampled_from([values, values["cell"], values["metrics"], values["env"]]))
    if part:
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(JSON)
    path = record.with_name("changed.json")
    path.write_text(json.dumps(values))
    try:
        accepted = read_record(path)
    except RecordError as error:
        check_sentence(error, str(path))
    else:
        assert len(to_frame([accepted])) == 1, "a report can be made of what is accepted"
