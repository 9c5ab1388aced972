"""Running times on this machine: `pytest tests/benchmarks --benchmark-enable`.

Without that option every piece of work runs once, as a test that it can. To compare two versions
of the code, use `regress.py`: times of different runs differ by more than most regressions.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from records import make_cell, make_record, report_of
from workload import inference, loop, training

from bench.plugins.registry import Method, list_methods, load_collection
from bench.report.compare.comparison import make_comparisons
from bench.report.records.frame import to_frame
from bench.report.tables.terminal import terminal_table
from bench.report.tables.write import write_tables
from bench.run.store import Store
from bench.spec import Record

BATCH = 2
METHODS = list_methods()
TRAINED = [method for method in METHODS if method.lr is not None]
PLAIN = [f"method_{letter}" for letter in "abcdefgh"]
SETS = ("steel", "uhcs", "metaldam", "nasa_super", "dsb2018", "emps")


def every(methods: list[Method]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("method", methods, ids=lambda method: method.name)


def records(sets: tuple[str, ...]) -> list[Record]:
    """Fourteen rows with three seeds on each set: 252 records on six."""
    ranks: list[Mapping[str, int]] = [{"rank": rank} for rank in (1, 2, 8, 16, 32, 64)]
    rows = [*itertools.product(PLAIN, [{}]), *itertools.product(["lora"], ranks)]
    return [
        make_record(make_cell(name, dataset=data, seed=seed, options=options), dice=0.6 + row / 50)
        for data in sets
        for row, (name, options) in enumerate(rows)
        for seed in range(3)
    ]


@pytest.mark.benchmark(group=f"training step, batch {BATCH}")
@every(TRAINED)
def test_training_step(benchmark: Any, method: Method) -> None:
    loss = benchmark(training(method.name, BATCH))
    assert torch.isfinite(loss)


@pytest.mark.benchmark(group=f"inference, batch {BATCH}")
@every(METHODS)
def test_inference(benchmark: Any, method: Method) -> None:
    logits = benchmark(inference(method.name, BATCH))
    assert logits.shape[:2] == (BATCH, 3)


@pytest.mark.benchmark(group="harness")
def test_training_loop_of_100_steps(benchmark: Any) -> None:
    curve = benchmark(loop(steps=100))
    assert curve[-1]["step"] == 100


@pytest.mark.benchmark(group="harness")
def test_store_write(benchmark: Any, tmp_path: Path) -> None:
    store, record = Store.open(tmp_path), make_record()
    benchmark(store.write, record)
    assert store.read(record.cell) == record


@pytest.mark.benchmark(group="report")
def test_tables_of_252_records(benchmark: Any, tmp_path: Path) -> None:
    many = records(SETS)

    def report() -> int:
        frame = to_frame(many)
        found = make_comparisons(frame)
        return len(write_tables(frame, tmp_path, found)) + len(
            [terminal_table(one) for one in found]
        )

    assert len(many) == 252
    assert benchmark(report) > 3 * len(SETS)


@pytest.mark.benchmark(group="report")
def test_whole_report_of_one_set(benchmark: Any, tmp_path: Path) -> None:
    few = records(SETS[:1])
    written = benchmark.pedantic(report_of, (few, tmp_path), rounds=3)
    assert len(make_comparisons(to_frame(few))) == 1
    assert {".md", ".csv", ".tex", ".png", ".svg"} <= {path.suffix for path in written}


@pytest.mark.benchmark(group="datasets")
@pytest.mark.parametrize("name", ["organs"])
def test_drawing_a_collection(benchmark: Any, name: str) -> None:
    collection = benchmark.pedantic(load_collection, (name,), rounds=3)
    assert collection.items
