"""Readings of objects in the report: truth, prediction, error and its interval."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from records import CLASSES, make_cell, make_record

from bench.report.compare.comparison import make_comparisons
from bench.report.overview import write_report
from bench.report.page import Report, build_page
from bench.report.plots.sizes import draw_sizes
from bench.report.plots.style import assign
from bench.report.records.frame import to_frame
from bench.report.tables.readings import readings_table, write_readings
from bench.spec import Record

NAME = CLASSES[1]
FIGURES = ("particles", "d10", "d50", "d90", "aspect_ratio", "touching", "phase_fraction")


def image(group: str, truth: float, prediction: float | None) -> dict[str, Any]:
    """An image in which every reading has these values."""
    row: dict[str, Any] = {"name": f"{group}{truth}", "group": group}
    for figure in FIGURES:
        error = None if prediction is None else prediction - truth
        row |= {f"{figure}/{NAME}": prediction, f"{figure}_truth/{NAME}": truth}
        row[f"{figure}_error/{NAME}"] = error
    return row


def run(seed: int, *images: dict[str, Any]) -> Record:
    return dataclasses.replace(make_record(make_cell(seed=seed)), per_image=images)


def table(*records: Record) -> pd.DataFrame:
    (comparison,) = make_comparisons(to_frame(list(records)))
    return readings_table(comparison)


def test_means_over_images_and_an_interval_over_specimens() -> None:
    images = [image("a", 10, 12), image("b", 20, 21), image("c", 30, 36)]
    lines = table(run(0, *images), run(1, *images)).set_index("reading")
    d50 = lines.loc["D50 (px)"]
    assert (d50["truth"], d50["prediction"], d50["error"]) == (20, 23, 3)
    # All 27 samples of three specimens with replacement, instead of random ones.
    errors = [np.mean([(2, 1, 6)[one] for one in part]) for part in np.ndindex(3, 3, 3)]
    ends = np.quantile(errors, [0.025, 0.975], method="inverted_cdf")
    assert [d50["low"], d50["high"]] == pytest.approx(ends)
    assert lines.loc["phase fraction (%)", "error"] == 300


def test_a_value_that_is_missing_is_left_out_and_one_specimen_has_no_interval() -> None:
    lines = table(run(0, image("a", 10, 12), image("a", 20, None))).set_index("reading")
    assert lines.loc["D50 (px)", "truth"] == 15
    assert lines.loc["D50 (px)", "error"] == 2
    assert lines["low"].isna().all()


def test_a_seed_without_all_specimens_does_not_count() -> None:
    whole = run(0, image("a", 10, 12), image("b", 10, 12))
    lines = table(whole, run(1, image("a", 10, 90))).set_index("reading")
    assert lines.loc["D10 (px)", "error"] == 2


def test_files_are_written_where_objects_were_measured(tmp_path: Path) -> None:
    plain = make_comparisons(to_frame([make_record(make_cell())]))
    assert write_readings(plain, tmp_path) == []
    measured = run(0, image("a", 10, 12), image("b", 10, 12))
    written = write_readings(make_comparisons(to_frame([measured])), tmp_path)
    assert [path.suffix for path in written] == [".md", ".csv"]
    assert "| +2.0 [+2.0, +2.0] |" in " ".join(written[0].read_text().split())


def test_shapes_have_their_digits_and_are_missing_in_older_records() -> None:
    images = [image("a", 1.25, 1.5), image("b", 1.25, 1.5)]
    new = texts_of_page(run(0, *images))
    assert new[4] == [NAME, "aspect ratio", "1.25", "1.50", "+0.25 [+0.25, +0.25]"]
    assert new[5][1:4] == ["touching another object (%)", "125.0", "150.0"]
    shapes = ("aspect_ratio", "touching")
    older = [{k: v for k, v in one.items() if not k.startswith(shapes)} for one in images]
    old = texts_of_page(run(0, *older))
    assert [line[2:] for line in old[4:6]] == [["—", "—", "—"]] * 2
    assert old[:4] + old[6:] == new[:4] + new[6:]


# The page


def texts_of_page(*records: Record) -> list[list[str]]:
    """The cells of each line of the page's table of readings, without the name of the row."""
    frame = to_frame(list(records))
    page = build_page(Report(records, frame, make_comparisons(frame)))
    _, found, table = page.partition('<table class="figures readings"')
    lines = table.partition("</table>")[0].split("<tr")[1:] if found else []
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in lines]
    return [line for line in cells if line]


def test_the_page_has_the_lines_of_the_markdown_table(tmp_path: Path) -> None:
    records = [run(0, image("a", 10, 12), image("b", 10, None)), make_record(make_cell("full"))]
    markdown, _ = write_readings(make_comparisons(to_frame(records)), tmp_path)
    lines = [line.strip("| ").split("|") for line in markdown.read_text().splitlines()]
    expected = [[cell.strip() for cell in line[1:]] for line in lines if "`lora`" in line[0]]
    assert len(expected) == len(FIGURES)
    assert texts_of_page(*records) == expected


def test_the_page_has_no_readings_where_objects_were_not_measured() -> None:
    assert texts_of_page(make_record(make_cell())) == []


# The figure of sizes


def test_the_figure_shows_truth_prediction_and_the_interval_of_the_error() -> None:
    images = [image("a", 10, 12), image("b", 20, 21), image("c", 30, 36)]
    frame = to_frame([run(0, *images), run(1, *images), make_record(make_cell("full"))])
    (comparison,) = make_comparisons(frame)
    figure = draw_sizes(comparison, assign(frame, comparison.rows))
    assert figure is not None
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lora"]  # full: no objects
    (truth,) = axes.collections
    assert isinstance(truth, LineCollection)
    assert {segment[0, 0] for segment in truth.get_segments()} == {20}
    drawn = [(line.get_marker(), np.asarray(line.get_xdata()).tolist()) for line in axes.lines]
    markers = [places for marker, places in drawn if marker in {"<", "o", ">"} and places]
    assert markers == [[23]] * 3
    d50 = readings_table(comparison).set_index("reading").loc["D50 (px)"]
    bars = [places for _, places in drawn if len(places) == 2]
    assert bars == [pytest.approx([20 + d50["low"], 20 + d50["high"]])] * 3


def test_the_report_has_the_figure_where_objects_were_measured(tmp_path: Path) -> None:
    frame = to_frame([run(0, image("a", 10, 12), image("b", 10, 13))])
    written = write_report(frame, make_comparisons(frame), tmp_path)
    assert tmp_path / "plots" / "steel_sizes.png" in written
    assert "(plots/steel_sizes.png)" in (tmp_path / "figures.md").read_text()


def test_no_figure_without_sizes_in_truth_and_prediction() -> None:
    frame = to_frame([run(0, image("a", 10, None), image("b", 10, None))])
    (comparison,) = make_comparisons(frame)
    assert draw_sizes(comparison, assign(frame, comparison.rows)) is None
