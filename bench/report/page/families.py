"""The methods of a report by family: on how many datasets, with which ranks and needs."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report.compare.across_datasets import Standing
from bench.report.page.choices import FAMILIES, LIMITS
from bench.report.records.columns import MISSING

SHOWN_RANKS = 3  # standings with a column of their own, those of most methods first

Choices = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Number:
    """One number of the table.

    Attributes:
        text: as it is shown.
        value: the number, by which the page sorts; None if there is none.
    """

    text: str
    value: float | None


@dataclass(frozen=True)
class Member:
    """One method of a family.

    Attributes:
        label: the method with its options.
        model: backbone and weights.
        places: where its values come from: section and row, such as "comparison-steel 3".
        numbers: the number of comparisons, the average rank of each standing, and the median of
            each need.
    """

    label: str
    model: str
    places: Sequence[str]
    numbers: Sequence[Number]


@dataclass(frozen=True)
class Family:
    """The methods of one family with one origin of prompts, best rank first.

    Attributes:
        title: in words.
        prompts: the origin of prompts.
        members: its methods.
    """

    title: str
    prompts: str
    members: Sequence[Member]


def shown_standings(standings: Iterable[Standing]) -> list[Standing]:
    """The standings with a column in the table: those with most methods."""
    ordered = sorted(standings, key=lambda one: (-len(one.methods), -len(one.datasets), one.slug))
    return ordered[:SHOWN_RANKS]


def rank_order(standings: Sequence[Standing], names: Mapping[Any, str]) -> dict[str, list[float]]:
    """Average rank of each method in each standing, by name; infinite in those without it.

    Args:
        standings: of `shown_standings`.
        names: row of a standing to the name of its method.
    """
    ranks: dict[str, list[float]] = {}
    for place, standing in enumerate(standings):
        for row, average in zip(standing.methods, standing.ranks.mean(0).tolist(), strict=True):
            ranks.setdefault(names[row], [math.inf] * len(standings))[place] = average
    return ranks


def families_of(
    choices: Choices, models: Mapping[str, str], ranks: Mapping[str, Sequence[float]], width: int
) -> list[Family]:
    """Return the families of the rows, those with the best rank of a member first.

    Args:
        choices: of the comparisons that count, as of `choices_of`.
        models: name of a row to its backbone and weights.
        ranks: of `rank_order`.
        width: number of standings.

    Returns:
        Families without prompts come first, then those with automatic and those with oracle
        prompts. Methods without a rank come last, those in most comparisons first.
    """
    rows: dict[tuple[str, str], dict[str, list[tuple[str, Any]]]] = {}
    for one in choices:
        for place, row in enumerate(one["rows"]):
            members = rows.setdefault((row["prompts"], row["family"]), {})
            members.setdefault(row["name"], []).append((f"{one['id']} {place}", row))
    unranked = [math.inf] * width
    origins = ("none", "automatic", "oracle")

    def order(name: str, known: Mapping[str, Any]) -> tuple[Any, ...]:
        return (*ranks.get(name, unranked), -len(known[name]), name)

    families = []
    for (prompts, family), members in rows.items():
        names = sorted(members, key=lambda name: order(name, members))
        best = (origins.index(prompts), order(names[0], members))
        lines = [_member(members[name], models[name], ranks.get(name, unranked)) for name in names]
        families.append((best, Family(FAMILIES[family], prompts, lines)))
    return [family for _, family in sorted(families, key=lambda pair: pair[0])]


def _member(rows: Sequence[tuple[str, Any]], model: str, ranks: Sequence[float]) -> Member:
    count = Number(str(len(rows)), len(rows))
    averages = [
        Number(MISSING, None) if math.isinf(rank) else Number(f"{rank:.1f}", rank) for rank in ranks
    ]
    needs = []
    for limit in LIMITS:
        known = [need for _, row in rows if (need := row["needs"][limit.name]) is not None]
        middle = statistics.median(known) if known else None
        text = MISSING if middle is None else limit.text(float(f"{middle:.3g}"))
        needs.append(Number(text, middle))
    places = [place for place, _ in rows]
    return Member(rows[0][1]["label"], model, places, [count, *averages, *needs])
