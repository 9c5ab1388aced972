import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from records import make_cell, make_failure, make_record

import bench
from bench.run.store import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two methods on steel with two seeds each, one with 5 labels, and a failure."""
    store = Store.open(tmp_path / "results")
    for seed, (low, high) in enumerate([(0.5, 0.7), (0.6, 0.9)]):
        store.write(make_record(make_cell("lora", seed=seed), dice=low))
        store.write(make_record(make_cell("adapter", seed=seed), dice=high))
    store.write(make_record(make_cell("lora", labels=5), dice=0.4))
    store.write(make_failure(make_cell("full"), "diverged", "the loss became nan"))
    return store.folder


def test_a_frame_has_one_row_for_each_run(folder: Path) -> None:
    results = bench.load_results(folder)
    frame = results.frame()
    assert len(results) == len(frame) == 6
    assert list(frame["id"]) == [record.cell.id for record in results]
    assert frame.groupby("label")["dice_dataset"].mean().round(3).to_dict() == pytest.approx(
        {"adapter": 0.8, "full": np.nan, "lora": 0.5}, nan_ok=True
    )


def test_failures_have_their_reason(folder: Path) -> None:
    failures = bench.load_results(folder).failures()
    assert failures.to_dict("records") == [
        {
            **{"label": "full", "dataset": "steel", "seed": 0, "fold": 0},
            **{"status": "diverged", "error": "the loss became nan"},
        }
    ]


def test_a_table_has_mean_spread_and_mark_of_each_method(folder: Path) -> None:
    results = bench.load_results(folder)
    assert list(results.tables()) == ["steel", "steel_5-labels"]
    table = results.table("steel")
    text = ["label", "backbone", "weights", "prompts", "runs"]
    assert list(table.columns[:5]) == text
    of_classes = [name for name in table.columns if name.startswith("dice/")]
    classes = ("carbide", "spheroidite")
    assert of_classes == [f"dice/{name}{end}" for name in classes for end in ("", "_sd")]
    figures = list(table.columns[5 : -len(of_classes)])
    figures.remove("dice_dataset_within")
    assert figures == [name + end for name in figures[::3] for end in ("", "_sd", "_mark")]
    table = table.set_index("label")
    assert list(table.index) == ["adapter", "lora", "full"]
    assert table["dice_dataset"].tolist() == pytest.approx([0.8, 0.55, np.nan], nan_ok=True)
    assert table.loc["adapter", "dice_dataset_sd"] == pytest.approx(np.std([0.7, 0.9], ddof=1))
    assert table.loc["adapter", "dice_dataset_mark"] == "best"
    assert table.loc["lora", "dice/spheroidite"] == pytest.approx(0.85 * 0.55)
    assert table.loc["lora", "dice/spheroidite_sd"] == pytest.approx(
        0.85 * np.std([0.5, 0.6], ddof=1)
    )
    assert table.attrs["title"] == results.tables()["steel"]
    assert any("the loss became nan" in note for note in table.attrs["notes"])


def test_a_table_is_named_where_several_match(folder: Path) -> None:
    results = bench.load_results(folder)
    with pytest.raises(bench.UserError, match="2 tables: give one of steel, steel_5-labels"):
        results.table()
    with pytest.raises(bench.UserError, match=r"no table 'stel'\. Did you mean 'steel'\? Known:"):
        results.table("stel")
    few = bench.Results(tuple(record for record in results if record.cell.labels == 5))
    assert few.table()["label"].tolist() == few.table("steel")["label"].tolist() == ["lora"]
    assert repr(few) == "<Results: 1 record, 0 failed>"


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bench.UserError, match=f"no records in {tmp_path}: give a results folder"):
        bench.load_results(tmp_path)


def test_results_are_read_without_torch(folder: Path) -> None:
    code = (
        "import sys, bench; results = bench.load_results(sys.argv[1]); "
        "results.frame(); results.failures(); results.table('steel'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
