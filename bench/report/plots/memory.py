"""The peak of the training memory of each row, divided into its parts."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.report.compare.comparison import Comparison
from bench.report.plots.rows import MOST_ROWS, name_rows, rest_note
from bench.report.plots.sheet import REPORT, Sheet
from bench.report.plots.style import Series, legend_below
from bench.report.records.columns import MISSING
from bench.report.records.rows import Row

# Part of the peak, its title, and a colour that no method has.
_PARTS = (
    ("weights_bytes", "weights", "#4D4D4D"),
    ("gradients_bytes", "gradients", "#8073AC"),
    ("optimizer_bytes", "optimizer state", "#B2ABD2"),
    ("activations_bytes", "activations", "#D9D9D9"),
)
_WIDE = 9.0  # in a report, in inches


def draw_memory(
    comparison: Comparison, looks: Mapping[Row, Series], sheet: Sheet = REPORT
) -> Figure | None:
    """Draw the peak training memory of each row in MiB, divided into its parts, smallest on top.

    Each part is the mean over the runs. Rows without a measurement are at the bottom, with their
    status or "not measured". Only the first `MOST_ROWS` of the table are shown.

    Args:
        comparison: of one table.
        looks: name of each row.
        sheet: size of the figure.

    Returns:
        The figure; None if none of these rows has a measurement.
    """
    keys = [key for key, _, _ in _PARTS]
    shown = comparison.rows[:MOST_ROWS]
    rows = [row for row in shown if not row.select(*keys).dropna().empty]
    if not rows:
        return None
    means = {row: row.select(*keys).astype(float).mean() / 2**20 for row in rows}
    rows.sort(key=lambda row: float(means[row].sum()))
    absent = [row for row in shown if row not in rows]
    count = len(shown)
    figure = sheet.figure(_WIDE, 1.6 + 0.38 * count)
    sheet.title(figure, comparison.title)
    axes = figure.subplots()
    parts = pd.DataFrame(
        [(place, key, means[row][key]) for place, row in enumerate(rows) for key in keys],
        columns=["row", "part", "mib"],
    )
    seaborn.histplot(
        parts,
        y="row",
        weights="mib",
        hue="part",
        hue_order=keys[::-1],  # the first part begins at 0
        palette={key: colour for key, _, colour in _PARTS},
        multiple="stack",
        discrete=True,
        shrink=0.7,
        alpha=1,
        edgecolor="white",
        legend=False,
        ax=axes,
    )
    for place, row in enumerate(rows):
        total = float(means[row].sum())
        _note(figure, place, total, f"{total:,.0f}", sheet)
    for place, row in enumerate(absent, len(rows)):
        _note(figure, place, 0, f"{MISSING} not measured" if row.complete else row.status, sheet)
    name_rows(axes, [looks[row].name for row in (*rows, *absent)], sheet, _WIDE)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xlim(0, max(float(means[row].sum()) for row in rows) * (1 + 1.1 / sheet.room(_WIDE)))
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="peak training memory (MiB)", ylabel="")
    handles: list[Patch | Line2D] = [Patch(color=colour, label=text) for _, text, colour in _PARTS]
    if (note := rest_note(len(comparison.rows) - count)) is not None:
        handles.append(Line2D([], [], ls="", label=note))
    legend_below(figure, handles)
    return figure


def _note(figure: Figure, place: int, length: float, text: str, sheet: Sheet) -> None:
    """Write a text to the right of a bar."""
    offset = sheet.pt(4), 0
    where: dict[str, Any] = {"textcoords": "offset points", "va": "center"}
    figure.axes[0].annotate(text, (length, place), offset, **where)
