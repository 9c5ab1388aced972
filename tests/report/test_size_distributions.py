"""Sizes of single objects in the report: histograms of truth and prediction."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import CLASSES, make_cell, make_record

from bench.metrics.readings import size_counts
from bench.report.compare.comparison import Comparison, make_comparisons
from bench.report.compare.size_distributions import size_distributions
from bench.report.overview import write_report
from bench.report.page import Report, build_page
from bench.report.page.charts import charts_of
from bench.report.plots.size_distributions import draw_size_distributions
from bench.report.plots.style import assign
from bench.report.records.frame import to_frame
from bench.spec import Record

NAMES = CLASSES[1:]


def image(group: str, truth: Sequence[float], prediction: Sequence[float]) -> dict[str, Any]:
    """An image with objects of these diameters in the first class, and none in the second."""
    row: dict[str, Any] = {"name": group, "group": group}
    for name, sizes in zip(NAMES, [(truth, prediction), ([], [])], strict=True):
        there, found = (size_counts(np.asarray(one, float)) for one in sizes)
        row |= {f"size_counts_truth/{name}": there, f"size_counts/{name}": found}
    return row


def run(method: str, *images: dict[str, Any], seed: int = 0) -> Record:
    return dataclasses.replace(make_record(make_cell(method, seed=seed)), per_image=images)


def compare(*records: Record) -> Comparison:
    (comparison,) = make_comparisons(to_frame(list(records)))
    return comparison


FOUR = (image("a", [2, 2, 9], [4]), image("b", [], [4, 30]))


def test_means_over_images_between_the_edges_of_all_records() -> None:
    (row,) = compare(run("lora", *FOUR), run("lora", *FOUR, seed=1)).rows
    (one,) = size_distributions(row)
    assert one.name == NAMES[0]
    assert one.edges[0] == 2
    assert len(one.edges) == len(one.truth) + 1 == len(one.prediction) + 1
    assert one.edges[-2] <= 30 < one.edges[-1]
    assert one.truth.sum() == 1.5
    assert one.truth[0] == 1
    drawn = dict(zip(one.edges[:-1].tolist(), one.prediction.tolist(), strict=True))
    assert drawn[4] == 1
    assert one.prediction.sum() == 1.5


def test_none_where_a_record_is_older() -> None:
    older = {"name": "b", "group": "b", "particles_truth/carbide": 3}
    (row,) = compare(run("lora", FOUR[0], older)).rows
    assert size_distributions(row) == []
    comparison = compare(run("lora", {"name": "a", "group": "a"}))
    assert draw_size_distributions(comparison, _looks(comparison)) is None


@pytest.mark.parametrize("methods", [["lora"], ["lora", "full", "unet", "adapter", "bitfit"]])
def test_a_panel_for_each_row_with_truth_and_prediction(methods: list[str]) -> None:
    older = run("decoder_only", {"name": "a", "group": "a"})
    comparison = compare(*(run(method, *FOUR) for method in methods), older)
    figure = draw_size_distributions(comparison, _looks(comparison))
    assert figure is not None
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in drawn] == sorted(methods)
    for axes in drawn:
        assert len(axes.collections) == 1  # the area of the truth
        (line,) = axes.lines
        heights = np.asarray(line.get_ydata(), float)
        assert heights.max() == 1  # at 4 px, one in each image
        assert axes.get_xscale() == "log"
        assert axes.get_ylim()[1] >= 1
    labelled = [axes for axes in drawn if axes.get_xlabel() and axes.xaxis.label.get_visible()]
    assert len(labelled) == min(4, len(methods))


def test_figure_and_page_of_a_report(tmp_path: Path) -> None:
    records = [run("lora", *FOUR), run("full", {"name": "a", "group": "a"})]
    frame = to_frame(records)
    comparisons = make_comparisons(frame)
    written = write_report(frame, comparisons, tmp_path)
    assert tmp_path / "plots" / "steel_size_distributions.png" in written
    assert "(plots/steel_size_distributions.png)" in (tmp_path / "figures.md").read_text()
    (shown,) = charts_of(comparisons[0], _looks(comparisons[0]))["sizes"]
    assert (shown["row"], shown["class"]) == (1, NAMES[0])  # rows are sorted: full, lora
    assert sum(shown["truth"]) == 1.5
    assert 'data-draw="sizes"' in build_page(Report(records, frame, comparisons))
    plain = to_frame(records[1:])
    without = build_page(Report(records[1:], plain, make_comparisons(plain)))
    assert 'data-draw="sizes"' not in without


def _looks(comparison: Comparison) -> Any:
    return assign(comparison.rows[0].runs.frame, comparison.rows)
