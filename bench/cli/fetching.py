"""Downloads with progress bars."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.parsing import plain
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.public.fetch import Say


def fetch_all(
    names: list[str],
    known: Iterable[str],
    fetch: "Callable[[str, Say], Path]",
    console: Console,
) -> None:
    """Download files one after the other, with a progress bar for each.

    Args:
        names: what to download, as typed.
        known: names that can be downloaded, for the message if `names` is empty.
        fetch: downloads one name, reports progress, and returns the path.
        console: to print on.

    Raises:
        UserError: `names` is empty; errors of `fetch` are passed on, and end the downloads.
    """
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    if not names:
        raise UserError(f"name what to download: {', '.join(known)}")
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    paths = {}
    with Progress(*columns, console=console) as bar:
        for name in names:
            task = bar.add_task(name, total=None)
            paths[name] = fetch(name, lambda done, whole, task=task: bar.update(  # type: ignore[misc]
                task, completed=done, total=whole
            ))  # fmt: skip
    for name, path in paths.items():
        console.print(plain(f"{name}: {path}"), soft_wrap=True)
