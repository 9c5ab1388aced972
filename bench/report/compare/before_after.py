"""Compare the scores of two results folders: paired differences with intervals, row by row."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, get_args

from bench.errors import UserError
from bench.report.compare.run_pairs import (
    RunPair,
    ScoredRun,
    changed_facts,
    facts_of,
    pair_runs,
    read_runs,
    settings_of,
)
from bench.report.records.columns import COLUMNS, COSTS, DICE, Column
from bench.report.records.image_scores import ImageScores
from bench.spec import Cell, Recipe, Record
from bench.stats.paired import (
    SIGNIFICANCE,
    Floats,
    direction,
    holm,
    min_specimens,
    signed_rank,
    typical_difference,
)

Outcome = Literal[
    "worse", "better", "not distinguishable", "equal", "not testable", "not comparable", "no scores"
]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
METRICS = {str(column.image_score): column for column in COLUMNS if column.image_score}


@dataclass(frozen=True)
class RowChange:
    """Pairs of runs that differ in seed and fold only.

    Attributes:
        label: the method with its options.
        dataset: name of the dataset, and of the one that was tested on if it is another.
        settings: other settings, where rows of this label and dataset differ in them; or "".
        runs: pairs whose runs are both successful and have the metric.
        before: mean of the metric over these runs; None without any.
        after: likewise.
        difference: typical difference of the image scores of a specimen, after minus before, see
            `bench.stats.paired.typical_difference`; None if the row is not comparable.
        interval: its lower and upper end; None with too few specimens.
        p_value: of the signed-rank test, corrected for all tested rows; None if not tested.
        specimens: number of specimens that have a score on both sides.
        needed: number of specimens without which no difference could be significant.
        outcome: "worse" or "better" if the difference is significant at 5 %; "equal" if no score
            of an image changed; "not comparable" if images or prompts differ.
        changes: settings that differ between before and after, each as a phrase.
        statuses: changed statuses, as "ok → oom", to the number of pairs.
        costs: key of `COSTS` to the means before and after.
    """

    label: str
    dataset: str
    settings: str
    runs: int
    before: float | None
    after: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    specimens: int
    needed: int
    outcome: Outcome
    changes: tuple[str, ...]
    statuses: Mapping[str, int]
    costs: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class BeforeAfter:
    """Two results folders compared.

    Attributes:
        column: the metric.
        rows: first those that are better or worse, then in the order of `OUTCOMES`; of each kind
            the largest differences first.
        pairs: number of pairs of runs.
        only_before: cells without a partner.
        only_after: likewise.
        notes: sentences on differences of code and machine.
    """

    column: Column
    rows: tuple[RowChange, ...]
    pairs: int
    only_before: tuple[Cell, ...]
    only_after: tuple[Cell, ...]
    notes: tuple[str, ...]

    @property
    def counts(self) -> dict[Outcome, int]:
        """The number of rows of each outcome that occurs, in the order of `OUTCOMES`."""
        counts = Counter(row.outcome for row in self.rows)
        return {outcome: counts[outcome] for outcome in OUTCOMES if counts[outcome]}

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain containers that JSON can hold."""
        rows = [
            {
                **vars(row),
                "statuses": dict(row.statuses),
                "costs": {
                    key: {"before": one, "after": other} for key, (one, other) in row.costs.items()
                },
            }
            for row in self.rows
        ]
        return {
            "metric": self.column.key,
            "better": self.column.better,
            "pairs": self.pairs,
            "rows": rows,
            "only_before": [cell.id for cell in self.only_before],
            "only_after": [cell.id for cell in self.only_after],
            "notes": list(self.notes),
        }


def get_metric(name: str) -> Column:
    """The column of a metric that images have scores of.

    Raises:
        UserError: there is no such metric; the message lists all.
    """
    if name not in METRICS:
        raise UserError(f"--metric cannot be '{name}': give one of {', '.join(METRICS)}")
    return METRICS[name]


def compare_records(
    before: Iterable[Record], after: Iterable[Record], column: Column = DICE
) -> BeforeAfter:
    """Pair the runs of two results folders and test the differences of every row.

    Args:
        before: records, each id once; they are read one by one.
        after: likewise.
        column: of `METRICS`.
    """
    earlier, later = read_runs(before, column), read_runs(after, column)
    pairs, only_before, only_after = pair_runs(earlier, later)
    groups: dict[tuple[Any, ...], list[RunPair]] = defaultdict(list)
    for pair in pairs:
        cell = pair.before.cell
        groups[(*settings_of(cell), cell.recipe, pair.after.cell.recipe)].append(pair)
    parts = list(groups.values())
    names = _settings([part[0].before.cell for part in parts])
    scored = [[pair for pair in part if _has_scores(pair)] for part in parts]
    differences = [_differences(part, column) for part in scored]
    tests = _test(differences)
    rows = [
        _row(*values, column)
        for values in zip(parts, scored, names, differences, tests, strict=True)
    ]
    rows.sort(key=_order)
    left, new = (tuple(run.cell for run in runs) for runs in (only_before, only_after))
    return BeforeAfter(column, tuple(rows), len(pairs), left, new, tuple(changed_facts(pairs)))


def _order(row: RowChange) -> tuple[int, float]:
    changed = row.outcome in ("worse", "better")
    return 0 if changed else OUTCOMES.index(row.outcome), -abs(row.difference or 0.0)


def _has_scores(pair: RunPair) -> bool:
    runs: tuple[ScoredRun, ...] = (pair.before, pair.after)
    return all(run.status == "ok" and run.figure is not None for run in runs)


def _differences(pairs: Sequence[RunPair], column: Column) -> Floats | None:
    """After minus before, one value for each specimen; None if a pair is not comparable."""
    if not pairs or not all(pair.comparable for pair in pairs):
        return None
    images = [
        [_images(run) for run in runs]
        for runs in ([pair.after for pair in pairs], [pair.before for pair in pairs])
    ]
    return ImageScores(images).differences(0, [1], "score")[0]


def _images(run: ScoredRun) -> list[dict[str, Any]]:
    scores = zip(run.images, run.scores.tolist(), strict=True)
    return [{"group": group, "name": name, "score": score} for (group, name), score in scores]


@dataclass(frozen=True)
class _Test:
    """The p-value of a row, corrected; None if it has none. `needed` as in `RowChange`."""

    p_value: float | None
    needed: int


def _test(differences: Sequence[Floats | None]) -> list[_Test]:
    """Test all rows that have enough specimens for a single test, with Holm's correction."""
    fewest = min_specimens(1)
    places = [
        place
        for place, values in enumerate(differences)
        if values is not None and values.size >= fewest and values.any()
    ]
    needed = min_specimens(max(1, len(places)))
    tested = [values for place in places if (values := differences[place]) is not None]
    p_values = dict(zip(places, holm(signed_rank(tested)) if tested else [], strict=True))
    return [_Test(p_values.get(place), needed) for place in range(len(differences))]


def _row(
    pairs: Sequence[RunPair],
    scored: Sequence[RunPair],
    settings: str,
    differences: Floats | None,
    test: _Test,
    column: Column,
) -> RowChange:
    cell = pairs[0].before.cell
    estimate = interval = None
    if differences is not None and differences.size > 0:
        estimate, interval = typical_difference(differences)
    statuses = Counter(
        f"{pair.before.status} → {pair.after.status}"
        for pair in pairs
        if pair.before.status != pair.after.status
    )
    return RowChange(
        cell.label,
        cell.images_label,
        settings,
        len(scored),
        _mean(pair.before for pair in scored),
        _mean(pair.after for pair in scored),
        estimate,
        interval,
        test.p_value,
        0 if differences is None else differences.size,
        test.needed,
        _outcome(scored, differences, test, column),
        tuple(dict.fromkeys(change for pair in pairs for change in pair.changes)),
        statuses,
        _costs(scored),
    )


def _mean(runs: Iterable[ScoredRun]) -> float | None:
    figures = [run.figure for run in runs if run.figure is not None]
    return fmean(figures) if figures else None


def _outcome(
    scored: Sequence[RunPair], differences: Floats | None, test: _Test, column: Column
) -> Outcome:
    if not scored:
        return "no scores"
    if differences is None:
        return "not comparable"
    if differences.size and not differences.any():
        return "equal"
    if test.p_value is not None and test.p_value <= SIGNIFICANCE:
        higher = direction(differences) > 0
        return "better" if higher == (column.better == "higher") else "worse"
    return "not testable" if differences.size < test.needed else "not distinguishable"


def _costs(pairs: Sequence[RunPair]) -> dict[str, tuple[float, float]]:
    """Means before and after of the costs that every run has."""
    costs = {}
    for column in COSTS:
        before = [pair.before.costs.get(column.key) for pair in pairs]
        after = [pair.after.costs.get(column.key) for pair in pairs]
        known = [value for value in (*before, *after) if value is not None]
        if known and len(known) == 2 * len(pairs):
            costs[column.key] = fmean(known[: len(pairs)]), fmean(known[len(pairs) :])
    return costs


def _settings(cells: Sequence[Cell]) -> list[str]:
    """For each row, the settings in which rows with its method and dataset differ."""
    facts = [{**facts_of(cell), **_recipe(cell.recipe)} for cell in cells]
    alike: dict[tuple[Any, Any], list[dict[str, Any]]] = defaultdict(list)
    for row in facts:
        alike[row["method"], row["dataset"]].append(row)
    varying = {
        key: [name for name in rows[0] if len({row[name] for row in rows}) > 1]
        for key, rows in alike.items()
    }
    return [
        ", ".join(f"{name} {row[name]}" for name in varying[row["method"], row["dataset"]])
        for row in facts
    ]


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return {name.replace("_", " "): value for name, value in vars(recipe).items()}
