"""Words: counts in messages, Unicode forms, the name of the program and its version."""

import importlib.metadata
import re
import sys
import tomllib
import unicodedata
from pathlib import Path

PROJECT = "sam-adapt-bench"
_ADDRESSES = ("issues", "bug tracker", "tracker", "repository", "source", "homepage")


def counted(number: int, what: str) -> str:
    """A number with its noun in singular or plural, such as "1 label" and "5 labels".

    Args:
        number: how many.
        what: the noun in the singular; its plural must end in "s".
    """
    return f"{number} {what}{'s'[: number != 1]}"


def plain_field(value: object) -> object:
    """A value for a CSV file: text that a spreadsheet would take for a formula gets a quote first.

    Args:
        value: of a cell; what is no text is returned as it is.
    """
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and value != "-":
        return f"'{value}"
    return value


def plain_markdown(text: str) -> str:
    """Text that stays in its line and holds no HTML, whatever names are in it.

    Args:
        text: a piece of Markdown; addresses as <https://...> are kept, and so is code in backticks.
    """
    line = " ".join(text.splitlines()) if text else text
    code = line.startswith("`") and line.endswith("`")
    return line if code else re.sub(r"<(?!https?://)(?=[A-Za-z/!?])", "&lt;", line)


def code_block(text: str, language: str = "") -> str:
    """Text as a block of code in Markdown, which ends at its end whatever is in it.

    Args:
        text: of one or more lines.
        language: of the code; "" for none.
    """
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def nfc(text: str) -> str:
    """Text in the Unicode form NFC: letters with accents are one sign, as most systems write."""
    return unicodedata.normalize("NFC", text)


def program_name() -> str:
    """The program as the user called it: `run_bench.py`, `python -m bench` or `sam-bench`.

    Help and hints repeat this name. Code that uses `bench` as a library gets `sam-bench`.
    """
    path = Path(sys.argv[0])
    if path.name == "run_bench.py":
        return path.name
    return "python -m bench" if path.parts[-2:] == ("bench", "__main__.py") else "sam-bench"


def project_address() -> str:
    """Where to report a fault: the project's address in its metadata, else its maintainers."""
    try:
        lines = importlib.metadata.metadata(PROJECT).get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    addresses = {
        label.strip().lower(): url for label, _, url in (one.partition(",") for one in lines)
    }
    chosen = next((addresses[key] for key in _ADDRESSES if key in addresses), "")
    return chosen.strip() or "the maintainers of this project"


def project_version() -> str:
    """The version of the installed project, else of the pyproject.toml of the checkout."""
    try:
        return importlib.metadata.version(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
        version: str = tomllib.loads(pyproject.read_text())["project"]["version"]
        return version
