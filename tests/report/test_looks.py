"""Looks of methods, least spans, labels and kinds of errors in figures."""

import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from records import make_cell, make_record

from bench.plugins.registry import list_methods
from bench.report.compare.comparison import Comparison, make_comparisons
from bench.report.plots.families import look_of
from bench.report.plots.gallery import ERRORS, kinds_of_errors
from bench.report.plots.labels import label_points
from bench.report.plots.pareto import DICE_SPAN, draw_pareto
from bench.report.plots.statistics import draw_curves
from bench.report.plots.style import GREY, HIGHLIGHTED, assign, grey_note, highlight, settle, style
from bench.report.records.frame import to_frame
from bench.spec import Record


def table(records: list[Record]) -> tuple[Comparison, Any]:
    frame = to_frame(records)
    (one,) = make_comparisons(frame)
    return one, assign(frame, one.rows)


def test_a_method_looks_the_same_whatever_else_is_in_the_report() -> None:
    def lora(*others: str) -> object:
        one, looks = table([make_record(make_cell(name)) for name in ("lora", *others)])
        return next(looks[row] for row in one.rows if row.label == "lora")

    assert lora() == lora("adapter", "full", "unet") == lora("zebra")


def test_built_in_methods_look_different_and_families_alike() -> None:
    names = [method.name for method in list_methods(built_in_only=True)]
    looks = {name: look_of(name, name) for name in names}
    assert len({(colour, marker) for colour, marker, _ in looks.values()}) == len(names)
    assert GREY not in {colour for colour, _, _ in looks.values()}
    other = look_of("of_a_plugin", "of_a_plugin")
    assert other == look_of("of_a_plugin", "of_a_plugin")
    assert look_of("lora", "lora[rank=8]") != look_of("lora", "lora")


def test_ten_rows_are_highlighted_and_the_others_are_grey() -> None:
    one, looks = table([make_record(make_cell(f"m{k:02}"), dice=0.9 - 0.01 * k) for k in range(14)])
    shown = highlight(one.rows, looks)
    grey = [row.label for row in one.rows if shown[row].colour == GREY]
    assert grey == [f"m{k:02}" for k in range(HIGHLIGHTED, 14)]
    assert grey_note(shown) == "grey: 4 others, in the table"
    assert grey_note(highlight(one.rows[:3], looks)) is None


def test_small_differences_do_not_fill_a_panel() -> None:
    one, looks = table(
        [make_record(make_cell(name), dice=dice) for name, dice in (("a", 0.80), ("b", 0.81))]
    )
    with style():
        figure = draw_pareto(one, looks)
    assert figure is not None
    low, high = figure.axes[0].get_ylim()
    assert high - low >= DICE_SPAN


def test_labels_stay_in_their_panel() -> None:
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    points = np.array(list(itertools.product((0.0, 1.0), (0.0, 0.5, 1.0))))
    axes.plot(*points.T, "o")
    settle(figure)
    texts = [f"a long name {k}" for k in range(len(points))]
    labels = label_points(axes, points, texts, ["black"] * len(points))
    figure.draw_without_rendering()
    frame = axes.bbox.padded(1)
    for label in labels:
        box = label.get_bbox_patch()
        assert box is not None
        assert frame.x0 - 4 <= box.get_window_extent().x0
        assert box.get_window_extent().x1 <= frame.x1 + 4


@pytest.mark.parametrize("prompts", ["none", "oracle"])
def test_losses_of_different_kinds_have_panels_of_their_own(prompts: Any) -> None:
    one, looks = table(
        [make_record(make_cell("lora")), make_record(make_cell("sam"), prompts=prompts)]
    )
    with style():
        figure = draw_curves(one, looks)
    assert figure is not None
    losses = [axes for axes in figure.axes if axes.get_ylabel().startswith("training")]
    assert len(losses) == (1 if prompts == "none" else 2)


def test_false_positives_negatives_and_wrong_classes_are_told_apart() -> None:
    mask = np.array([[0, 0, 1, 1, 1, 255]], np.uint8)
    predicted = np.array([[0, 2, 0, 1, 2, 1]], np.uint8)
    kinds = ["", *ERRORS]
    assert [kinds[k] for k in kinds_of_errors(mask, predicted)[0]] == [
        *("", "false positive", "false negative", "", "wrong class", ""),
    ]
