"""Names of any characters in LaTeX: what is written, and that a TeX compiles it."""

import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from records import make_cell, make_failure, make_record

from bench.files import write_atomic
from bench.report.compare.comparison import make_comparisons
from bench.report.records.columns import COLUMNS
from bench.report.records.frame import to_frame
from bench.report.tables.paper import paper_table
from bench.report.tables.tex import DEFINITION, tex_lines, tex_row, tex_text
from bench.report.tables.write import write_tables
from bench.spec import Record

NAMES = (
    r"\ { } % # & _ ^ ~ $ < > | \" ' `",
    "two\nlines\r\nand\ttabs\x00\x1b[31m\u2028end",
    "Körnung, straße, łódź, Āē, ŋ ą đ «»",
    "钢铁 顕微鏡 강철",
    "=1+1",
    "<script>alert('x')</script>",
    "[2pt] bracket",
    "*star",
    "^^M^^5c",
    r"\input{/etc/hostname}\write18{ls}\end{tabular}",
    "a--b---c ``q'' ?`!` ,,",
    "u\u0308 🙂 \u202eleft µ±→",
    "%",
    "",
)


def records() -> list[Record]:
    made = []
    for place, name in enumerate(NAMES):
        cell = make_cell(name, dataset=NAMES[place], backbone=name, weights=f"/folder/{name}.pth")
        of_class: dict[str, Any] = {f"dice/{name}": 0.5}
        one = make_record(cell, dice=0.5 + place / 50, **of_class)
        made += [one, make_record(dataclasses.replace(cell, seed=1), dice=0.6)]
        made.append(make_record(make_cell(name, dataset="all"), dice=0.5 + place / 50))
        made.append(make_failure(make_cell(name, dataset="all", seed=1), error=f"{name} failed"))
    classes = ("ground", *NAMES[:6])
    scores: dict[str, Any] = {f"dice/{name}": 0.5 for name in classes}
    return [
        *made,
        dataclasses.replace(make_record(make_cell(dataset="classes"), **scores), classes=classes),
    ]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("lora[rank=8]", "lora[rank=8]"),
        ("a_b & 5 % {x}", r"a\_b \& 5 \% \{x\}"),
        ("\\~^", r"\textbackslash{}\textasciitilde{}\textasciicircum{}"),
        ('<a|b> "', r"\textless{}a\textbar{}b\textgreater{} \symbol{34}"),
        ("a\nb\x00c", "a b c"),
        ("a--b ``", "a-{}-b `{}`"),
        ("ko\u0308rnung Łódź", "körnung Łódź"),
        ("钢", r"\unicodetext{钢}{[U+94A2]}"),
        ("ąŋ", r"\unicodetext{ą}{[U+0105]}\unicodetext{ŋ}{[U+014B]}"),
    ],
)
def test_no_character_of_a_name_is_a_command(text: str, written: str) -> None:
    assert tex_text(text) == written


def test_a_row_is_no_argument_of_the_line_break_before_it() -> None:
    assert tex_row(["[2pt]", "x"]) == r"{}[2pt] & x \\"
    assert tex_row(["*", "x"]) == r"{}* & x \\"
    assert tex_row(["x", "[y"]) == r"x & [y \\"


def test_the_macro_is_defined_where_it_is_needed() -> None:
    assert tex_lines(["a"]) == "a\n"
    assert tex_lines([tex_text("钢")]).splitlines()[0] == DEFINITION


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["pdflatex", "latex", "xelatex", "lualatex"])
def test_tables_with_any_name_compile(engine: str, tmp_path: Path) -> None:
    tables = [path for path in write_tables(to_frame(records()), tmp_path) if path.suffix == ".tex"]
    assert len(tables) == len({path.stem for path in tables}) >= len(NAMES)
    compile_tables(engine, tables)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["pdflatex", "latex", "xelatex", "lualatex"])
@pytest.mark.parametrize("against", [None, NAMES[0], NAMES[3]])
def test_tables_for_a_paper_compile(engine: str, against: str | None, tmp_path: Path) -> None:
    tables = []
    for comparison in make_comparisons(to_frame(records())):
        tables.append(tmp_path / f"{comparison.slug}.tex")
        write_atomic(tables[-1], paper_table([comparison], COLUMNS, against))
    assert len(tables) >= len(NAMES)
    compile_tables(engine, tables)


def compile_tables(engine: str, tables: list[Path]) -> None:
    """Compile a document that reads all these tables; skips where the engine is not installed."""
    program, find = shutil.which(engine), shutil.which("kpsewhich")
    if program is None or find is None:
        pytest.skip(f"no {engine}")
    if subprocess.run([find, "booktabs.sty"], capture_output=True, check=False).returncode:
        pytest.skip("no booktabs")
    folder = tables[0].parent
    names = {path: f"table-{place}" for place, path in enumerate(tables)}
    for path, name in names.items():
        shutil.copyfile(path, folder / f"{name}.tex")
    lines = [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}"]
    lines += [rf"\input{{{name}}}\clearpage" for name in names.values()]
    lines.append(r"\listoftables")  # reads in the second run what captions wrote in the first
    (folder / "document.tex").write_text("\n".join([*lines, r"\end{document}"]), encoding="utf-8")
    command = [program, "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape"]
    for _ in range(2):
        done = subprocess.run(
            [*command, "document"], cwd=folder, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
