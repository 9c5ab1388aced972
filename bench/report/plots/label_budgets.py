"""Label budgets: what a method is worth by the number of labelled training images."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bench.report.compare.comparison import Comparison
from bench.report.compare.grouping import names_of, question
from bench.report.plots.style import Series, legend_below
from bench.report.records.columns import DICE
from bench.report.records.rows import Row
from bench.spec import Cell


@dataclasses.dataclass(frozen=True, eq=False)
class Budgets:
    """Comparisons that differ in the number of labelled training images only.

    Attributes:
        slug: for file names.
        steps: comparison by number of training images, fewest first.
    """

    title: str
    slug: str
    steps: Mapping[int, Comparison]

    def curves(self, looks: Mapping[Row, Series]) -> dict[str, list[tuple[int, Row]]]:
        """Number of images and row, by the name of a method that has two such numbers at least."""
        points: dict[str, list[tuple[int, Row]]] = defaultdict(list)
        for images, comparison in self.steps.items():
            for row in comparison.rows:
                if row.values[DICE.key].figure is not None:
                    points[looks[row].name].append((images, row))
        return {name: found for name, found in sorted(points.items()) if len(found) > 1}


def find_budgets(comparisons: Sequence[Comparison]) -> list[Budgets]:
    """Every set of comparisons with more than one label budget."""
    groups: dict[Any, list[tuple[int, Comparison]]] = defaultdict(list)
    for found in comparisons:
        ok = pd.concat([row.ok for row in found.rows])
        trained = ok["env/split/train"].dropna() if "env/split/train" in ok else ok["seed"][:0]
        if not trained.empty:
            cell = dataclasses.replace(_cell(found), labels=None)
            groups[question(cell)].append((round(trained.mean()), found))
    several = [group for group in groups.values() if len(group) > 1]
    names = names_of([dataclasses.replace(_cell(group[0][1]), labels=None) for group in several])
    return [
        Budgets(", ".join(words), slug, dict(sorted(group, key=lambda step: step[0])))
        for group, (words, slug) in zip(several, names, strict=True)
    ]


def draw_budgets(found: Budgets, looks: Mapping[Row, Series]) -> Figure:
    """Dice against the number of labelled training images: mean and spread over runs.

    Methods that were run with one number of images only have no curve, and are left out.
    """
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, points in found.curves(looks).items():
        look = looks[points[0][1]]
        values = [row.values[DICE.key] for _, row in points]
        axes.errorbar(
            [images for images, _ in points],
            [cast(float, value.figure) * DICE.scale for value in values],
            [(value.spread or 0.0) * DICE.scale for value in values],
            fmt=look.line,
            marker=look.marker,
            color=look.colour,
            capsize=3,
            lw=1.8,
            label=name,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(found.steps), [str(images) for images in found.steps])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training images")
    axes.set_ylabel(f"{DICE.title} ({DICE.unit})")
    axes.set_title(f"{found.title}: label budgets")
    legend_below(figure)
    return figure


def _cell(found: Comparison) -> Cell:
    return cast(Cell, found.rows[0].records["cell"].iloc[0])
