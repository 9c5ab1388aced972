"""Methods across datasets: average ranks, and which methods cannot be told apart.

The tests and their sources are in `bench.stats.ranks`.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.report.compare.comparison import Comparison
from bench.report.compare.grouping import question, slug_of, words_of
from bench.report.compare.ranking import Block
from bench.report.records.columns import DICE
from bench.report.records.rows import Row
from bench.stats.paired import SIGNIFICANCE, Floats, min_specimens
from bench.stats.ranks import cliques, different_pairs, friedman, rank_scores

FEWEST = 3  # datasets, and methods: with fewer there is no order to speak of

_Scores = Mapping[str, Row]  # of one dataset, by the name of the row


@dataclass(frozen=True, eq=False)
class Standing:
    """Methods that were all run on all of some datasets, under one protocol.

    Attributes:
        title: the datasets' number and what else the runs have in common.
        slug: the same for file names.
        datasets: D names, in their order.
        methods: K rows of the first dataset, best average rank first.
        ranks: (D, K) by Dice, 1 for the best; equal ones share the mean of their ranks.
        p_value: of Friedman's test, that all methods are alike.
        cliques: first and last place of methods next to each other of which no two can be told
            apart; only the largest, and of two methods at least.
    """

    title: str
    slug: str
    datasets: tuple[str, ...]
    methods: tuple[Row, ...]
    ranks: Floats
    p_value: float
    cliques: tuple[tuple[int, int], ...]

    @property
    def sentence(self) -> str:
        """What stands in it, and what can be concluded."""
        count, methods = len(self.datasets), len(self.methods)
        pairs = methods * (methods - 1) // 2
        alike = "differ" if self.p_value <= SIGNIFICANCE else "cannot be said to differ"
        told = (
            f"Average ranks by Dice of {methods} methods over {count} datasets, each counted once: "
            f"{', '.join(self.datasets)}. As a whole the methods {alike} (Friedman's test, "
            f"p = {self.p_value:.2g}). "
        )
        fewest = min_specimens(pairs)
        if count < fewest:
            return told + (
                f"No pair of them can be told apart: for {pairs} pairs that takes {fewest} "
                "datasets at least, so little can be concluded for others than these."
            )
        return told + (
            f"Bars join methods of which no two can be told apart (Wilcoxon signed-rank test over "
            f"the datasets, Holm-corrected for {pairs} pairs, {SIGNIFICANCE:.0%} level)."
        )


def find_standings(comparisons: Sequence[Comparison]) -> list[Standing]:
    """Every set of methods that stand together on at least `FEWEST` datasets.

    Datasets with many methods come first; each further one leaves fewer methods that all have in
    common. A standing takes as many datasets as leave its methods whole.
    """
    groups: dict[Any, list[tuple[Comparison, _Scores]]] = defaultdict(list)
    for found in comparisons:
        for block in found.blocks:
            groups[_asked(found, block)].append((found, _scores(block)))
    standings = []
    for (*_, prompts), group in groups.items():
        standings += [_standing(parts, prompts) for parts in _common(group)]
    return sorted(standings, key=lambda standing: standing.slug)


def _asked(found: Comparison, block: Block) -> tuple[Any, ...]:
    """What comparisons have in common beside the dataset, and the origin of the prompts."""
    cell = found.rows[0].cells[0]
    task = dataclasses.replace(cell.task, num_classes=0)
    cell = dataclasses.replace(cell, dataset="", dataset_sha="", task=task)
    return (*question(cell), block.prompts)


def _scores(block: Block) -> _Scores:
    ranked = (block.rows[place] for place in block.ranked)
    return {row.name: row for row in ranked if row.values[DICE.key].figure is not None}


def _common(
    group: Sequence[tuple[Comparison, _Scores]],
) -> Iterator[list[tuple[Comparison, _Scores]]]:
    """Datasets, each with the same methods; of several contents of one name the fullest."""
    ordered = sorted(group, key=lambda one: (-len(one[1]), one[0].slug))
    named = {found.dataset: (found, scores) for found, scores in reversed(ordered)}
    ordered = [one for one in ordered if one[0] is named[one[0].dataset][0]]
    names = [set.intersection(*(set(s) for _, s in ordered[: n + 1])) for n in range(len(ordered))]
    for count, common in enumerate(names, 1):
        whole = count == len(ordered) or names[count] != common
        if whole and count >= FEWEST and len(common) >= FEWEST:
            parts = sorted(ordered[:count], key=lambda part: part[0].dataset)
            yield [(found, {name: rows[name] for name in sorted(common)}) for found, rows in parts]


def _standing(parts: Sequence[tuple[Comparison, _Scores]], prompts: str) -> Standing:
    found, scores = zip(*parts, strict=True)
    names = list(scores[0])
    figures = [[one[name].values[DICE.key].figure for name in names] for one in scores]
    dice = np.array(figures, dtype=np.float64)
    ranks = rank_scores(dice)
    order = np.lexsort((names, ranks.mean(0)))
    dice, ranks = dice[:, order], ranks[:, order]
    words = words_of(found[0].rows[0].cells[0])[1:]
    origin = () if prompts == "none" else (f"{prompts} prompts",)
    words = (f"across {len(found)} datasets", *words, *origin)
    return Standing(
        ", ".join(words),
        slug_of(words),
        tuple(one.dataset for one in found),
        tuple(scores[0][names[place]] for place in order),
        ranks,
        friedman(ranks),
        tuple(cliques(different_pairs(dice))),
    )
