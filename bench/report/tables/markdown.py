"""Write Markdown tables; all Markdown tables of the project are made here."""

from collections.abc import Sequence

from tabulate import tabulate

from bench.wording import plain_markdown


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
