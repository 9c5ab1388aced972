"""The choice on a page: choose.md, choose.html and the figure of accuracy against costs."""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.choice.arms import Evidence
from bench.choice.choose import Choice
from bench.choice.race import mean_selection
from bench.choice.words import Paragraph
from bench.files import write_atomic
from bench.record_values import Cost
from bench.report.plots.labels import label_points
from bench.report.plots.pareto import pareto_front
from bench.report.plots.style import FAINT, INK, save, settle, style
from bench.report.records.columns import COSTS, Column
from bench.wording import code_block

WIDE = 3  # panels in a row
_FILL, _MARK = "#44AA99", "#CC6677"  # of the set, and of the recommendation

_HEAD = (
    '<meta charset="utf-8"><title>Choice of a method</title><style>'
    ":root{color-scheme:light dark}"
    "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "img{max-width:100%;background:#fff}"
    "pre{background:#8882;padding:1em;white-space:pre-wrap;overflow-wrap:anywhere}</style>"
)


def write_choice(choice: Choice) -> list[Path]:
    """Write the figure (if there is a score), choose.md and choose.html; returns the files.

    They are in the results folder, next to the folder of records that they link to.

    Raises:
        UserError: a file cannot be written.
    """
    parts = choice.paragraphs()
    with style():
        figure = draw_choice(choice)
        files = save(figure, choice.out / "choose_pareto") if figure is not None else []
    shown = figure is not None
    files.append(write_atomic(choice.out / "choose.md", to_markdown(parts, figure=shown)))
    files.append(write_atomic(choice.out / "choose.html", to_html(parts, figure=shown)))
    return files


def to_markdown(parts: Sequence[Paragraph], *, figure: bool) -> str:
    """The page in Markdown; `figure` says whether the figure is shown after the verdict."""
    blocks = ["# Choice of a method"]
    for number, part in enumerate(parts):
        blocks.append(f"## {part.title}")
        if part.commands:
            blocks.append(code_block("\n".join(part.lines)))
        else:
            lines = [f"- {line}{_links(ids)}" for line, ids in part.sourced]
            blocks.append("\n".join(lines))
        if number == 0 and figure:
            blocks.append("![Accuracy against costs](choose_pareto.svg)")
    return "\n\n".join(blocks) + "\n"


def _links(ids: Sequence[str]) -> str:
    links = ", ".join(f"[{number}](records/{name}.json)" for number, name in enumerate(ids, 1))
    return f" (records {links})" if ids else ""


def to_html(parts: Sequence[Paragraph], *, figure: bool) -> str:
    """The page in HTML, without scripts; `figure` as for Markdown."""
    blocks = ["<h1>Choice of a method</h1>"]
    for number, part in enumerate(parts):
        blocks.append(f"<h2>{html.escape(part.title)}</h2>")
        if part.commands:
            blocks.append("<pre>" + html.escape("\n".join(part.lines)) + "</pre>")
        else:
            items = [f"<li>{html.escape(line)}{_anchors(ids)}</li>" for line, ids in part.sourced]
            blocks.append("<ul>" + "".join(items) + "</ul>")
        if number == 0 and figure:
            blocks.append('<p><img src="choose_pareto.svg" alt="Accuracy against costs"></p>')
    body = "\n".join(blocks)
    return f"<!doctype html>\n<html><head>{_HEAD}</head><body>\n{body}\n</body></html>\n"


def _anchors(ids: Sequence[str]) -> str:
    links = ", ".join(
        f'<a href="records/{html.escape(name)}.json">{number}</a>'
        for number, name in enumerate(ids, 1)
    )
    return f" (records {links})" if ids else ""


def draw_choice(choice: Choice) -> Figure | None:
    """Selection score against each cost, with the limits as lines; None without any score.

    Methods of the set are filled, the recommended one has a ring; the others are grey.
    """
    scored = [one for one in choice.verdict.race.evidence if _merit(one) is not None and _cost(one)]
    if not scored:
        return None
    columns = [column for column in COSTS if any(_value(one, column) for one in scored)]
    rows = -(-len(columns) // WIDE)
    figure = Figure(figsize=(11, 3.8 * rows), layout="constrained")
    panels = figure.subplots(rows, WIDE, sharey=True, squeeze=False)
    drawn = [
        (axes, _draw_panel(axes, column, scored, choice))
        for axes, column in zip(panels.flat, columns, strict=False)
    ]
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{choice.verdict.race.criterion.title} in the race")
    for axes in panels.flat[len(columns) :]:
        axes.set_axis_off()
    settle(figure)  # labels are placed for the final layout
    for axes, points in drawn:
        names = [name for name in points if name in choice.tied]
        label_points(axes, np.array([points[name] for name in names]), names, [INK] * len(names))
    return figure


def _draw_panel(
    axes: Axes, column: Column, scored: Sequence[Evidence], choice: Choice
) -> dict[str, tuple[float, float]]:
    """Draw the methods against one cost; returns the place of each."""
    members = set(choice.tied)
    known = [one for one in scored if _value(one, column) is not None]
    costs = [(_value(one, column) or 0.0) * column.scale for one in known]
    merits = [_merit(one) or 0.0 for one in known]
    front = pareto_front(costs, merits, column.better)
    axes.plot([costs[i] for i in front], [merits[i] for i in front], color=FAINT, zorder=1)
    for one, cost, merit in zip(known, costs, merits, strict=True):
        colour = _FILL if one.name in members else FAINT
        axes.plot(cost, merit, "o", color=colour, zorder=3)
        if one.name == choice.recommended:
            axes.plot(cost, merit, "o", color=_MARK, fillstyle="none", markersize=12, zorder=4)
    limit = choice.limits_by_column.get(column.key)
    if limit is not None:
        axes.axvline(limit * column.scale, color=_MARK, linestyle="--")
    axes.set_xlabel(f"{column.axis or column.title} ({column.unit})")
    if min(costs) > 0 and max(costs) > 20 * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}")
    axes.margins(x=0.15, y=0.15)
    return {one.name: (cost, merit) for one, cost, merit in zip(known, costs, merits, strict=True)}


def _cost(one: Evidence) -> Cost | None:
    first = one.first()
    return None if first is None else first.record.cost


def _value(one: Evidence, column: Column) -> float | None:
    value = getattr(_cost(one), column.key, None)
    return None if value is None else float(value)


def _merit(one: Evidence) -> float | None:
    return mean_selection(one, sorted(one.runs))
