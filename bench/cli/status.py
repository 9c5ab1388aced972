"""Show what runs where in a results folder, what is done, what failed, and the time left."""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, add_out, plain
from bench.errors import UserError
from bench.wording import counted

if TYPE_CHECKING:
    from bench.run.status import StartedCell

SHOWN = 20  # cells of a kind


def parser() -> argparse.ArgumentParser:
    """The parser of `status`."""
    parser = ArgumentParser(
        command="status",
        description="Show what runs where, what is done, what failed, and the time left. It reads"
        " records, claims and the log events.jsonl, and changes nothing.",
    )
    add = AddOptions(parser)
    add_out(add)
    add("--json  an object instead of text")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the status of a results folder; returns the exit code 0.

    Raises:
        UserError: the folder does not exist, or a record cannot be read.
    """
    from bench.run.status import read_status

    if not (arguments.out / "records").is_dir():
        raise UserError(f"{arguments.out} is not a results folder: give --out FOLDER")
    status = read_status(arguments.out)
    if arguments.json:
        print(json.dumps(status.to_dict(), indent=1))
        return 0
    words = [f"{count} {name}" for name, count in sorted(status.records.items(), key=_ok_first)]
    words += [f"{len(status.running)} running", f"{status.waiting} waiting"]
    if status.seconds_left is not None:
        left = timedelta(seconds=round(status.seconds_left))
        words.append(f"about {left} left")
    console.print(plain(f"{arguments.out}: {', '.join(words)}"), soft_wrap=True)
    _show_started(status.running, console)
    for record in status.failed[:SHOWN]:
        sentence = f"{record['status']} {record['cell']}: {record['error']}"
        console.print(f"[red]{plain(sentence)}[/]", soft_wrap=True)
    _show_rest(len(status.failed), console)
    interrupted = [cell for cell in status.started if cell.state == "interrupted"]
    for cell in interrupted[:SHOWN]:
        place = f"on {cell.device}, started {_clock(cell.since)}"
        console.print(plain(f"interrupted {cell.cell} ({place})"), soft_wrap=True)
    _show_rest(len(interrupted), console)
    if status.left:
        cells = counted(status.left, "cell")
        console.print(f"{cells} left by commands that ended: run the same command to go on")
    for note in status.notes:
        console.print(f"[yellow]warning: {plain(note)}[/]", soft_wrap=True)
    return 0


def _ok_first(item: tuple[str, int]) -> tuple[bool, str]:
    return item[0] != "ok", item[0]


def _show_started(cells: "Sequence[StartedCell]", console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if not cells:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Cell", overflow="fold")
    for heading in ("Host", "Process", "Device", "Since", "State"):
        table.add_column(heading, overflow="fold")
    for cell in cells[:SHOWN]:
        phase = f"step {cell.step}/{cell.steps}" if cell.phase == "training" else cell.phase
        state = phase if cell.state == "running" else f"{phase} (not checked from here)"
        pid = "" if cell.pid is None else str(cell.pid)
        place = (cell.host or "unknown", pid, cell.device or "unknown")
        table.add_row(plain(cell.cell), *map(plain, place), _clock(cell.since), plain(state))
    console.print(table)
    _show_rest(len(cells), console)


def _show_rest(count: int, console: Console) -> None:
    if count > SHOWN:
        console.print(f"and {count - SHOWN} more (--json lists all)")


def _clock(since: str | None) -> str:
    """A time as the clock of this machine shows it, with the date if it is not today."""
    if since is None:
        return "unknown"
    time, today = datetime.fromisoformat(since).astimezone(), datetime.now(UTC).astimezone().date()
    return time.strftime("%H:%M:%S" if time.date() == today else "%Y-%m-%d %H:%M")
