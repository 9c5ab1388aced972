"""What the figures of ledgers are made of gives back these figures."""

import re
from dataclasses import replace

import numpy as np
import pytest
from records import make_cost

from bench.ask.suites import list_suites
from bench.data.items import Collection, Item
from bench.evaluate.scoring import Prediction, Scoring
from bench.report.published.score_sums import RUN_FIGURES, score_sums_of
from bench.report.records.columns import MORE, get_column
from bench.spec import Cell, Recipe, Record, Task

SIDE = 48
FIGURES = {
    re.sub("/.*", "/x", figure)
    for suite in list_suites()
    if suite.counted is None
    for figure in suite.figures.values()
}


def record(kind: str, seed: int) -> Record:
    """A run on six images of three specimens: with objects, as slices, or with grey levels."""
    truths, found = np.random.default_rng(0), np.random.default_rng(seed + 1)
    classes = ("rest", "x") if kind == "grey levels" else ("rest", "x", "y")
    pairs = []
    for at in range(6):
        blocks = truths.integers(0, len(classes), (SIDE // 8, SIDE // 8))
        mask = np.kron(blocks, np.ones((8, 8))).astype(np.uint8)
        numbers = (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 300 + 1) * (mask > 0)
        item = Item(
            f"i{at}",
            mask,
            mask,
            f"g{at // 2}",
            instances=numbers if kind == "objects" else None,
            volume=f"v{at // 2}" if kind == "slices" else "",
            spacing_mm=(4.0, 0.8, 0.9) if kind == "slices" else None,
        )
        pairs.append((item, np.where(found.random(mask.shape) < 0.1, 1, mask).astype(np.uint8)))
    scoring = Scoring(Collection("made", classes, tuple(item for item, _ in pairs)))
    for item, predicted in pairs:
        grey = np.clip(predicted * 0.6 + found.random((SIDE, SIDE)) * 0.3, 0, 1).astype(np.float32)
        scoring.add(Prediction(item, np.asarray(item.mask), predicted, grey))
    return Record(
        Cell("lora", "made", Task(len(classes)), Recipe(lr=1e-3), seed=seed),
        "ok",
        classes=classes,
        metrics=scoring.summary(),
        per_image=tuple(scoring.images),
        per_volume=tuple(scoring.volumes),
    )


RUNS = {
    kind: [record(kind, seed) for seed in range(3)] for kind in ("objects", "slices", "grey levels")
}


@pytest.mark.parametrize(
    "figure",
    sorted((FIGURES | {"dice/x", "iou/x"} | {column.key for column in MORE}) - RUN_FIGURES),
)
def test_a_figure_is_that_of_the_records(figure: str) -> None:
    runs = next(runs for runs in RUNS.values() if runs[0].metrics.get(figure) is not None)
    values = [float(run.metrics[figure] or 0) for run in runs]
    assert np.std(values) > 0
    sample = score_sums_of(figure, runs)
    assert sample is not None
    assert sample.value == pytest.approx(np.mean(values))
    assert sample.sums.shape[:2] == (3, 3)
    assert get_column(figure).format(sample.value)


def test_a_seed_without_one_of_its_images_has_no_figure() -> None:
    whole, other = RUNS["slices"][:2]
    part = replace(other, per_image=other.per_image[1:])
    assert score_sums_of("dice_dataset", [whole, part]) is None
    assert score_sums_of("dice_dataset", []) is None
    older = [replace(run, metrics={"dice_dataset": 0.5}) for run in RUNS["objects"]]
    assert score_sums_of("pq_dataset", older) is None


def test_a_pooled_score_is_not_replaced_by_the_mean_over_images() -> None:
    with pytest.raises(ValueError, match="ledgers do not pool 'aji_dataset' over images"):
        score_sums_of("aji_dataset", RUNS["objects"])


def test_folds_count_when_all_are_there() -> None:
    runs = RUNS["objects"][:2]

    def fold(number: int, run: Record) -> Record:
        return replace(run, cell=replace(run.cell, seed=0, fold=number, folds=2))

    whole = [fold(number, run) for number, run in enumerate(runs)]
    assert score_sums_of("dice_dataset", whole) is not None
    assert score_sums_of("dice_dataset", whole[:1]) is None


def test_a_cost_is_the_mean_over_seeds() -> None:
    runs = [replace(run, cost=make_cost(4 + n)) for n, run in enumerate(RUNS["objects"])]
    sample = score_sums_of("trainable_params", runs)
    assert sample is not None
    assert sample.value == 5
    assert score_sums_of("trainable_params", [*runs[:2], RUNS["objects"][2]]) is None


def test_time_and_loss_of_an_epoch_follow_from_the_curve() -> None:
    """Two epochs of 50 steps; the loss of the second is (0.4 x 20 + 0.2 x 30) / 50."""
    curve = [(30, 0.9), (50, 0.7), (70, 0.4), (100, 0.2)]
    history = tuple({"step": step, "epoch": step / 50, "loss": loss} for step, loss in curve)
    runs = [
        replace(run, history=history, cost=replace(make_cost(1), train_wall_s=8.0))
        for run in RUNS["objects"]
    ]
    for figure, value in (("epoch_wall_s", 4.0), ("last_epoch_loss", 0.28)):
        sample = score_sums_of(figure, runs)
        assert sample is not None
        assert sample.value == pytest.approx(value)
    assert score_sums_of("last_epoch_loss", RUNS["objects"]) is None, "nothing was trained"
    across = replace(runs[0], history=(history[0], {"step": 80.0, "epoch": 1.6, "loss": 0.5}))
    sample = score_sums_of("last_epoch_loss", [across])
    assert sample is not None
    assert sample.value == pytest.approx(0.5), "the first point begins before the last epoch"
