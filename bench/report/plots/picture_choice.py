"""What a gallery shows: one run of each row, and the images with the highest and lowest scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from bench.report.compare.comparison import Comparison
from bench.report.records.rows import Row

WIDEST = 10  # methods side by side in a report


@dataclass(frozen=True)
class Shown:
    """The run that is shown for a row.

    Attributes:
        files: the stored label maps, by item name; perhaps not of every test image.
        dice: Dice (0 to 1) of each test image, by item name; None where it is not defined.
    """

    files: Mapping[str, Path]
    dice: Mapping[str, float | None]


def shown_run(row: Row, predictions: Path) -> Shown | None:
    """Return the run with the lowest seed (then fold) that has any prediction; None without one.

    Args:
        row: only its successful runs count.
        predictions: holds `<cell id>/<item name>.png`.
    """
    runs = zip(row.column("cell"), row.column("per_image"), strict=True)
    for cell, images in sorted(runs, key=lambda run: (run[0].seed, run[0].fold)):
        files = {file.stem: file for file in sorted((predictions / cell.id).glob("*.png"))}
        if files:
            return Shown(files, {image["name"]: image["dice"] for image in images})
    return None


def choose(runs: Sequence[Shown], roles: Sequence[str]) -> dict[str, str]:
    """Choose one image for each role, among those that all runs have predictions of.

    Args:
        runs: the shown runs.
        roles: of "best", "median" and "worst" (by the mean Dice over the runs that have one) and
            "most disputed" (by its standard deviation, an image without another role; only with two
            runs or more). Of roles with the same image, the first gets it.

    Returns:
        Role to item name, no item twice; fewer where there are fewer images. Empty if there are no
        runs, no images in common, or none of these has a Dice.
    """
    common = set.intersection(*(set(run.files) for run in runs)) if runs else set()
    scores = [
        (name, dice)
        for run in runs
        for name, dice in run.dice.items()
        if name in common and dice is not None
    ]
    if not scores:
        return {}
    by_name = pd.DataFrame(scores, columns=["name", "dice"]).groupby("name")["dice"]
    means, spreads = (
        [str(name) for name in ranking.sort_values(ascending=False, kind="stable").index]
        for ranking in (by_name.mean(), by_name.std(ddof=0))
    )
    candidates = {
        "best": means[:1],
        "median": means[len(means) // 2 :][:1],
        "worst": means[-1:],
        "most disputed": spreads if len(runs) > 1 else [],
    }
    chosen: dict[str, str] = {}
    for role in roles:
        left = [name for name in candidates[role] if name not in chosen.values()]
        if left:
            chosen[role] = left[0]
    return chosen


@dataclass(frozen=True)
class Choice:
    """What a gallery shows.

    Attributes:
        runs: the run of each shown row.
        by_role: "best", "median" and "worst" to the name of an item, as far as there are any.
        left_out: number of rows with predictions that are not shown.
    """

    runs: Mapping[Row, Shown]
    by_role: Mapping[str, str]
    left_out: int

    @property
    def names(self) -> list[str]:
        """The names of the items."""
        return list(self.by_role.values())


def choose_pictures(comparison: Comparison, predictions: Path, most: int = WIDEST) -> Choice | None:
    """Choose runs and images for a gallery; None if it has nothing to show.

    Args:
        comparison: of one table.
        predictions: holds `<cell id>/<item name>.png`.
        most: largest number of rows, the first ones of the table that have predictions.
    """
    kept = {row: run for row in comparison.rows if (run := shown_run(row, predictions)) is not None}
    runs = dict(islice(kept.items(), most))
    names = choose(list(runs.values()), ("best", "median", "worst"))
    return Choice(runs, names, len(kept) - len(runs)) if names else None
