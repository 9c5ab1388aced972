"""The ledger: published values next to measured ones, with a verdict for each.

Results on a stand-in dataset or with another backbone are not reproductions. For them, only the
order of the lines is compared.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np

from bench.ask.suites import Suite, SuiteChoice, SuiteLine
from bench.report.published.differences import FEWEST, Order, PublishedDifference
from bench.report.published.score_sums import RUN_FIGURES, score_sums_of
from bench.spec import Cell, Record
from bench.stats.bootstrap import Interval, ScoreSums, percentile_interval, resample
from bench.stats.paired import (
    SIGNIFICANCE,
    Floats,
    direction,
    holm,
    min_specimens,
    signed_rank,
)
from bench.wording import counted


@dataclass(frozen=True)
class Entry:
    """One metric of one line of a published table.

    Attributes:
        line: name of the line, with a remark if prompts were made from the truth.
        published: the published value in the unit of records; None if there is none.
        measured: our mean over seeds, likewise; None if there is none (see `score_sums_of`), NaN if
            the score of a seed is not defined.
        bounds: 95 % interval of our mean; None with fewer than two specimens, for values of whole
            runs, or where the score of too many resamples is not defined.
        runs: number of successful runs.
        status: "reproduced", "contradicted", "not comparable: <reasons>", "not run: <reason>" for a
            method that we do not have, or "not run" without a record.
    """

    line: str
    published: float | None
    measured: float | None
    bounds: Interval | None
    runs: int
    status: str


@dataclass(frozen=True)
class Page:
    """One metric of a suite, for one published dataset.

    Attributes:
        dataset: name of the published dataset; "" for a suite without datasets.
        metric: name of the published metric.
        ours: name of the metric in records.
        ran_on: names of the datasets of our successful runs, separated by commas; "" if none.
        entries: one for each line.
        order: comparison of the order of the lines.
    """

    dataset: str
    metric: str
    ours: str
    ran_on: str
    entries: tuple[Entry, ...]
    order: Order

    @property
    def heading(self) -> str:
        """The published dataset, if the suite has several, and the metric."""
        return f"{self.dataset}, {self.metric}" if self.dataset else self.metric


def ledger(
    suite: Suite,
    request: SuiteChoice,
    cells: Mapping[SuiteLine, Sequence[Cell]],
    records: Mapping[str, Record],
) -> list[Page]:
    """Return a page for each metric and published dataset, or for each metric without datasets.

    Args:
        suite: the suite, of runs.
        request: the user's choice, from which the cells follow.
        cells: the cells of each line.
        records: the records by the id of their cell; those of other cells are not used.

    Returns:
        The pages, each with one entry for each line.

    Raises:
        UserError: as `score_sums_of`.
    """
    runs = {
        line: [records[cell.id] for cell in cells_of_line if cell.id in records]
        for line, cells_of_line in cells.items()
    }
    missing = {line: len(cells_of_line) - len(runs[line]) for line, cells_of_line in cells.items()}
    return [
        _page(suite, dataset, metric, ours, runs, partial(_reasons, suite, request, missing))
        for dataset in suite.originals or {"": ""}
        for metric, ours in suite.figures.items()
    ]


def _page(
    suite: Suite,
    dataset: str,
    metric: str,
    ours: str,
    runs: Mapping[SuiteLine, Sequence[Record]],
    reasons: Callable[[str, str, SuiteLine, Sequence[Record]], list[str]],
) -> Page:
    ok = {line: [one for one in records if one.status == "ok"] for line, records in runs.items()}
    samples = {
        line: sample
        for line, records in ok.items()
        if (sample := score_sums_of(ours, records, line.specimens))
    }
    ran_on = sorted({one.cell.dataset_name for records in ok.values() for one in records})
    entries = []
    for line, records in ok.items():
        published = suite.published(line, dataset, metric)
        sample = samples.get(line)
        specimens = 0 if sample is None else sample.sums.shape[1]
        bounds = None
        if sample is not None and specimens > 1:
            bounds = percentile_interval(resample([sample])[0])
        if not line.run:
            status = f"not run: {line.reason}"
        elif not runs[line]:
            status = "not run"
        elif published is None:
            status = "not comparable: no published figure"
        elif why := reasons(dataset, metric, line, runs[line]):
            status = f"not comparable: {', '.join(why)}"
        elif ours in RUN_FIGURES:
            status = "not comparable: one figure per run has no interval"
        elif bounds is None or specimens < FEWEST:
            tested = counted(specimens, "test specimen") if specimens else "no test specimens"
            status = f"not comparable: {tested}"
        else:
            status = "reproduced" if published in bounds else "contradicted"
        oracle = any(one.prompts == "oracle" for one in records)
        name = f"{line.name} (oracle prompts)" if oracle else line.name
        measured = None if sample is None else sample.value
        entries.append(Entry(name, published, measured, bounds, len(records), status))
    order = _order(suite, dataset, metric, samples, cost=ours in RUN_FIGURES)
    return Page(dataset, metric, ours, ", ".join(ran_on), tuple(entries), order)


def _reasons(
    suite: Suite,
    request: SuiteChoice,
    missing: Mapping[SuiteLine, int],
    dataset: str,
    metric: str,
    line: SuiteLine,
    runs: Sequence[Record],
) -> list[str]:
    """Reasons why the values of a line cannot be compared with the published ones."""
    cell = runs[0].cell
    named = ("", metric, metric.partition(" ")[0], line.method)
    reasons = [suite.apart[key] for key in dict.fromkeys(named) if key in suite.apart]
    if cell.dataset != suite.originals.get(dataset):
        reasons.append("stand-in for the images")
    if cell.task.backbone not in (suite.backbone, "none"):
        reasons.append(cell.task.backbone)
    elif cell.task.backbone != "none" and cell.task.weights != "pretrained":
        reasons.append("other weights")
    if cell.protocol != "published":
        reasons.append(f"{cell.protocol} protocol")
    for key in ("steps", "image_size", "loss", "precision"):
        if chosen := request.chosen(key):
            reasons.append(f"asked with --{key.replace('_', '-')} {chosen}")
    failed = sum(one.status != "ok" for one in runs)
    if failed or missing[line]:
        reasons.append(f"{failed + missing[line]} of {len(runs) + missing[line]} runs are missing")
    return reasons


def _order(
    suite: Suite,
    dataset: str,
    metric: str,
    samples: Mapping[SuiteLine, ScoreSums],
    *,
    cost: bool,
) -> Order:
    found: list[tuple[PublishedDifference, Floats]] = []
    specimens = min((sample.sums.shape[1] for sample in samples.values()), default=0)
    for one, other in combinations(samples, 2):
        published = [suite.published(line, dataset, metric) for line in (one, other)]
        pair = [samples[one], samples[other]]
        if None in published or published[0] == published[1]:
            continue
        if pair[0].sums.shape[:2] != pair[1].sums.shape[:2]:
            continue  # runs are missing on one side
        measured = pair[0].value - pair[1].value
        if not measured or np.isnan(measured):
            continue
        first_is_higher = published[0] > published[1]  # type: ignore[operator]
        higher, lower = (one, other) if first_is_higher else (other, one)
        agrees = (measured > 0) == first_is_higher
        apart = np.sign(measured) * (pair[0].by_specimen - pair[1].by_specimen)
        difference = PublishedDifference(higher.name, lower.name, agrees, None)
        found.append((difference, apart[~np.isnan(apart)]))
    if cost:
        return Order(None, tuple(difference for difference, _ in found))
    return Order(specimens, tuple(_tested(found)))


def _tested(
    differences: Sequence[tuple[PublishedDifference, Floats]],
) -> Iterator[PublishedDifference]:
    """Test differences together, each with the values (specimens,) in the measured direction."""
    values = [apart for _, apart in differences]
    fewest = min_specimens(len(differences)) if differences else 0
    for (difference, apart), p in zip(differences, holm(signed_rank(values)), strict=True):
        significant = p <= SIGNIFICANCE and direction(apart) > 0
        yield replace(difference, significant=significant if apart.size >= fewest else None)
