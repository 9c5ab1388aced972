"""What a dry run says about time and memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from folders import make_folder
from records import make_cell
from rich.console import Console

from bench import cli
from bench.cli import grid_cost
from bench.cli.grid_cost import duration, show_grid_cost
from bench.record_values import PredictedCost
from bench.run import device_memory
from bench.run.predictor import CostPredictor
from bench.run.training_sizes import TrainingSizes
from bench.spec import Cell

GIB = 2**30
SMALL = PredictedCost(
    "cpu", run_peak_bytes=GIB // 4, fits="fits",
    train_wall_s=60.0, train_wall_s_low=30.0, train_wall_s_high=120.0,
)  # fmt: skip
LARGE = replace(SMALL, available_bytes=2 * GIB, run_peak_bytes=3 * GIB, fits="no")


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "available_bytes", lambda device: 2 * GIB)
    monkeypatch.setattr(TrainingSizes, "of", lambda self, cell: 4)


def said(cells: list[Cell], predicted: dict[str, PredictedCost], monkeypatch: Any) -> list[str]:
    """The lines of the prediction, 80 columns wide."""

    def predict(self: Any, cell: Cell, *others: Any) -> PredictedCost:
        return predicted[cell.method]

    monkeypatch.setattr(CostPredictor, "predict", predict)
    console = Console(width=80, record=True)
    show_grid_cost(cells, "cpu", 1, console)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_sum_of_times_and_the_largest_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [make_cell("lora", seed=seed) for seed in (0, 1)] + [make_cell("unet", backbone="none")]
    lines = said(cells, {"lora": SMALL, "unet": replace(SMALL, run_peak_bytes=GIB)}, monkeypatch)
    # 3 x (60 + 15) s, 3 x (30 + 15) s and 3 x (120 + 15) s
    assert lines == [
        "predicted time: 4 min on this machine (2 min to 7 min) for 3 cells, one after",
        "the other",
        "predicted peak memory: 1.0 GiB of 2.0 GiB that are free (unet)",
    ]


def test_what_does_not_fit_is_warned_of_once_for_all_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [make_cell("full", seed=seed) for seed in (0, 1)]
    change = replace(LARGE, change="--checkpointing")
    assert said(cells, {"full": change}, monkeypatch)[-2:] == [
        "warning: full on sam_nano does not fit: the predicted peak is 3.0 GiB, 2.0 GiB",
        "are free; --checkpointing makes it fit",
    ]
    many = [make_cell("full", options={"rank": rank}) for rank in range(8)]
    assert said(many, {"full": LARGE}, monkeypatch)[-1] == "3 more warnings like these"


def test_what_is_not_predicted_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [make_cell("lora"), make_cell("selects")]
    reasons = {"lora": SMALL, "selects": PredictedCost("cpu", reason="it has no shapes")}
    assert said(cells, reasons, monkeypatch)[-1] == "selects: not predicted: it has no shapes"
    assert said(cells[1:], reasons, monkeypatch) == ["selects: not predicted: it has no shapes"]


def test_late_configurations_are_left_out_but_not_known_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grid_cost, "BUDGET_S", -1.0)
    monkeypatch.setattr(CostPredictor, "knows", lambda self, cell, *others: cell.method == "lora")
    cells = [make_cell("lora"), make_cell("full"), make_cell("unet", backbone="none")]
    lines = said(cells, {"lora": SMALL}, monkeypatch)
    assert lines[0].endswith("for 1 cell")
    assert lines[-1] == (
        "without 2 cells of 3, to save time: the command cost predicts single methods"
    )


@pytest.mark.parametrize(
    ("seconds", "words"), [(50, "50 s"), (130, "2 min"), (5900, "98 min"), (9000, "2.5 h")]
)
def test_durations_have_two_figures(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_command_predicts_what_is_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("bench.run.predictor.PROBE_S", 0.01)
    make_folder(Path("mine"))
    words = "--methods frozen_head --dataset mine --weights random --image-size 64 --steps 2"
    assert cli.main([*words.split(), "--dry-run"]) == 0
    *_, time, peak = capsys.readouterr().out.splitlines()
    assert time.startswith("predicted time: 15 s")
    assert peak.startswith("predicted peak memory: 0.0")
    assert peak.rstrip().endswith("of 2.0 GiB that are free (frozen_head)")
    assert cli.main([*words.split(), "--dry-run", "--no-predict"]) == 0
    assert "predicted" not in capsys.readouterr().out
    assert list(Path().iterdir()) == [Path("mine")], "a dry run writes nothing"
