"""Downloads with progress bars."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.cli.parsing import AddOptions, plain
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.public.transfer import Say


def add_accept_hash(add: AddOptions) -> None:
    """Add the option `--accept-hash` of `fetch`."""
    add(
        "--accept-hash SHA256  accept a file with this SHA-256, where its publisher states"
        " none; once, and again for a new version; may be repeated",
        action="append",
        default=[],
        type=_sha256,
    )


def fetch_all(
    names: list[str],
    known: Iterable[str],
    fetch: "Callable[[str, Say, Sequence[str]], Path]",
    console: Console,
    accept: Sequence[str] = (),
) -> None:
    """Download files one after the other, with a progress bar for each.

    Args:
        names: what to download, as typed.
        known: names that can be downloaded, for the message if `names` is empty.
        fetch: downloads one name, reports progress, and returns the path.
        console: to print on.
        accept: SHA-256 sums that the user accepts.

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

            def say(done: int, whole: int | None, task: Any = task) -> None:
                bar.update(task, completed=done, total=whole)

            paths[name] = fetch(name, say, accept)
    for name, path in paths.items():
        console.print(plain(f"{name}: {path}"), soft_wrap=True)


def _sha256(text: str) -> str:
    from bench.data.public.accepted import read_sha256

    try:
        return read_sha256(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
