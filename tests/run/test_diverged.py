"""A model whose logits are not finite gives no scores, whether it was trained or not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.contract.tiny import TINY_CLASSES, write_tiny_folder
from bench.plugins.registry import get_method
from bench.run import cell as cells
from bench.run import setup
from bench.run.events import CellProgress, TrainingProgress
from bench.run.store import Store
from bench.spec import Cell, Recipe, Task

TASK = Task(TINY_CLASSES, 16, "none", "random")


class Broken(nn.Module):
    """One logit of the last image is not finite, but only in evaluation mode."""

    def __init__(self, value: float, trainable: bool) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, TINY_CLASSES, 1).requires_grad_(trainable)
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images)
        if not self.training:
            logits = logits.clone()
            logits[-1, 0, 0, 0] = self.value
        return logits


@pytest.mark.parametrize("evaluation", ["whole", "tiles"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("trainable", [False, True], ids=["untrained", "trained"])
def test_logits_that_are_not_finite_end_the_cell(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evaluation: str,
    value: float,
    trainable: bool,
) -> None:
    method = replace(get_method("unet"), build=lambda task: Broken(value, trainable))
    monkeypatch.setattr(setup, "get_method", lambda name: method)
    store = Store.open(tmp_path / "results")
    recipe = Recipe(
        lr=0.1, steps=2, batch_size=2, bank_views=4, precision="fp32", evaluation=evaluation
    )
    cell = Cell("unet", str(write_tiny_folder(tmp_path / "images")), TASK, recipe)
    events: list[CellProgress] = []
    threads = torch.get_num_threads()
    cells.work(cell, "cpu", threads, store, events.append)
    record = store.read(cell)
    assert record is not None
    assert (record.status, record.metrics) == ("diverged", {})
    assert "logits of the evaluation are not finite (NaN or infinity)" in (record.error or "")
    # Validation finds it at the first point of the curve.
    trained = [event for event in events if isinstance(event, TrainingProgress)]
    assert len(trained) == (1 if trainable else 0)
