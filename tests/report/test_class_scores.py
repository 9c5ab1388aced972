from dataclasses import replace
from typing import Any

import pytest
from records import make_cell, make_record
from rich.console import Console

from bench.report.compare.comparison import Comparison, make_comparisons
from bench.report.records.frame import to_frame
from bench.report.tables.terminal import terminal_table
from bench.report.tables.write import latex, markdown, unrounded


def comparison(classes: tuple[str, ...], *metrics: dict[str, Any]) -> Comparison:
    records = [
        replace(
            make_record(cell=make_cell(method=method)),
            classes=classes,
            metrics={"dice_dataset": 0.5, **one},
        )
        for method, one in zip(("lora", "full"), metrics, strict=True)
    ]
    (made,) = make_comparisons(to_frame(records))
    return made


CLASSES = ("ground", "lines", "squares")


def test_dice_of_each_class_has_columns_in_csv_and_latex() -> None:
    classes = ("ground", "grain_boundary", "pore & void")
    made = comparison(
        classes,
        {"dice/grain_boundary": 0.25, "dice/pore & void": 0.755},
        {"dice/grain_boundary": None, "dice/pore & void": 0.5},
    )
    lines = unrounded(made)
    assert list(lines)[-4:] == [f"dice/{c}{end}" for c in classes[1:] for end in ("", "_sd")]
    assert lines["dice/grain_boundary"] == [None, 0.25]
    assert lines["dice/pore & void"] == [0.5, 0.755]
    assert lines["dice/pore & void_sd"] == [None, None]
    text = latex(made)
    header, *rows = (line for line in text.splitlines() if " & " in line)
    assert header.endswith(r" & Dice grain\_boundary (\%) & Dice pore \& void (\%) \\")
    ends = {row.split(" & ")[0]: row.split(" & ")[-2:] for row in rows}
    assert ends == {"full": ["---", r"50.0 \\"], "lora": ["25.0", r"75.5 \\"]}
    alignment = text.split(r"\begin{tabular}{")[1].split("}")[0]
    assert len(alignment) == len(header.split(" & "))


def test_dice_of_each_class_has_columns_in_markdown_and_in_the_terminal() -> None:
    made = comparison(
        CLASSES,
        {"dice/lines": 0.25, "dice/squares": 0.755},
        {"dice/lines": None, "dice/squares": 0.5},
    )
    text = markdown(made)
    assert "Dice lines (%) |   Dice squares (%) |" in text
    assert "25.0" in text
    assert "75.5" in text
    console = Console(width=300)
    with console.capture() as captured:
        console.print(terminal_table(made, 300))
    assert "squares" in captured.get()
    assert "75.5" in captured.get()


@pytest.mark.parametrize("count", [1, 9])
def test_one_class_or_many_have_no_columns(count: int) -> None:
    classes = ("ground", *(f"c{number}" for number in range(count)))
    scores = {f"dice/{name}": 0.5 for name in classes}
    assert comparison(classes, scores, scores).class_columns == []


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (2.4, "2.4 px in the input of the model, and one position"),
        (12.0, "so they are not too narrow"),
        (None, "was not recorded"),
    ],
)
def test_a_class_that_nobody_finds_is_named_with_the_reason(width: float | None, said: str) -> None:
    lost = {"dice/lines": 0.0, "dice/squares": 0.5, "width/lines": width}
    made = comparison(CLASSES, lost, {**lost, "dice/lines": None})
    (note,) = [note for note in made.notes if "No method finds" in note]
    assert "'lines'" in note
    assert said in note
    assert ("--evaluation tiles" in note) == (width == 2.4)
    found = comparison(CLASSES, lost, {**lost, "dice/lines": 0.3})
    assert not [note for note in found.notes if "No method finds" in note]
