"""Output of any kind: terminals without Unicode, closed pipes, full devices, strange names."""

import ast
import os
import re
import shlex
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
STRANGE = (
    "a\nb",
    "`x`",
    "a|b",
    "<script>x</script>",
    "=1+1",
    "@x",
    "\x1b[31m",
    "[red]",
    "\udcff",
    "\u202ex",
)
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
@pytest.mark.parametrize(
    ("words", "code"),
    [("--help", 0), ("suite list", 0), ("nonsense", 2), ("status --out nowhere", 2)],
)
def test_streams_that_are_full_or_closed(words: str, code: int) -> None:
    """Exit code 2 where output is lost, and one sentence where it can be printed."""
    full = "exec >/dev/full; "
    for streams, expected in ((full, 2), (full + "exec 2>&1; ", 2), ("exec <&- >&- 2>&-; ", code)):
        done = subprocess.run(
            f'{streams}"{sys.executable}" -m bench {words}',
            shell=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            check=False,
        )
        assert done.returncode == expected, (streams, done.stderr)
        assert done.stderr.count(b"\n") == (streams == full), done.stderr


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
    assert not {"\x1b", "\u202e"} & set(plain(name))
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


@pytest.mark.parametrize("name", ["a`b``` c", "a\n```\nb", 'it\'s "x"', "plain"])
def test_the_commands_of_a_model_card_are_whole(tmp_path: Path, name: str) -> None:
    path = make_kept_model(tmp_path / f"{name}.safetensors")
    section = model_card(path, read_header(path)).split("## How to load it\n\n")[1]
    command, code = (
        match[2] for match in re.finditer(r"^(`{3,})\w*\n(.*?)\n\1$", section, re.M | re.S)
    )
    assert shlex.split(command)[:4] == ["run_bench.py", "predict", "--model", path.name]
    (call,) = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)][:1]
    assert call.value == path.name


def test_the_commands_of_a_plain_model_card(tmp_path: Path) -> None:
    path = make_kept_model(tmp_path / "m.safetensors")
    card = model_card(path, read_header(path))
    command = "run_bench.py predict --model m.safetensors IMAGES --out predictions"
    assert f"\n```\n{command}\n```\n\n```python\nimport bench\n" in card
    assert card.endswith('("m.safetensors")\nsegmentation = model.predict("image.png")\n```\n')
