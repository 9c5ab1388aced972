"""Write Markdown tables; all Markdown tables of the project are made here."""

import re
from collections.abc import Sequence

from tabulate import tabulate


def plain_markdown(text: str) -> str:
    """Text that stays in its line and holds no HTML, whatever names are in it.

    Args:
        text: a piece of Markdown; addresses as <https://...> are kept, and so is code in backticks.
    """
    line = " ".join(text.splitlines()) if text else text
    code = line.startswith("`") and line.endswith("`")
    return line if code else re.sub(r"<(?!https?://)(?=[A-Za-z/!?])", "&lt;", line)


def markdown_code(text: str) -> str:
    """Text in backticks; those in it become quotes."""
    return "`" + " ".join(text.replace("`", "'").splitlines()) + "`"


def markdown_table(
    headers: Sequence[str], lines: Sequence[Sequence[str]], alignments: Sequence[str]
) -> str:
    """Return a Markdown table whose columns are padded to equal width.

    Args:
        headers: one for each of C columns.
        lines: the rows, with C texts each, written by `plain_markdown`; numbers are not changed.
        alignments: "left" or "right" for each column.

    Returns:
        The table, without a line break at its end.
    """
    header, *escaped = (
        [plain_markdown(text).replace("|", "\\|") for text in line] for line in (headers, *lines)
    )
    return str(tabulate(escaped, header, "pipe", colalign=alignments, disable_numparse=True))
