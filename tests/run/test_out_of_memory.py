"""A run that ran out of memory: its record has the prediction, the free memory and a way out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import make_folder
from in_process import run_cells_here
from records import make_cell, make_failure
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from bench import register_method
from bench.cli.progress import Progress
from bench.plugins import registry
from bench.record_values import PredictedCost
from bench.run.events import CellProgressed, CellStarted, CostPredicted, Event
from bench.run.memory_words import explain, memory_warning
from bench.run.process import ProcessDiedError
from bench.run.schedule import RunSettings, run_cells
from bench.run.store import Store
from bench.spec import Cell, Recipe, Task

GIB = 2**30
TOO_LARGE = PredictedCost(
    "cuda", int(7.9 * GIB), run_peak_bytes=int(9.3 * GIB), fits="no", change="--checkpointing"
)


class Greedy(nn.Module):
    """Wants more memory than there is, but not while it is predicted."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.layer, self.error = nn.Conv2d(3, 8, 3, padding=1), error

    def forward(self, images: Tensor) -> Tensor:
        if not isinstance(images, FakeTensor) and not images.is_meta:
            raise self.error("out of memory. Tried to allocate 20.00 GiB")
        return self.layer(images).relu()[:, :2]


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A cell of a method that runs out of memory, and runs in this process."""

    def run_here(work: Any, *args: Any, on_event: Any, limit_s: Any) -> None:
        work(*args, on_event)

    registry._METHODS.names()  # imports the files now, so that none is forgotten with the rest
    monkeypatch.setattr(registry._METHODS, "entries", dict(registry._METHODS.entries))
    run_cells_here(monkeypatch, run_here)
    monkeypatch.setattr("bench.run.predictor.PROBE_S", 0.01)
    for name, error in {"on_gpu": torch.OutOfMemoryError, "on_cpu": MemoryError}.items():
        method = register_method(name, paper="", lr=1e-3, from_scratch=True)
        method(lambda task, error=error: Greedy(error))
    folder = make_folder(tmp_path / "mine")
    recipe = Recipe(1e-3, steps=2, batch_size=8, bank_views=4, precision="fp32")
    return Cell("on_gpu", str(folder), Task(2, 64, "none", "random"), recipe)


@pytest.mark.parametrize("method", ["on_gpu", "on_cpu"])
def test_a_run_out_of_memory_that_fits_by_its_prediction(
    cell: Cell, tmp_path: Path, method: str
) -> None:
    events: list[Event] = []
    cells = [replace(cell, method=method)]
    settings = RunSettings("cpu", keep="none")
    (record,) = run_cells(cells, Store.open(tmp_path / "out"), settings, events.append)
    assert record.status == "oom"
    assert record.predicted is not None
    assert record.predicted.fits == "fits"
    assert record.error is not None
    first, amounts, change = record.error.split("; ")
    assert first == "out of memory. Tried to allocate 20.00 GiB"
    assert amounts.startswith("the predicted peak is 0.0")
    assert amounts.endswith(" GiB were free")
    assert change == "--precision bf16 needs less"
    assert Store(tmp_path / "out").read(cells[0]) == record


def test_a_run_that_the_system_kills(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(work: Any, cell: Cell, *args: Any, on_event: Any, limit_s: Any) -> None:
        on_event(CostPredicted(TOO_LARGE, 4))
        raise ProcessDiedError(-9)

    run_cells_here(monkeypatch, killed)
    settings = RunSettings("cpu", keep="none")
    (record,) = run_cells([cell], Store.open(tmp_path / "out"), settings, lambda event: None)
    assert (record.status, record.predicted) == ("failed", TOO_LARGE)
    assert record.error == (
        "the process was killed (signal 9), as the system does when memory runs out; the predicted"
        " peak is 9.3 GiB, 7.9 GiB were free; --checkpointing makes it fit"
    )


def test_without_predictions_the_error_is_as_it_was(cell: Cell, tmp_path: Path) -> None:
    settings = RunSettings("cpu", keep="none", predict=False)
    (record,) = run_cells([cell], Store.open(tmp_path / "out"), settings, lambda event: None)
    assert record.error == "out of memory. Tried to allocate 20.00 GiB"
    assert record.predicted is None


def test_errors_in_words() -> None:
    failure = make_failure()
    unknown = PredictedCost("cpu", available_bytes=GIB // 4, reason="no shapes")
    hopeless = replace(TOO_LARGE, change=None)
    fits = replace(TOO_LARGE, fits="fits", change=None)
    assert explain(failure, unknown).error == "out of memory at step 3; 0.25 GiB were free"
    assert str(explain(failure, hopeless).error).endswith("no change of the recipe makes it fit")
    assert str(explain(failure, fits).error).endswith("7.9 GiB were free")
    assert str(explain(failure, fits, "--checkpointing").error).endswith(
        "--checkpointing needs less"
    )


def test_a_warning_is_shown_once_for_all_seeds() -> None:
    progress, cells = Progress(), [make_cell("full", seed=seed) for seed in (0, 1)]
    lines = []
    for one in (*cells, make_cell("lora")):
        progress.update(CellStarted(one))
        lines.append(progress.update(CellProgressed(one, CostPredicted(TOO_LARGE, 4))))
    assert [line and line.plain for line in lines] == [
        "warning: full on sam_nano does not fit: the predicted peak is 9.3 GiB, 7.9 GiB are free;"
        " --checkpointing makes it fit",
        None,
        "warning: lora on sam_nano does not fit: the predicted peak is 9.3 GiB, 7.9 GiB are free;"
        " --checkpointing makes it fit",
    ]
    maybe = replace(TOO_LARGE, fits="probably")
    assert "lora on sam_nano may not fit: " in memory_warning(cells[0], maybe).replace(
        "full", "lora"
    )
    for fine in (replace(TOO_LARGE, fits="fits"), PredictedCost("cpu", reason="no shapes")):
        assert memory_warning(cells[0], fine) == ""
