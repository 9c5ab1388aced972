"""Output of any kind: terminals without Unicode, closed pipes, full devices, strange names."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from kept_models import make_kept_model

from bench.cli.parsing import plain
from bench.keep.header import read_header
from bench.keep.model_card import model_card
from bench.report.tables.delimited import to_csv
from bench.report.tables.markdown import markdown_code, markdown_table
from bench.report.tables.tex import tex_text
from bench.wording import plain_field, plain_markdown

ROOT = Path(__file__).parents[2]
STRANGE = ("a\nb", "`x`", "a|b", "<script>x</script>", "=1+1", "@x", "\x1b[31m", "[red]", "\udcff")
COMMAND = "from bench.cli import main; raise SystemExit(main())"


def _run(words: list[str], **settings: object) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", COMMAND, *words]
    return subprocess.run(command, env=environment, cwd=ROOT, check=False, **settings)  # type: ignore[call-overload]


@pytest.mark.slow
def test_an_ascii_terminal_shows_escapes() -> None:
    done = _run(["data", "list", "--plugins", "n\u00f6"], capture_output=True)
    assert (done.returncode, b"Traceback" in done.stderr) == (2, False)
    assert rb"\xf6" in done.stderr


@pytest.mark.slow
def test_a_full_device_is_one_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        done = _run(["data", "list"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"No space left on device" in done.stderr


@pytest.mark.slow
def test_a_closed_pipe_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = _run(["data", "list"], stdout=pipe, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", STRANGE)
def test_strange_names_stay_in_their_cell(name: str) -> None:
    table = markdown_table(["Name", "x"], [[name, "1"], [markdown_code(name), "2"]], ["left"] * 2)
    lines = table.splitlines()
    assert len(lines) == 4
    assert all(line.replace("\\|", "").count("|") == 3 for line in lines)
    assert "<script" not in lines[2]
    assert markdown_code(name).count("`") == 2
    assert "\n" not in plain_markdown(name)
    assert "\n" not in tex_text(name)
    assert "\x1b" not in plain(name)
    assert "\x1b" not in tex_text(name)


def test_formulas_are_text_in_csv_files() -> None:
    text = to_csv({"=label": ["=1+1", "@x", "lora", "-"], "value": [-1.5, None, 2, float("nan")]})
    assert text == "'=label,value\n'=1+1,-1.5\n'@x,\nlora,2\n-,nan\n"
    assert plain_field(-1.5) == -1.5
    assert list(map(plain_field, pd.Series(["+a", "b"]))) == ["'+a", "b"]


def test_addresses_and_comparisons_are_kept_in_markdown() -> None:
    for text in ("see <https://example.org/x>", "p < 0.05", "a <-> b"):
        assert plain_markdown(text) == text


def test_strange_names_stay_in_their_line_of_a_model_card(tmp_path: Path) -> None:
    path = make_kept_model(
        tmp_path / "m.safetensors", classes=("a\n# b", "<script>x</script>", "=1")
    )
    card = model_card(path, read_header(path))
    assert "Classes: a # b, &lt;script>x&lt;/script>, =1 (index 0 to 2)" in card
    assert card.count("\n# ") == 0
