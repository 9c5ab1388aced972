"""Methods across datasets: average ranks, and which methods do not differ significantly.

The tests and their sources are in `bench.stats.ranks`.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.report.compare.comparison import Comparison
from bench.report.compare.grouping import slug_of, table_key, words_of
from bench.report.compare.ranking import Block
from bench.report.records.columns import DICE
from bench.report.records.rows import Row
from bench.stats.paired import SIGNIFICANCE, Floats, min_specimens
from bench.stats.ranks import cliques, different_pairs, friedman, rank_scores

FEWEST = 3  # smallest number of datasets and of methods for which ranks are computed

_Scores = Mapping[str, Row]  # of one dataset, by the name of the row


@dataclass(frozen=True, eq=False)
class Standing:
    """Ranks of methods that were all run on the same datasets, by one request and prompt origin.

    Attributes:
        title: the number of datasets, and those settings of all runs that are not the defaults.
        slug: the title as a file name.
        datasets: D names, sorted.
        methods: K rows of the first dataset, best average rank first.
        ranks: (D, K) by Dice, in the order of `datasets` and `methods`; 1 for the best; equal
            scores get the mean of their ranks.
        p_value: p-value of Friedman's test of the hypothesis that all methods are equally good.
        cliques: groups of neighbouring methods in which no two differ significantly, as the
            positions of the first and the last method, see `bench.stats.ranks.cliques`.
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
        """Two or more sentences that describe the ranks and what can be concluded from them."""
        count, methods = len(self.datasets), len(self.methods)
        pairs = methods * (methods - 1) // 2
        differ = "differ" if self.p_value <= SIGNIFICANCE else "do not differ"
        text = (
            f"Average ranks by Dice of {methods} methods over {count} datasets, each counted once: "
            f"{', '.join(self.datasets)}. Overall, the methods {differ} significantly (Friedman's "
            f"test, p = {self.p_value:.2g}). "
        )
        fewest = min_specimens(pairs)
        if count < fewest:
            return text + (
                f"No two methods differ significantly: with {pairs} pairs, this needs at least "
                f"{fewest} datasets, so the ranks say little about other datasets."
            )
        return text + (
            "In the plot, bars join methods of which no two differ significantly (Wilcoxon "
            f"signed-rank test over the datasets, Holm-corrected for {pairs} pairs, "
            f"{SIGNIFICANCE:.0%} level)."
        )


def find_standings(comparisons: Sequence[Comparison]) -> list[Standing]:
    """Return the ranks of methods over datasets, apart for each request and prompt origin.

    Datasets are added one by one, those with most methods first. Each may reduce the set of methods
    that all datasets have in common. Whenever the next dataset would reduce it, and after the last
    one, the datasets so far make one result. Only rows that are ranked in their table count. Rows
    with the same label, backbone and weights are one method.

    Args:
        comparisons: of a results folder. Those that test on another dataset are left out; of
            datasets with one name and different contents, only the one with most methods counts.

    Returns:
        The results, sorted by `slug`; each has at least `FEWEST` datasets and methods.
    """
    groups: dict[Any, list[tuple[Comparison, _Scores]]] = defaultdict(list)
    for comparison in comparisons:
        if comparison.rows[0].cells[0].test_dataset:
            continue  # several such tables may share their test images
        for block in comparison.blocks:
            groups[_common_request(comparison, block)].append((comparison, _scores(block)))
    standings = []
    for (*_, prompts), group in groups.items():
        standings += [_standing(parts, prompts) for parts in _common(group)]
    return sorted(standings, key=lambda standing: standing.slug)


def _common_request(comparison: Comparison, block: Block) -> tuple[Any, ...]:
    """Return the prompt origin and what comparisons have in common except the dataset."""
    cell = comparison.rows[0].cells[0]
    task = dataclasses.replace(cell.task, num_classes=0)
    cell = dataclasses.replace(cell, dataset="", dataset_sha="", task=task)
    return (*table_key(cell), block.prompts)


def _scores(block: Block) -> _Scores:
    return {row.name: row for row in block.measured(DICE)}


def _common(
    group: Sequence[tuple[Comparison, _Scores]],
) -> Iterator[list[tuple[Comparison, _Scores]]]:
    """Yield groups of datasets with the same methods.

    If datasets of the same name have different contents, the one with most methods is used.
    """
    ordered = sorted(group, key=lambda one: (-len(one[1]), one[0].slug))
    named = {comparison.dataset: (comparison, scores) for comparison, scores in reversed(ordered)}
    ordered = [one for one in ordered if one[0] is named[one[0].dataset][0]]
    names = [set.intersection(*(set(s) for _, s in ordered[: n + 1])) for n in range(len(ordered))]
    for count, common in enumerate(names, 1):
        whole = count == len(ordered) or names[count] != common
        if whole and count >= FEWEST and len(common) >= FEWEST:
            parts = sorted(ordered[:count], key=lambda part: part[0].dataset)
            yield [
                (comparison, {name: rows[name] for name in sorted(common)})
                for comparison, rows in parts
            ]


def _standing(parts: Sequence[tuple[Comparison, _Scores]], prompts: str) -> Standing:
    comparisons, scores = zip(*parts, strict=True)
    names = list(scores[0])
    figures = [[one[name].values[DICE.key].figure for name in names] for one in scores]
    dice = np.array(figures, dtype=np.float64)
    ranks = rank_scores(dice)
    order = np.lexsort((names, ranks.mean(0)))
    dice, ranks = dice[:, order], ranks[:, order]
    words = words_of(comparisons[0].rows[0].cells[0])[1:]
    origin = () if prompts == "none" else (f"{prompts} prompts",)
    words = (f"across {len(comparisons)} datasets", *words, *origin)
    return Standing(
        ", ".join(words),
        slug_of(words),
        tuple(one.dataset for one in comparisons),
        tuple(scores[0][names[place]] for place in order),
        ranks,
        friedman(ranks),
        tuple(cliques(different_pairs(dice))),
    )
