"""Figures for a paper (`report --figure`): size, letters, fonts, choice, errors."""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image
from records import ENV, make_cell, make_cost, make_failure, make_record

from bench.cli import main
from bench.cli.report_choice import choose_datasets, choose_methods
from bench.errors import UserError
from bench.report.compare.comparison import make_comparisons
from bench.report.plots.gallery import ERRORS, draw_gallery
from bench.report.plots.paper import draw_for_paper
from bench.report.plots.sheet import REPORT, Sheet, paper_sheet, wrap_name, wrap_names
from bench.report.plots.style import assign, style
from bench.report.records.frame import to_frame
from bench.run.store import Store
from bench.spec import OptionValue, Record

NAMES = (
    "a_very_long_name_of_a_method_that_does_not_end_and_has_no_space",
    r"cost $\alpha_{x}^2$ 100 % <b>&",
    "方法 лора",
    "lora",
)
CLASSES = ("background", "Widmanstaetten_laths_and_other_structures_" * 2, "$x$ 晶界", "a b c")
_ROUNDING = 1.5 / 72  # of the width of letters and the clearance of labels, in inches
KINDS = ("pareto", "classes", "curves", "memory", "ranks", "labels")


def many(count: int, dataset: str = "steel", labels: int | None = None) -> list[Record]:
    """Methods with long names and costs of many magnitudes; one failed."""
    records = []
    for k in range(count):
        name = NAMES[k % len(NAMES)] + (f" {k}" if k >= len(NAMES) else "")
        dice = 0.95 - 0.02 * k - (0.01 * k if dataset == "d1" else 0.0)
        cell = make_cell(
            name,
            dataset=dataset,
            labels=labels,
            options={"condition": "concat_everything", "decoder": "frozen"} if k % 3 else {},
        )
        record = make_record(
            cell,
            dice=dice,
            cost=make_cost(10 ** (k % 7), 10.0 ** (k % 4), 150 * 1.1**k),
            prompts="oracle" if k % 4 == 1 else "none",
            env={**ENV, "split": {"train": labels or 20}},
        )
        metrics: dict[str, float | None] = {
            f"dice/{one}": dice - 0.1 * i for i, one in enumerate(CLASSES)
        }
        records.append(
            dataclasses.replace(record, classes=CLASSES, metrics={**record.metrics, **metrics})
        )
    return [*records, make_failure(make_cell("failed " + NAMES[0], dataset=dataset, labels=labels))]


def figures(kind: str, records: list[Record], sheet: Sheet) -> list[Figure]:
    drawn = draw_for_paper(kind, make_comparisons(to_frame(records)), sheet, {}, Path())
    return [one.figure for one in drawn]


def texts(figure: Figure) -> Iterator[Text]:
    """All texts that are visible, with letters."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip():
            yield text


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("millimetres", [88, 180])
@pytest.mark.filterwarnings("error")  # such as: no room for a panel, a letter that the font lacks
def test_figures_have_the_width_and_letters_of_a_journal_and_nothing_is_cut(
    kind: str, count: int, millimetres: int
) -> None:
    records = many(count)
    if kind == "labels":
        records += many(count, labels=4)
    if kind == "ranks":
        records += [*many(count, "d1"), *many(count, "d2")]
    drawn = figures(kind, records, paper_sheet(millimetres))
    assert bool(drawn) is not (kind == "ranks" and count < 3)
    for figure in drawn[:1]:
        assert figure.get_figwidth() * 25.4 == pytest.approx(millimetres)
        inked = figure.get_tightbbox()  # of all that is drawn, in inches
        assert inked.x0 >= -_ROUNDING
        assert inked.y0 >= -_ROUNDING
        assert inked.x1 <= figure.get_figwidth() + _ROUNDING
        assert inked.y1 <= figure.get_figheight() + _ROUNDING
        assert min(float(text.get_fontsize()) for text in texts(figure)) >= 6
        assert not any(text.get_parse_math() for text in texts(figure))


def _middle(box: Bbox, axis: Axis) -> Bbox:
    """The tick of a label, in its axes."""
    axes = axis.axes
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    x, y = (x, axes.bbox.y0) if isinstance(axis, XAxis) else (axes.bbox.x0, y)
    return Bbox([[x, y], [x, y]])


@pytest.mark.parametrize("kind", ["classes", "memory", "pareto"])
def test_names_do_not_cover_each_other(kind: str) -> None:
    (figure,) = figures(kind, many(40), paper_sheet(88))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            boxes = [
                label.get_window_extent()
                for label in axis.get_ticklabels()
                if label.get_visible() and label.get_text()
            ]
            shown = [box for box in boxes if axes.bbox.padded(1).overlaps(_middle(box, axis))]
            for one, other in itertools.pairwise(shown):
                wide = min(one.x1, other.x1) - max(one.x0, other.x0)
                high = min(one.y1, other.y1) - max(one.y0, other.y0)
                assert min(wide, high) <= 1


def test_names_are_wrapped_and_stay_different() -> None:
    assert wrap_name("med_sa[condition=add,decoder=frozen]", 22) == (
        "med_sa[condition=add,\ndecoder=frozen]"
    )
    long = wrap_names(["x" * 100, "x" * 101, "y"], 10)
    assert len(set(long)) == 3
    assert long[2] == "y"
    assert wrap_name("方", 10) == "[U+65B9]"


def test_a_report_is_not_scaled_and_has_a_title() -> None:
    (figure,) = figures("pareto", many(3), REPORT)
    assert figure.get_figwidth() == 11
    assert figure.get_suptitle().startswith("steel: equal protocol")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = Store.open(tmp_path)
    rank: dict[str, OptionValue] = {"rank": 8}
    for name, options in (("lora", None), ("lora", rank), ("unet", None), ("full", None)):
        for labels in (None, 5):
            store.write(make_record(make_cell(name, options=options, labels=labels)))
        cell = make_cell(name, options=options, dataset="nuclei")
        store.write(make_record(dataclasses.replace(cell, dataset_sha="e" * 64)))
    return tmp_path


def report(folder: Path, *words: str) -> int:
    return main(["report", "--out", str(folder), *words])


def test_the_command_writes_one_pdf_with_embedded_truetype_fonts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "paper" / "figure_1.pdf"
    chosen = ["--datasets", "steel", "--methods", "lora,unet", "--width", "88mm"]
    assert report(folder, "--figure", "pareto", *chosen, "--to", str(file)) == 0
    assert str(file) in capsys.readouterr().out
    content = file.read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ", content)
    assert box is not None
    assert float(box[1]) / 72 * 25.4 == pytest.approx(88, abs=0.1)
    assert not {"tables", "plots", "figures"} & {path.name for path in folder.iterdir()}


def test_the_command_writes_a_figure_for_each_table(folder: Path) -> None:
    assert report(folder, "--figure", "memory", "--format", "png", "--width", "3.5in") == 0
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {f"{name}_memory.png" for name in ("nuclei", "steel", "steel_5-labels")}
    with Image.open(folder / "figures" / "steel_memory.png") as picture:
        assert picture.width == 3.5 * 600


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--figure", "paretto"], "no figure 'paretto'. Did you mean 'pareto'?"),
        (["--figure", "pareto", "--width", "9mm"], "--width is '9mm': give 60mm to 400mm"),
        (["--figure", "pareto", "--width", "wide"], "--width is 'wide': give 60mm"),
        (["--figure", "pareto", "--format", "jpg"], "no format of figures 'jpg'"),
        (["--figure", "pareto", "--to", "a.jpg"], "no format of figures 'jpg'"),
        (["--figure", "pareto", "--methods", "lara"], "'lara'. Did you mean 'lora'?"),
        (["--figure", "pareto", "--datasets", "stel"], "'stel'. Did you mean 'steel'?"),
        (["--figure", "pareto", "--to", "a.pdf"], "several tables have a figure 'pareto' (nuclei,"),
        (["--figure", "sizes"], "no figure 'sizes' of these records: it needs objects"),
        (["--figure", "gallery"], "it needs stored predictions"),
        (["--figure", "pareto", "--latex"], "--latex and --figure are two reports"),
        (["--figure", "pareto", "--against", "lora"], "--against compares rows in tables"),
        (["--figure", "pareto", "--columns", "dice"], "--columns is for --latex"),
        (["--width", "88mm"], "--width is for --figure"),
        (["--methods", "lora"], "--methods is for --latex or --figure"),
    ],
)
def test_a_wrong_choice_is_one_sentence(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(folder, *words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not list(folder.rglob("*.pdf"))


def test_tables_and_rows_are_chosen_by_their_names(folder: Path) -> None:
    every = make_comparisons(to_frame(Store.open(folder).stream()))

    def labels(text: str) -> set[str]:
        return {row.label for one in choose_methods(every, text) for row in one.rows}

    assert labels("lora") == {"lora"}
    assert labels("lora[rank=8|8],unet") == {"lora[rank=8]", "unet"}
    (only,) = choose_methods(every[:1], "lora (sam_nano, pretrained)")
    assert [row.label for row in only.rows] == ["lora"]
    assert [one.slug for one in choose_datasets(every, "steel")] == ["steel"]
    named = choose_datasets(every, "steel_5-labels,nuclei")
    assert [one.slug for one in named] == ["steel_5-labels", "nuclei"]
    assert [one.slug for one in choose_methods(named, "lora")] == ["steel_5-labels", "nuclei"]
    with pytest.raises(UserError, match="no dataset in these records 'x'"):
        choose_datasets(every, "x")


def test_a_gallery_has_the_pixels_of_its_images(tmp_path: Path) -> None:
    """False positives and negatives have their colours in the picture, one pixel each."""
    mask = np.zeros((400, 500), np.uint8)
    mask[100:200, 100:200] = 1
    predicted = mask.copy()
    predicted[0, 0], predicted[150, 150] = 1, 0
    record = make_record(make_cell("lora"), image_dice=[0.9])
    folder = tmp_path / record.cell.id
    folder.mkdir()
    Image.fromarray(predicted).save(folder / "image_0.png")
    frame = to_frame([record])
    (one,) = make_comparisons(frame)
    lookup = lambda _: (np.full((400, 500, 3), 128, np.uint8), mask)  # noqa: E731
    sheet = paper_sheet(88)
    with style(sheet.scale):
        figure = draw_gallery(one, assign(frame, one.rows), tmp_path, lookup, sheet)
    assert figure is not None
    pictures: list[Any] = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    errors = pictures[-1]
    assert errors.shape == (400, 500, 3)
    for place, kind in (((0, 0), "false positive"), ((150, 150), "false negative")):
        assert "#{:02X}{:02X}{:02X}".format(*errors[place]) == ERRORS[kind]
    shown = figure.axes[0].get_window_extent().width  # in pixels of the PNG
    assert shown >= 0.9 * 500
