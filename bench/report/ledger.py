"""The ledger: what was published, what was measured, and what may be said of the two.

A stand-in or another backbone reproduces nothing: there only the order of the lines is compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from bench.report.columns import MISSING, get_column
from bench.report.files import replace
from bench.spec import Cell, Record
from bench.stats import (
    LEVEL,
    Interval,
    Sample,
    accuracy_of,
    draw,
    interval,
    mean_of,
    overlap_of,
    quality_of,
)
from bench.suites import Line, Suite


@dataclass(frozen=True)
class Entry:
    """One line of a table, in one figure.

    Attributes:
        published: the figure; None where there is none.
        measured: mean over seeds; None where nothing was measured.
        bounds: the interval of what was measured.
        runs: that ended well.
        status: reproduced, contradicted, not comparable, or not run, with the reason.
    """

    line: str
    published: float | None
    measured: float | None
    bounds: Interval | None
    runs: int
    status: str


@dataclass(frozen=True)
class Order:
    """How pairs of lines stand: as published, or the other way round.

    Attributes:
        same: pairs in the published order.
        same_surely: of these, pairs whose difference has an interval without 0.
        reversed: pairs the other way round.
        reversed_surely: likewise.
    """

    same: int
    same_surely: int
    reversed: int
    reversed_surely: int

    def __str__(self) -> str:
        pairs = self.same + self.reversed
        if not pairs:
            return "No two lines can be compared."
        return (
            f"Order of the lines: {self.same} of {pairs} pairs as published ({self.same_surely} "
            f"beyond chance), {self.reversed} the other way round ({self.reversed_surely} beyond "
            "chance)."
        )


@dataclass(frozen=True)
class Page:
    """One figure of a suite, beside one published dataset.

    Attributes:
        dataset: published; ours stands in `ran_on`.
        metric: published.
        ours: name of the figure in records.
    """

    dataset: str
    metric: str
    ours: str
    ran_on: str
    entries: tuple[Entry, ...]
    order: Order


def write_ledger(
    suite: Suite, cells: Mapping[Line, Sequence[Cell]], records: Mapping[str, Record], folder: Path
) -> Path:
    """Write `ledger/<suite>.md`.

    Args:
        suite: to write.
        cells: of every line.
        records: by the id of the cell.
        folder: results folder.
    """
    pages = ledger(suite, cells, records)
    return replace(folder / "ledger" / f"{suite.name}.md", ledger_markdown(suite, pages))


def ledger(
    suite: Suite, cells: Mapping[Line, Sequence[Cell]], records: Mapping[str, Record]
) -> list[Page]:
    """Every figure beside every published dataset; without such, what was measured alone."""
    pages = []
    for dataset in suite.originals or {"": ""}:
        for metric, ours in suite.figures.items():
            ok = {
                line: [
                    records[cell.id]
                    for cell in found
                    if cell.id in records and records[cell.id].status == "ok"
                ]
                for line, found in cells.items()
            }
            pages.append(_page(suite, dataset, metric, ours, ok))
    return pages


def ledger_markdown(suite: Suite, pages: Sequence[Page]) -> str:
    """The pages as tables, with what differs from the publication."""
    parts = [f"# {suite.title}"]
    if suite.source:
        parts.append(f"Published: {suite.source}, table {suite.table}.")
    if suite.differences:
        parts.append(f"What differs: {suite.differences}.")
    for page in pages:
        where = f"on {page.ran_on}" if page.ran_on else "not run"
        beside = f"{page.dataset}, {page.metric}" if page.dataset else page.metric
        parts.append(f"## {beside} ({page.ours}, {where})")
        head = f"| line | published | measured, {LEVEL:.0%} interval | runs | status |"
        lines = [head, "|---|--:|--:|--:|---|"]
        for entry in page.entries:
            cells = (
                entry.line,
                _shown(page.ours, entry.published),
                _measured(page.ours, entry),
                str(entry.runs or MISSING),
                entry.status,
            )
            lines.append(f"| {' | '.join(cells)} |")
        parts += ["\n".join(lines), str(page.order)]
    parts.append(
        "Intervals: specimens and seeds drawn with replacement (docs/protocol.md, Ledger); with "
        "few specimens they are too narrow. A stand-in or another backbone reproduces nothing: "
        "there only the order of the lines can be compared."
    )
    return "\n\n".join(parts) + "\n"


def _page(
    suite: Suite,
    dataset: str,
    metric: str,
    ours: str,
    records: Mapping[Line, Sequence[Record]],
) -> Page:
    samples = {
        line: sample for line, found in records.items() if (sample := sample_of(ours, found))
    }
    drawn = {line: draw([sample])[0] for line, sample in samples.items()}
    ran_on = sorted({one.cell.dataset_name for found in records.values() for one in found})
    entries = []
    for line, found in records.items():
        published = suite.published(line, dataset, metric)
        measured = samples[line].value if line in samples else None
        bounds = interval(drawn[line]) if line in drawn else None
        status = _status(suite, dataset, line, found, published, bounds)
        entries.append(Entry(line.name, published, measured, bounds, len(found), status))
    order = _order(suite, dataset, metric, samples)
    return Page(dataset, metric, ours, ", ".join(ran_on), tuple(entries), order)


def _status(
    suite: Suite,
    dataset: str,
    line: Line,
    found: Sequence[Record],
    published: float | None,
    bounds: Interval | None,
) -> str:
    if not line.run:
        return "not run: no such method here"
    if not found:
        return "not run"
    if published is None:
        return "not comparable: nothing published"
    cell = found[0].cell
    reasons = []
    if cell.dataset_name != suite.originals.get(dataset):
        reasons.append("stand-in for the images")
    if cell.task.backbone not in (suite.backbone, "none"):
        reasons.append(cell.task.backbone)
    if cell.protocol != "published":
        reasons.append(f"{cell.protocol} protocol")
    if reasons:
        return f"not comparable: {', '.join(reasons)}"
    if bounds is None:
        return "not comparable: no interval"
    return "reproduced" if published in bounds else "contradicted"


def sample_of(ours: str, records: Sequence[Record]) -> Sample | None:
    """What a figure of some runs is made of; None where it cannot be told.

    So it is without runs, if one of a seed's is missing, or if the version that wrote a record did
    not know the figure yet.

    Args:
        ours: name of the figure in records.
        records: of the seeds, and folds, of one line; all ended well.
    """
    by_seed: dict[int, list[Record]] = {}
    for one in records:
        by_seed.setdefault(one.cell.seed, []).append(one)
    volumes = ours.endswith("_volume_mean")
    runs = [  # the folds of a seed test every image once
        [row for one in found for row in (one.per_volume if volumes else one.per_image)]
        for found in by_seed.values()
    ]
    if not runs or not all(runs) or len({len(rows) for rows in runs}) > 1:
        return None
    if any(ours not in one.metrics for one in records):
        return None
    classes = records[0].classes
    match ours:
        case "dice_dataset" | "iou_dataset":
            return overlap_of(runs, classes, iou=ours == "iou_dataset")
        case "pixel_accuracy":
            return accuracy_of(runs, classes)
        case "pq_dataset":
            return quality_of(runs, classes)
    if volumes:
        measure = ours.removesuffix("_volume_mean")
        return mean_of(runs, *(f"{measure}/{organ}" for organ in classes[1:]))
    return mean_of(runs, get_column(ours).image_score or ours)


def _order(
    suite: Suite,
    dataset: str,
    metric: str,
    samples: Mapping[Line, Sample],
) -> Order:
    counts = {"same": [0, 0], "reversed": [0, 0]}
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
        drawn = draw(pair)
        bounds = interval(drawn[0] - drawn[1])
        agrees = (measured > 0) == (published[0] > published[1])  # type: ignore[operator]
        found = counts["same" if agrees else "reversed"]
        found[0] += 1
        found[1] += bounds is not None and 0 not in bounds
    return Order(*counts["same"], *counts["reversed"])


def _shown(ours: str, value: float | None) -> str:
    column = get_column(ours)
    percent = " %" if column.unit == "%" and value is not None else ""
    return f"{column.format(value)}{percent}"


def _measured(ours: str, entry: Entry) -> str:
    text = _shown(ours, entry.measured)
    if entry.bounds is None:
        return text
    return f"{text} [{_shown(ours, entry.bounds.low)}, {_shown(ours, entry.bounds.high)}]"
