"""The report says what the records say, ranks only what may be ranked, and hides nothing."""

import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import report as many_records
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image
from records import make_cell, make_cost, make_failure, make_record, report_of
from rich.console import Console

from bench.errors import UserError
from bench.files import write_atomic
from bench.report.compare.comparison import Comparison, make_comparisons
from bench.report.plots.gallery import draw_gallery, thin, write_gallery
from bench.report.plots.labels import label_points
from bench.report.plots.memory import draw_memory
from bench.report.plots.pareto import draw_pareto, pareto_front
from bench.report.plots.style import HIGHLIGHTED, assign, legend_below, save, style
from bench.report.records.columns import COLUMNS, DICE, MISSING
from bench.report.records.frame import to_frame
from bench.report.tables.terminal import terminal_table
from bench.report.tables.write import latex, markdown, write_tables
from bench.spec import OptionValue, Recipe, Record


def only(records: list[Record]) -> Comparison:
    (found,) = make_comparisons(to_frame(records))
    return found


def marks(found: Comparison, key: str = DICE.key) -> dict[str, str]:
    """Label to mark, of the first block."""
    block = found.blocks[0]
    return {block.rows[p].label: mark for (p, name), mark in block.marks.items() if name == key}


def spread_scores(middle: float, images: int = 12, seed: int = 0) -> list[float]:
    return [middle + x for x in np.random.default_rng(seed).normal(0, 0.03, images)]


def printed(records: list[Record], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for found in make_comparisons(to_frame(records)):
        console.print(terminal_table(found, width))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


# What stands in the tables


def test_figures_are_those_of_the_records(tmp_path: Path) -> None:
    records = [
        make_record(make_cell(seed=seed), dice=dice) for seed, dice in enumerate((0.80, 0.82, 0.84))
    ]
    assert "82.0 ± 2.0" in markdown(only(records))
    assert r"82.0 $\pm$ 2.0" in latex(only(records))
    assert "82.0 ± 2.0" in printed(records, 100)
    write_tables(to_frame(records), tmp_path)
    row = pd.read_csv(tmp_path / "steel.csv").iloc[0]
    assert row["dice_dataset"] == pytest.approx(0.82, abs=1e-15)
    assert row["dice_dataset_sd"] == pytest.approx(0.02, abs=1e-15)
    runs = pd.read_csv(tmp_path / "records.csv")
    assert runs["dice_dataset"].tolist() == [0.80, 0.82, 0.84]
    assert runs["train_peak_bytes"].tolist() == [200 * 2**20] * 3
    assert runs["id"].tolist() == [record.cell.id for record in records]


def test_one_run_has_no_spread() -> None:
    row = only([make_record(dice=0.8)]).rows[0]
    assert row.values[DICE.key].spread is None
    assert "80.0 " in markdown(only([make_record(dice=0.8)]))
    assert "80.0 ±" not in markdown(only([make_record(dice=0.8)]))


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("dice_dataset", 0.84249, "84.2"),
        ("hd95_pooled_px", 12.35, "12.3"),
        ("trainable_params", 36_864, "0.0369"),
        ("trainable_params", 632_045_568, "632"),
        ("trainable_params", 0, "0"),
        ("train_peak_bytes", 20 * 2**30, "20,480"),
        ("checkpoint_bytes", None, MISSING),
        ("dice_dataset", float("nan"), MISSING),
    ],
)
def test_format(key: str, value: float | None, shown: str) -> None:
    column = next(column for column in COLUMNS if column.key == key)
    assert column.format(value) == shown


def test_what_is_undefined_is_a_dash_and_never_a_number(tmp_path: Path) -> None:
    cost = dataclasses.replace(make_cost(), train_peak_bytes=None, train_images_per_s=None)
    records = [make_record(cost=cost, hd95_pooled_px=None)]
    found = only(records)
    for text in (markdown(found), latex(found), printed(records, 160)):
        assert not re.search(r"\bnan\b|\bNone\b", text)
    cells = [cell.strip() for cell in markdown(found).splitlines()[2].split("|")]
    assert cells.count(MISSING) == 3
    # An empty field, not a zero, in the file for further computing.
    write_tables(to_frame(records), tmp_path)
    assert pd.isna(pd.read_csv(tmp_path / "steel.csv")["hd95_pooled_px"]).all()


def test_every_row_tells_method_options_backbone_and_weights() -> None:
    records = [
        make_record(make_cell("lora", options={"rank": 8})),
        make_record(make_cell("lora")),
        make_record(make_cell("lora", weights="random")),
        make_record(make_cell("lora", weights="/somewhere/sam_vit_b.pth", backbone="sam_vit_b")),
    ]
    found = only(records)
    names = {row.name for row in found.rows}
    assert names == {
        "lora[rank=8] (sam_nano, pretrained)",
        "lora (sam_nano, pretrained)",
        "lora (sam_nano, random)",
        "lora (sam_vit_b, sam_vit_b)",
    }
    assert "lora[rank=8]" in printed(records, 100)  # brackets are no markup
    assert "`lora[rank=8]`" in markdown(found)
    assert r"sam\_vit\_b" in latex(found)


def test_rows_that_look_alike_show_in_what_they_differ() -> None:
    records = [make_record(make_cell(recipe=Recipe(lr=lr))) for lr in (0.001, 0.01)]
    assert {row.label for row in only(records).rows} == {"lora lr=0.001", "lora lr=0.01"}


def test_no_table_mixes_protocol_labels_image_size_budget_or_dataset() -> None:
    cells = [
        make_cell(),
        make_cell("adapter"),
        make_cell(protocol="published"),
        make_cell(labels=4),
        make_cell(image_size=512),
        make_cell(recipe=Recipe(lr=1e-3, steps=600)),
        make_cell(dataset="nuclei"),
        make_cell(folds=3),
        dataclasses.replace(make_cell(), dataset_sha="e" * 64),
    ]
    found = {one.slug: len(one.rows) for one in make_comparisons(to_frame(map(make_record, cells)))}
    assert found == {
        "steel_data-dddddddd": 2,
        "steel_data-eeeeeeee": 1,
        "steel_published-protocol": 1,
        "steel_4-labels": 1,
        "steel_512-px": 1,
        "steel_steps-600": 1,
        "nuclei": 1,
        "steel_3-folds": 1,
    }


# Failures


def test_failures_are_shown_with_status_and_reason(tmp_path: Path) -> None:
    records = [
        make_record(make_cell(seed=0)),
        make_failure(make_cell(seed=1), "diverged", "loss became NaN at step 120"),
        make_failure(make_cell("full"), "oom", "out of memory: 1.2 GiB asked"),
    ]
    found = only(records)
    for text in (markdown(found), latex(found)):
        assert "1 ok, 1 diverged" in text
        assert "1 oom" in text
        assert "seed 1: diverged: loss became NaN at step 120" in text
        assert "full (sam_nano, pretrained), seed 0: oom: out of memory: 1.2 GiB asked" in text
    assert "out of memory: 1.2 GiB asked" in printed(records, 100)
    write_tables(to_frame(records), tmp_path)
    rows = pd.read_csv(tmp_path / "steel.csv").set_index("label")
    assert rows.loc["full", "runs"] == "1 oom"


def test_a_table_of_failures_only() -> None:
    found = only([make_failure(), make_failure(make_cell("full"), "timeout", "over 60 s")])
    assert [row.status for row in found.rows] == ["1 timeout", "1 oom"]
    assert "over 60 s" in markdown(found)


def test_a_row_with_failed_runs_is_not_ranked() -> None:
    survivor = [make_record(make_cell("full", seed=0), dice=0.95)]
    failed = [make_failure(make_cell("full", seed=1), "diverged")]
    others = [make_record(make_cell(m), dice=d) for m, d in (("lora", 0.9), ("adapter", 0.8))]
    found = only([*survivor, *failed, *others])
    assert marks(found)["lora"] == "best"
    assert "full" not in marks(found)
    assert any("Not ranked" in note and "full" in note for note in found.notes)


def test_a_failed_run_joins_its_row_though_its_prompts_were_not_known() -> None:
    cells = [make_cell("zero_shot", seed=seed) for seed in (0, 1)]
    found = only([make_record(cells[0], prompts="oracle"), make_failure(cells[1])])
    assert [(row.prompts, row.status) for row in found.rows] == [("oracle", "1 ok, 1 oom")]


# Ranking


def test_best_is_marked_with_what_cannot_be_told_apart_from_it() -> None:
    records = [
        make_record(make_cell("full"), dice=0.90, image_dice=spread_scores(0.90, seed=1)),
        make_record(make_cell("lora"), dice=0.895, image_dice=spread_scores(0.895, seed=2)),
        make_record(make_cell("frozen_head"), dice=0.60, image_dice=spread_scores(0.60, seed=3)),
    ]
    found = only(records)
    expected = {"full": "best", "lora": "tied", "frozen_head": "worse"}
    for key in ("dice_dataset", "iou_dataset", "hd95_pooled_px", "boundary_iou"):
        assert marks(found, key) == expected
    assert "60.0 ↓" in markdown(found)
    assert r"60.0 $\downarrow$" in latex(found)
    assert "**90.0**" in markdown(found)
    assert "89.5 ≈" in markdown(found)
    assert r"\textbf{90.0}" in latex(found)
    assert "90.0*" in printed(records, 100)
    assert any("Wilcoxon" in note and "12 test specimens" in note for note in found.notes)


def test_lower_is_better_where_the_column_says_so() -> None:
    small = make_record(make_cell("small"), dice=0.7, cost=make_cost(1_000, 50.0, 100.0))
    large = make_record(make_cell("large"), dice=0.9, cost=make_cost(9_000, 10.0, 900.0))
    found = only([small, large])
    for key in ("trainable_params", "train_peak_bytes", "train_images_per_s"):
        assert marks(found, key) == {"small": "best"}
    assert marks(found, "hd95_pooled_px")["large"] == "best"


def test_images_of_one_specimen_are_one_witness() -> None:
    groups = [f"specimen_{i % 4}" for i in range(12)]
    records = [
        make_record(
            make_cell(method), dice=dice, image_dice=spread_scores(dice, seed=i), groups=groups
        )
        for i, (method, dice) in enumerate((("full", 0.9), ("lora", 0.6)))
    ]
    found = only(records)
    assert marks(found) == {"full": "best", "lora": "untestable"}
    assert any("significant with 4 test specimens" in note for note in found.notes)
    assert "the order can be chance" in found.notes[0]
    assert "60.0 ?" in markdown(found)


def test_oracle_prompts_are_not_ranked_with_none() -> None:
    records = [
        make_record(make_cell("zero_shot"), dice=0.99, prompts="oracle"),
        make_record(make_cell("lora"), dice=0.9),
        make_record(make_cell("adapter"), dice=0.8),
    ]
    found = only(records)
    assert [block.prompts for block in found.blocks] == ["none", "oracle"]
    assert marks(found)["lora"] == "best"
    assert found.blocks[1].marks == {}
    assert "**Prompts: oracle**" in markdown(found)
    assert "prompts: oracle" in printed(records, 100)


def test_speed_on_other_hardware_is_shown_but_not_ranked() -> None:
    gpu = {"cpu": "Example CPU", "gpu": "Example GPU", "threads": 2}
    records = [make_record(make_cell("lora")), make_record(make_cell("full"), env=gpu, dice=0.7)]
    found = only(records)
    assert marks(found, "train_images_per_s") == {}
    assert any(
        "Train speed, Infer speed: not ranked" in n and "Example GPU" in n for n in found.notes
    )
    assert marks(found)["lora"] == "best"


# Terminal


def test_terminal_tables_fit_and_show_more_where_there_is_room() -> None:
    wide: dict[str, OptionValue] = {"rank": 16, "targets": "qkvo"}
    records = [make_record(make_cell("lora", seed=seed, options=wide)) for seed in range(3)]
    records += [make_record(make_cell("adapter", seed=seed), dice=0.7) for seed in range(3)]
    for width in (100, 120, 160):
        text = printed(records, width)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
    tables = [terminal_table(only(records), width) for width in (100, 120, 160)]
    counts = [len(table.columns) for table in tables]
    assert counts == sorted(set(counts))
    assert counts[0] >= 4 + 3


# Plots


def test_pareto_front_worked_example() -> None:
    #        a    b    c    d    e (as dear as d, worse)
    costs = [1.0, 2.0, 3.0, 4.0, 4.0]
    merits = [0.5, 0.7, 0.6, 0.9, 0.8]
    assert pareto_front(costs, merits, "lower") == [0, 1, 3]
    assert pareto_front(costs, merits, "higher") == [3]
    assert pareto_front([1.0, 1.0], [0.5, 0.5], "lower") == [0, 1]  # neither beats the other


def test_labels_do_not_cover_each_other() -> None:
    figure = Figure(figsize=(5, 4), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    points = np.array([[0.5, 0.5], [0.51, 0.5], [0.5, 0.51], [0.52, 0.52], [0.0, 0.0], [1.0, 1.0]])
    axes.scatter(points[:, 0], points[:, 1])
    figure.draw_without_rendering()
    names = [f"method_{i}[rank=8]" for i in range(len(points))]
    labels = label_points(axes, points, names, ["black"] * len(points))
    renderer = canvas.get_renderer()
    extents = [_text_extent(label, renderer) for label in labels]
    assert len(extents) == len(points)
    for i, first in enumerate(extents):
        for second in extents[:i]:
            sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
            assert (sides <= 0.5).any()


def _text_extent(label: Annotation, renderer: RendererBase) -> npt.NDArray[np.float64]:
    """Left, bottom, right and top of the text alone, without the line to its point."""
    label.update_positions(renderer)
    return np.array(Text.get_window_extent(label, renderer).extents)


def test_a_method_has_one_look_in_all_datasets() -> None:
    records = [
        make_record(make_cell(method, dataset=dataset))
        for dataset in ("steel", "nuclei")
        for method in (*(f"method_{i}" for i in range(12)), "lora")  # more than colours
        if (dataset, method) != ("nuclei", "method_3")
    ]
    frame = to_frame(records)
    looks = assign(frame, [row for one in make_comparisons(frame) for row in one.rows])
    assert len({look.name for look in looks.values()}) == 13
    assert len(set(looks.values())) == 13  # one look a name
    assert len({(look.colour, look.line) for look in looks.values()}) == 13


def test_the_same_figure_gives_the_same_files(tmp_path: Path) -> None:
    frame = to_frame([make_record(), make_failure(make_cell("full"))])
    (found,) = make_comparisons(frame)
    written = []
    for name in ("first", "second"):
        with style():
            figure = draw_memory(found, assign(frame, found.rows))
            assert figure is not None
            written.append(save(figure, tmp_path / name))
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    svg = written[0][1].read_text()
    assert "<dc:date>" not in svg


# Pictures


@pytest.mark.parametrize(
    ("size", "drawn"), [((9, 1024), (9, 1024)), ((4000, 6000), (667, 1000)), ((1, 3000), (1, 1000))]
)
def test_large_images_are_thinned_before_they_are_drawn(
    size: tuple[int, int], drawn: tuple[int, int]
) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    thinned = thin(pixels)
    assert thinned.shape == (*drawn, 3)
    assert thinned is pixels or not np.shares_memory(thinned, pixels)


def test_gallery_where_predictions_are(tmp_path: Path) -> None:
    record = make_record(image_dice=[0.9, 0.5, 0.7])
    folder = tmp_path / "predictions" / record.cell.id
    folder.mkdir(parents=True)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 2:5] = 1
    for image in record.per_image:
        Image.fromarray(mask).save(folder / f"{image['name']}.png")
    asked = []

    def look_up(name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        asked.append(name)
        return np.full((8, 8, 3), 128, np.uint8), mask

    frame = to_frame([record, make_record(make_cell("without_predictions"))])
    written = write_gallery(frame, tmp_path / "predictions", {"steel": look_up}, tmp_path / "plots")
    assert [path.name for path in written] == ["steel_gallery.png"]
    assert asked == ["image_0", "image_2", "image_1"]  # best, median, worst
    assert write_gallery(frame, tmp_path / "predictions", {}, tmp_path / "plots") == []
    assert write_gallery(frame, tmp_path / "none", {"steel": look_up}, tmp_path / "plots") == []
    (comparison,) = make_comparisons(frame)
    looks = assign(frame, comparison.rows)
    figure = draw_gallery(comparison, looks, tmp_path / "predictions", look_up)
    assert figure is not None
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-1] == "without stored predictions: 1 method"


# The whole


def test_report_links_to_files_that_exist(tmp_path: Path) -> None:
    records = [make_record(make_cell("lora"), dice=0.9), make_failure(make_cell("full"))]
    written = report_of(records, tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in written}
    assert {
        "index.md",
        "figures.md",
        "tables/records.csv",
        *(f"tables/steel.{kind}" for kind in ("md", "csv", "tex")),
        *(
            f"plots/steel_{kind}.{end}"
            for kind in ("pareto", "classes", "curves", "memory")
            for end in ("png", "svg")
        ),
    } == names
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()} == names
    overview = (tmp_path / "index.md").read_text()
    (tmp_path / "records").mkdir()  # written by the runs
    for text in (overview, (tmp_path / "figures.md").read_text()):
        links = [part.split(")")[0] for part in text.split("](")[1:]]
        assert links
        assert all((tmp_path / link).exists() for link in links)
    assert "plots/steel_pareto.png" in links
    assert "90.0" in overview
    assert "out of memory at step 3" in overview


def test_no_records_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no records to report"):
        report_of([], tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_atomic(tmp_path / "tables" / "steel.md", "old")
    assert write_atomic(path, "new").read_text() == "new"

    def refuse(self: Path, target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(
        UserError, match=r"cannot write '.*steel\.md' \(no space left\): free some space"
    ):
        write_atomic(path, "half of it")
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["steel.md"]


@pytest.mark.parametrize(("length", "columns"), [(3, 4), (20, 2), (40, 1)])
def test_a_legend_stays_within_its_figure(length: int, columns: int) -> None:
    figure = Figure(figsize=(6, 3))
    axes = figure.subplots()
    for number in range(8):
        axes.plot([number], label=f"{number}" * length)
    legend_below(figure)
    (legend,) = figure.legends
    assert legend._ncols == columns  # type: ignore[attr-defined]
    assert legend.get_window_extent().width <= figure.bbox.width


def test_a_speed_is_that_of_the_fastest_run() -> None:
    records = [
        make_record(make_cell(seed=seed), dice=dice, cost=make_cost(images_per_s=speed))
        for seed, (dice, speed) in enumerate([(0.5, 20.0), (0.7, 8.0)])
    ]
    (row,) = only(records).rows
    assert row.values["train_images_per_s"].figure == 20.0
    assert row.values["infer_images_per_s"].figure == 60.0
    assert row.values[DICE.key].figure == pytest.approx(0.6, abs=0.02)


def test_many_methods_stay_readable(tmp_path: Path) -> None:
    """The legend keeps clear of the panels and of the figure's edge."""
    records = [
        make_record(make_cell("lora", options={"rank": rank}, seed=seed), dice=0.5 + rank / 100)
        for rank in range(1, 25)
        for seed in range(2)
    ]
    found = only(records)
    with style():
        figure = draw_pareto(found, assign(to_frame(records), found.rows))
    assert figure is not None
    FigureCanvasAgg(figure).draw()
    *panels, place = figure.axes
    legend = place.get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert sum(text.startswith("lora") for text in texts) == HIGHLIGHTED
    assert f"grey: {24 - HIGHLIGHTED} others, in the table" in texts
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    for axes in panels:
        panel = axes.get_tightbbox()
        assert panel is not None
        assert not box.overlaps(panel)


def test_leakage_that_was_allowed_is_told() -> None:
    leaks = ("'a' (test) has the same pixels as 'b' (train)",)
    records = [
        make_record(dataclasses.replace(make_cell(method, seed=seed), leaks=leaks), dice=0.7)
        for method in ("lora", "full")
        for seed in range(2)
    ]
    (told,) = (note for note in only(records).notes if "--allow-leakage" in note)
    assert leaks[0] in told
    assert "1 pairs" not in told


def test_measures_of_some_collections_only_have_a_column_where_they_have_figures() -> None:
    assert "PQ" not in markdown(only([make_record()]))
    found = only([make_record(pq_dataset=0.5), make_record(make_cell("full"))])
    assert "PQ (%)" in markdown(found)
    assert "50.0" in latex(found)
    assert "S-alpha" not in markdown(found)


@pytest.mark.slow
def test_time_grows_no_faster_than_the_number_of_records() -> None:
    many_records.measure(500, disk=False)  # imports and caches
    small, large = (many_records.measure(count, disk=False) for count in (2000, 8000))
    for part in ("frame", "comparison", "tables"):
        assert large[part] < 1.5 * 4 * small[part]
