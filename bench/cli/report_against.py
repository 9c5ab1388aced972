"""`report --against NAME`: differences, intervals and p-values of all rows against one row."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.parsing import plain
from bench.wording import counted

if TYPE_CHECKING:
    from bench.report.compare.comparison import Comparison


def write_against(
    comparisons: "list[Comparison]", name: str, folder: Path, console: Console
) -> list[Path]:
    """Print the differences in Dice from one row, and write those in all scores as CSV.

    Args:
        comparisons: the tables; those without this row are left out.
        name: label of the row, such as "lora[rank=8]".
        folder: results folder; the files are `against/<slug>.csv` in it.
        console: to print on.

    Returns:
        The files.

    Raises:
        UserError: no ranked row has this name, or a file cannot be written.
    """
    from bench.files import write_atomic
    from bench.report.compare.against import find_references
    from bench.report.tables.against import against_csv, against_table

    files = []
    for comparison, blocks in find_references(comparisons, name).items():
        table = against_table(comparison, blocks, name)
        if table.row_count:
            console.print(table)
        path = folder / "against" / f"{comparison.slug}.csv"
        files.append(write_atomic(path, against_csv(comparison, blocks, name)))
    console.print(plain(f"{counted(len(files), 'file')}: {files[-1]}"), soft_wrap=True)
    return files
