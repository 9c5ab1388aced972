"""Races whose truth is known: records of methods with planted accuracies."""

from collections.abc import Mapping, Sequence

import numpy as np
from records import ENV, make_cell, make_cost

from bench.choice.arms import Arm, make_arms
from bench.spec import Cell, Record

CLASSES = ("background", "particle")
PIXELS = 10_000  # of each image, in truth and prediction


def planted_cells(
    methods: Sequence[str], *, runs: int = 3, folds: bool = False
) -> dict[str, list[Cell]]:
    """Cells of each method, one for each seed or fold."""
    return {
        name: [
            make_cell(name, fold=run, folds=runs) if folds else make_cell(name, seed=run)
            for run in range(runs)
        ]
        for name in methods
    }


def planted_race(
    merits: Mapping[str, float],
    *,
    seed: int = 0,
    folds: bool = False,
    runs: int = 3,
    specimens: int = 24,
    run_sd: float = 1.0,
    specimen_sd: float = 8.0,
    own_sd: float = 4.0,
    params: Mapping[str, int] | None = None,
) -> tuple[list[Arm], list[Record]]:
    """Methods in the order given, and a record of every run.

    Args:
        merits: method to its true Dice in percent.
        seed: of all noise.
        folds: cross-validation instead of seeds; the specimens are divided over the folds.
        runs: number of seeds or folds.
        specimens: of the test part, or of all folds together.
        run_sd: of a run, in points; also of its validation Dice.
        specimen_sd: of a specimen, the same for all methods.
        own_sd: of a specimen for a method.
        params: trainable parameters; 50,000 by default.
    """
    rng = np.random.default_rng(seed)
    cells = planted_cells(list(merits), runs=runs, folds=folds)
    common = rng.normal(0, specimen_sd, specimens)
    records = []
    for name, merit in merits.items():
        own = common + rng.normal(0, own_sd, specimens)
        for run, cell in enumerate(cells[name]):
            tested = range(run, specimens, runs) if folds else range(specimens)
            level = merit + rng.normal(0, run_sd)
            scores = {number: level + own[number] + rng.normal(0, 1.0) for number in tested}
            validation = level + rng.normal(0, run_sd)
            records.append(planted_record(cell, scores, validation, (params or {}).get(name)))
    return make_arms(cell for part in cells.values() for cell in part), records


def planted_record(
    cell: Cell, scores: Mapping[int, float], validation: float, params: int | None = None
) -> Record:
    """The record of a run with one image for each specimen; scores are Dice in percent."""
    rows = []
    for number, score in scores.items():
        dice = float(np.clip(score / 100, 0.01, 0.99))
        rows.append(
            {
                "name": f"image_{number}",
                "group": f"specimen_{number:03}",
                "dice": dice,
                "overlap_px/particle": dice * PIXELS,
                "truth_px/particle": PIXELS,
                "predicted_px/particle": PIXELS,
            }
        )
    return Record(
        cell,
        "ok",
        classes=CLASSES,
        metrics={"dice_dataset": float(np.mean([row["dice"] for row in rows]))},
        per_image=tuple(rows),
        history=({"step": 200.0, "loss": 0.1, "val_dice": validation / 100},),
        cost=make_cost(params or 50_000),
        env=ENV,
    )
