"""Average ranks over datasets: each counts once, and bars join only what cannot be told apart."""

import dataclasses
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from records import make_cell, make_failure, make_record, report_of

from bench.report.compare.across_datasets import Standing, find_standings
from bench.report.compare.comparison import make_comparisons
from bench.report.plots.average_ranks import columns_of, draw_ranks
from bench.report.plots.style import assign, style
from bench.report.records.frame import to_frame
from bench.spec import Record, Task


def study(datasets: int, **dice: float) -> list[Record]:
    """Every method on every dataset, a little better from one to the next."""
    return [
        make_record(make_cell(method, dataset=f"set_{n}"), dice=value + 0.001 * n * n)
        for n in range(datasets)
        for method, value in dice.items()
    ]


def standings(records: list[Record]) -> list[Standing]:
    return find_standings(make_comparisons(to_frame(records)))


def names(found: Standing) -> list[str]:
    return [row.label for row in found.methods]


def test_every_dataset_counts_once_whatever_its_size() -> None:
    records = study(2, full=0.6, lora=0.7, adapter=0.5)
    large = {"full": 0.9, "lora": 0.2, "adapter": 0.8}
    records += [
        make_record(make_cell(method, dataset="large"), dice=value, image_dice=[value] * 500)
        for method, value in large.items()
    ]
    (found,) = standings(records)
    assert names(found) == ["full", "lora", "adapter"]
    assert found.ranks.mean(0) == pytest.approx([5 / 3, 5 / 3, 8 / 3])
    assert found.datasets == ("large", "set_0", "set_1")
    assert found.ranks[0].tolist() == [1, 3, 2]  # on the dataset named first
    assert found.slug == "across-3-datasets"


def test_equal_scores_share_their_ranks() -> None:
    (found,) = standings(study(3, full=0.7, lora=0.7, adapter=0.5))
    assert found.ranks.tolist() == [[1.5, 1.5, 3.0]] * 3


def test_only_what_was_asked_alike_stands_together() -> None:
    records = study(3, full=0.7, lora=0.6, adapter=0.5)
    changed = [
        *(
            make_record(make_cell(m, dataset="set_3", labels=4))
            for m in ("full", "lora", "adapter")
        ),
        *(
            make_record(make_cell(m, dataset="set_4"), prompts="oracle")
            for m in ("full", "lora", "adapter")
        ),
    ]
    (found,) = standings([*records, *changed])
    assert found.datasets == ("set_0", "set_1", "set_2")


def test_other_classes_are_no_other_question() -> None:
    records = study(2, full=0.7, lora=0.6, adapter=0.5)
    for method in ("full", "lora", "adapter"):
        cell = make_cell(method, dataset="set_2")
        task = dataclasses.replace(cell.task, num_classes=7)
        records.append(make_record(dataclasses.replace(cell, task=task)))
    (found,) = standings(records)
    assert len(found.datasets) == 3
    assert Task(7) != Task(3)


def test_more_datasets_with_fewer_methods_stand_beside() -> None:
    few = study(5, full=0.7, lora=0.6, adapter=0.5)
    more = [
        make_record(make_cell("unet", dataset=f"set_{n}"), dice=0.65 + 0.001 * n * n)
        for n in range(3)
    ]
    short, wide = sorted(standings([*few, *more]), key=lambda found: len(found.datasets))
    assert (len(short.datasets), len(short.methods)) == (3, 4)
    assert (len(wide.datasets), len(wide.methods)) == (5, 3)


def test_methods_with_failed_runs_and_too_few_datasets_have_no_rank() -> None:
    records = study(3, full=0.7, lora=0.6, adapter=0.5, unet=0.4)
    records.append(make_failure(make_cell("unet", dataset="set_1", seed=1)))
    (found,) = standings(records)
    assert names(found) == ["full", "lora", "adapter"]
    assert standings(study(2, full=0.7, lora=0.6, adapter=0.5)) == []
    assert standings(study(3, full=0.7, lora=0.6)) == []


def test_with_few_datasets_no_pair_is_told_apart_and_the_sentence_says_so() -> None:
    (found,) = standings(study(6, full=0.9, lora=0.6, adapter=0.3))
    assert found.cliques == ((0, 2),)
    assert found.p_value < 0.01
    assert "the methods differ significantly" in found.sentence
    assert "with 3 pairs, this needs at least 7 datasets" in found.sentence


def test_with_many_datasets_pairs_are_told_apart() -> None:
    (found,) = standings(study(12, full=0.7, lora=0.6, adapter=0.5))
    assert found.cliques == ()
    assert "bars join methods" in found.sentence


def test_bars_do_not_touch() -> None:
    assert columns_of([(0, 2), (1, 3), (3, 5), (4, 6)]) == [0, 1, 0, 1]


def test_the_overview_shows_the_ranks(tmp_path: Path) -> None:
    found = study(3, full=0.7, lora=0.6, adapter=0.5)
    written = report_of(found, tmp_path)
    assert tmp_path / "plots" / "across-3-datasets_ranks.svg" in written
    overview = written[-1].read_text()
    assert "|           2.00 |      2 |       2 |" in overview
    assert "each counted once: set_0, set_1, set_2" in overview


def test_names_and_numbers_of_many_methods_stay_inside() -> None:
    records = study(3, **{f"a_method_of_a_long_name_{n}": 0.5 + n / 100 for n in range(30)})
    frame = to_frame(records)
    comparisons = make_comparisons(frame)
    (found,) = find_standings(comparisons)
    with style():
        looks = assign(frame, [row for one in comparisons for row in one.rows])
        figure = draw_ranks(found, looks)
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    box = axes.get_tightbbox()
    assert box is not None
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.legends[0].get_window_extent().y1 <= box.y0
