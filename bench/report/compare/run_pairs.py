"""Pair the runs of two results folders by what was requested, before and after a change."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.report.records.columns import COSTS, Column
from bench.report.records.weights import BUILT_IN
from bench.spec import Cell, Record

ImageNames = tuple[tuple[str, str], ...]
# Facts of the environment that may change scores.
FACTS = ("commit", "device", "cpu", "instructions", "gpu", "threads", "torch")


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """What a record says about one metric; the rest of the record is not kept in memory.

    Attributes:
        cell: the cell.
        status: of the run.
        prompts: the prompt origin.
        figure: the metric over the test set, in the unit of records; None if it is not defined.
        costs: key of `COSTS` to its value; empty if nothing was measured.
        images: specimen and name of each test image.
        scores: (images,), NaN where the metric is not defined.
        facts: `FACTS` of the environment, as text; "" where one is not recorded.
    """

    cell: Cell
    status: str
    prompts: str
    figure: float | None
    costs: dict[str, float]
    images: ImageNames
    scores: npt.NDArray[np.float64]
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunPair:
    """Two runs of the same request.

    Attributes:
        before: of the first folder.
        after: of the second folder.
        changes: settings that differ although the request is the same, each as a phrase.
        comparable: whether images and prompt origin are the same.
    """

    before: ScoredRun
    after: ScoredRun
    changes: tuple[str, ...]
    comparable: bool


def read_runs(records: Iterable[Record], column: Column) -> list[ScoredRun]:
    """Keep of each record what a comparison of one metric needs.

    Args:
        records: of a results folder; they are read one by one.
        column: the metric; it has an `image_score`.
    """
    names: dict[ImageNames, ImageNames] = {}
    cells: dict[Any, Any] = {}  # tasks and recipes that are equal become one
    facts: dict[tuple[str, ...], tuple[str, ...]] = {}
    runs = []
    key = column.image_score
    assert key is not None, "a metric of `METRICS`"
    for record in records:
        images = tuple((str(row["group"]), str(row["name"])) for row in record.per_image)
        scores = [row.get(key) for row in record.per_image]
        task, recipe = (cells.setdefault(p, p) for p in (record.cell.task, record.cell.recipe))
        cost = {} if record.cost is None else vars(record.cost)
        words = _facts(record)
        runs.append(
            ScoredRun(
                replace(record.cell, task=task, recipe=recipe, leaks=()),
                record.status,
                record.prompts,
                record.metrics.get(column.key),
                {c.key: cost[c.key] for c in COSTS if cost.get(c.key) is not None},
                names.setdefault(images, images),
                np.array(scores, dtype=np.float64),
                facts.setdefault(words, words),
            )
        )
    return runs


def pair_runs(
    before: Sequence[ScoredRun], after: Sequence[ScoredRun]
) -> tuple[list[RunPair], list[ScoredRun], list[ScoredRun]]:
    """Pair runs, first those of equal ids, then by the request.

    Ids also depend on the contents of images and weights, and on defaults that a version of the
    code may change. So the rest is paired by the request with the recipe, and then without it, each
    time only where one run on each side has it.

    Args:
        before: of one folder, each id once.
        after: likewise.

    Returns:
        The pairs, and the runs that are only before and only after, all in the given order.
    """
    partners: dict[int, ScoredRun] = {}
    rest_before, rest_after = list(before), list(after)
    keys: tuple[Callable[[Cell], Hashable], ...] = (
        lambda cell: cell.id,
        lambda cell: (request_of(cell), cell.recipe),
        request_of,
    )
    for key in keys:
        places_before, places_after = _by_key(rest_before, key), _by_key(rest_after, key)
        for value, runs in places_before.items():
            others = places_after.get(value, [])
            if len(runs) == len(others) == 1:
                partners[id(runs[0])] = others[0]
        rest_before = [run for run in rest_before if id(run) not in partners]
        taken = {id(run) for run in partners.values()}
        rest_after = [run for run in rest_after if id(run) not in taken]
    pairs = [_pair(run, partners[id(run)]) for run in before if id(run) in partners]
    return pairs, rest_before, rest_after


def request_of(cell: Cell) -> tuple[Any, ...]:
    """What was requested of a cell, without its recipe and without fingerprints."""
    return (*settings_of(cell), cell.seed, cell.fold)


def settings_of(cell: Cell) -> tuple[Any, ...]:
    """As `request_of`, without seed and fold."""
    return tuple(facts_of(cell).values())


def facts_of(cell: Cell) -> dict[str, Any]:
    """The settings of `settings_of` by their names; all but those of the recipe."""
    task, weights = cell.task, cell.task.weights
    return {
        "method": cell.label,
        "dataset": cell.images_label,
        "backbone": task.backbone,
        "weights": weights if weights in BUILT_IN else PurePath(weights).name,
        "image size": task.image_size,
        "protocol": cell.protocol,
        "labels": "all" if cell.labels is None else cell.labels,
        "folds": cell.folds,
        "split": cell.split,
        "depth": task.depth,
        "channels": task.channels,
        "crop": task.crop,
        "fit": task.fit,
        "mask grid": task.mask_grid,
    }


def changed_facts(pairs: Sequence[RunPair]) -> list[str]:
    """Sentences on facts of the environment that differ within pairs, with the number of pairs."""
    counts = Counter(
        (name, one, other)
        for pair in pairs
        for name, one, other in zip(FACTS, pair.before.facts, pair.after.facts, strict=True)
        if one != other
    )
    return [
        f"{name} {one or 'not recorded'} → {other or 'not recorded'} in {count} of {len(pairs)}"
        " pairs"
        for (name, one, other), count in counts.most_common()
    ]


def _by_key(
    runs: Iterable[ScoredRun], key: Callable[[Cell], Hashable]
) -> dict[Hashable, list[ScoredRun]]:
    groups: dict[Hashable, list[ScoredRun]] = defaultdict(list)
    for run in runs:
        groups[key(run.cell)].append(run)
    return groups


def _pair(before: ScoredRun, after: ScoredRun) -> RunPair:
    one, other = before.cell, after.cell
    changes = [
        f"{field.name} {getattr(one.recipe, field.name)} → {getattr(other.recipe, field.name)}"
        for field in dataclasses.fields(one.recipe)
        if getattr(one.recipe, field.name) != getattr(other.recipe, field.name)
    ]
    if one.weights_sha != other.weights_sha:
        changes.append("other weights")
    if one.joined != other.joined:
        changes.append("other joined groups")
    reasons = []
    if (one.dataset_sha, one.test_sha) != (other.dataset_sha, other.test_sha):
        reasons.append("other images")
    if before.status == after.status == "ok" and before.prompts != after.prompts:
        reasons.append(f"prompts {before.prompts} → {after.prompts}")
    return RunPair(before, after, (*changes, *reasons), not reasons)


def _facts(record: Record) -> tuple[str, ...]:
    env = {**record.env, "torch": record.env.get("packages", {}).get("torch")}
    return tuple("" if env.get(name) is None else str(env[name]) for name in FACTS)
