"""The log of a results folder: what ran when and where, one JSON object in each line."""

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import WriteError
from bench.files import boot_id, parse_json
from bench.run.events import (
    CellFinished,
    CellProgressed,
    Event,
    PhaseStarted,
    RunFinished,
    TrainingProgress,
)
from bench.run.executor import Place
from bench.spec import Cell

FILE = "events.jsonl"
EVERY_S = 30.0  # shortest time between two lines on the training of a cell


class EventLog:
    """Appends lines to `events.jsonl`; several processes and machines may do so at the same time.

    Every line has "time" (UTC, ISO 8601), "event", "host" and "pid" of the process that wrote it.
    Lines on a cell also have "cell", its id. Use it in a `with` block, whose error ends the run.

    Args:
        folder: results folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._last: dict[str, float] = {}  # id of a cell to when its training was logged

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Note the error that ends the run, if there is one."""
        if kind is not None:
            self.write("run_stopped", reason=kind.__name__)

    def write(self, event: str, **values: Any) -> None:
        """Append a line.

        Raises:
            WriteError: the file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        common = {"time": now, "event": event, "host": platform.node(), "pid": os.getpid()}
        line = json.dumps({**common, **values}) + "\n"
        try:
            with self._path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                end = file.seek(0, os.SEEK_END)
                if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
                    line = "\n" + line  # a process was killed within a line
                file.write(line.encode())
        except OSError as error:
            raise WriteError(
                f"cannot write '{self._path}' ({error.strerror}): free some space or choose another"
                " --out"
            ) from error

    def start_run(self, cells: int, to_do: list[str], jobs: int, threads: int) -> None:
        """Note the start of a command.

        Args:
            cells: number of cells of its grid.
            to_do: ids of those that it is going to run.
            jobs: cells at a time.
            threads: CPU threads of a cell.
        """
        about = {"cells": cells, "to_do": to_do, "jobs": jobs, "threads": threads}
        self.write("run_started", **about, boot=boot_id())

    def start_cell(self, cell: Cell, place: Place) -> None:
        """Note where a cell runs: "device", "cell_host" and "cell_pid"."""
        self.write(
            "cell_started",
            cell=cell.id,
            device=place.device,
            cell_host=place.host or None,
            cell_pid=place.pid,
            steps=cell.recipe.steps,
        )

    def update(self, event: Event) -> None:
        """Note an event: phases, training (every `EVERY_S` seconds), ends of cells and the run."""
        match event:
            case CellProgressed(cell, PhaseStarted(phase)):
                self.write("cell_phase", cell=cell.id, phase=phase)
            case CellProgressed(cell, TrainingProgress() as training):
                self._note_training(cell, training)
            case CellFinished(record, seconds) if seconds is not None:
                self._last.pop(record.cell.id, None)
                self.write(
                    "cell_finished",
                    cell=record.cell.id,
                    status=record.status,
                    seconds=round(seconds, 3),
                    error=record.error,
                )
            case RunFinished():
                self.write("run_finished")

    def _note_training(self, cell: Cell, training: TrainingProgress) -> None:
        now = time.monotonic()
        if now - self._last.get(cell.id, -EVERY_S) < EVERY_S:
            return
        self._last[cell.id] = now
        self.write(
            "cell_training",
            cell=cell.id,
            step=training.step,
            loss=round(training.loss, 6),
            images_per_s=round(training.images_per_s, 3),
        )


def read_events(folder: Path, unreadable: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log as objects, in their order; a folder without a log has none.

    Args:
        folder: results folder.
        unreadable: gets the numbers of lines, from 1, that hold no event, as after a kill; None:
            they are only left out.
    """
    path = folder / FILE
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                event = parse_json(line)
                known = _is_event(event)
            except (ValueError, KeyError, TypeError):
                known = False
            if known:
                yield event
            elif unreadable is not None and line.strip():
                unreadable.append(number)


def _is_event(event: Any) -> bool:
    """Whether a line is an event whose values have the right types; others may be added to it."""
    if not isinstance(event["event"], str) or datetime.fromisoformat(event["time"]).tzinfo is None:
        return False
    if event["event"] == "run_started" and not {"jobs", "to_do"} <= event.keys():
        return False
    return all(allows(event[key]) for key, allows in _VALUES.items() if key in event)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _or_none(allows: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or allows(value)


_VALUES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("host", "cell", "phase", "boot"), _text),
    **dict.fromkeys(("pid", "jobs", "step"), _count),
    **dict.fromkeys(("steps", "cell_pid"), _or_none(_count)),
    **dict.fromkeys(("device", "cell_host"), _or_none(_text)),
    "to_do": lambda value: isinstance(value, list) and all(map(_text, value)),
    "seconds": lambda value: isinstance(value, int | float) and 0 <= value < 1e12,
}
