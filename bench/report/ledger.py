"""The ledger: what was published, what was measured, and what may be said of the two.

A stand-in or another backbone reproduces nothing: there only the order of the lines is compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from bench.report.columns import MISSING
from bench.report.files import replace
from bench.spec import Cell, Record
from bench.stats import LEVEL, Interval, Sample, draw, interval, mean_of, overlap_of
from bench.suites import Line, Suite

_SCORES = {  # figure of a set to the score of its images or volumes that it is the mean of
    "dice_image_mean": "dice",
    "dice_volume_mean": "dice",
    "hd95_pooled_mm_volume_mean": "hd95_pooled_mm",
    "s_alpha": "s_alpha",
    "e_phi_mean": "e_phi_mean",
    "weighted_f": "weighted_f",
    "mae": "mae",
    "ber_image_mean": "ber",
    "pixel_accuracy": "pixel_accuracy",
    "pq_dataset": "pq",
}
_PLAIN = {"ber_image_mean", "hd95_pooled_mm_volume_mean"}  # shown as they are, not in per cent


@dataclass(frozen=True)
class Entry:
    """One line of a table, in one figure.

    Attributes:
        published: the figure; None where there is none.
        measured: mean over runs; None where nothing was measured.
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
            f"Order of the lines: of {pairs} pairs {self.same} stand as published "
            f"({self.same_surely} beyond chance), {self.reversed} the other way round "
            f"({self.reversed_surely} beyond chance)."
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
    samples = {line: _sample(ours, found) for line, found in records.items() if found}
    drawn = {line: draw([sample])[0] for line, sample in samples.items() if sample is not None}
    ran_on = sorted({one.cell.dataset_name for found in records.values() for one in found})
    entries = []
    for line, found in records.items():
        published = suite.published(line, dataset, metric)
        values = [value for one in found if (value := one.metrics.get(ours)) is not None]
        measured = sum(values) / len(values) if values else None
        bounds = interval(drawn[line]) if line in drawn else None
        status = _status(suite, dataset, line, found, published, bounds)
        entries.append(Entry(line.name, published, measured, bounds, len(found), status))
    order = _order(suite, dataset, metric, ours, samples)
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


def _sample(ours: str, records: Sequence[Record]) -> Sample | None:
    """What a figure of some seeds is made of; None where rows of single images do not tell."""
    by_seed: dict[int, list[Mapping[str, Any]]] = {}
    for one in records:  # the folds of a seed test every image once
        images = one.per_volume if ours.endswith("_volume_mean") else one.per_image
        by_seed.setdefault(one.cell.seed, []).extend(images)
    rows = list(by_seed.values())
    if not all(rows) or len({len(part) for part in rows}) > 1:
        return None  # a run is missing
    if ours in ("dice_dataset", "iou_dataset"):
        return overlap_of(rows, records[0].classes, iou=ours.startswith("iou"))
    return mean_of(rows, _SCORES[ours]) if ours in _SCORES else None


def _order(
    suite: Suite,
    dataset: str,
    metric: str,
    ours: str,
    samples: Mapping[Line, Sample | None],
) -> Order:
    counts = {"same": [0, 0], "reversed": [0, 0]}
    for one, other in combinations([line for line in samples if samples[line] is not None], 2):
        published = [suite.published(line, dataset, metric) for line in (one, other)]
        pair: list[Any] = [samples[one], samples[other]]
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
    if value is None:
        return MISSING
    return f"{value:.2f}" if ours in _PLAIN else f"{100 * value:.1f} %"


def _measured(ours: str, entry: Entry) -> str:
    if entry.measured is None:
        return MISSING
    text = _shown(ours, entry.measured)
    if entry.bounds is None:
        return text
    return f"{text} [{_shown(ours, entry.bounds.low)}, {_shown(ours, entry.bounds.high)}]"
