"""Downloads, with a bar for each."""

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
    """Fetch one thing after the other, with a bar for each."""
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    if not names:
        raise UserError(f"say what to fetch: {', '.join(known)}")
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
