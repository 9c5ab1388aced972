"""Label budgets: comparisons that differ only in the number of labelled training images."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.report.compare.comparison import Comparison
from bench.report.compare.grouping import names_of, table_key
from bench.spec import Cell


@dataclasses.dataclass(frozen=True, eq=False)
class Budgets:
    """Comparisons that differ only in the number of labelled training images.

    Attributes:
        title: the dataset, and the common settings that are not the defaults.
        slug: the title as a file name.
        steps: number of labelled training images (mean over the runs, rounded) and comparison,
            smallest number first; several comparisons may have the same number.
    """

    title: str
    slug: str
    steps: Sequence[tuple[int, Comparison]]

    @property
    def numbers(self) -> list[int]:
        """The numbers of labelled training images, each once, smallest first."""
        return list(dict.fromkeys(images for images, _ in self.steps))


def find_budgets(comparisons: Sequence[Comparison]) -> list[Budgets]:
    """Return every set of at least two comparisons that differ only in the label budget.

    Comparisons without a successful run whose record holds the number of training images
    (`env/split/train`) are left out.
    """
    groups: dict[Any, list[tuple[int, Comparison]]] = defaultdict(list)
    for comparison in comparisons:
        trained = _training_images(comparison)
        if not trained.empty:
            key = table_key(_without_labels(comparison))
            groups[key].append((round(trained.mean()), comparison))
    several = [group for group in groups.values() if len(group) > 1]
    names = names_of([_without_labels(group[0][1]) for group in several])
    return [
        Budgets(", ".join(words), slug, sorted(group, key=lambda step: step[0]))
        for group, (words, slug) in zip(several, names, strict=True)
    ]


def _training_images(comparison: Comparison) -> "pd.Series[Any]":
    """Recorded numbers of training images of the successful runs."""
    frame = comparison.rows[0].runs.frame
    if "env/split/train" not in frame:
        return pd.Series(dtype=float)
    places = [place for row in comparison.rows for place in row.succeeded]
    return frame["env/split/train"].iloc[places].dropna()


def _without_labels(comparison: Comparison) -> Cell:
    return dataclasses.replace(comparison.rows[0].cells[0], labels=None)
