"""The status of a results folder: what runs where, what is done, what failed, and the time left."""

import os
import platform
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from bench.files import boot_id, check_regular, parse_json
from bench.run.claims import is_claimed
from bench.run.event_log import read_events
from bench.run.store import RecordError
from bench.spec import Status

_RUN = re.compile(r"_s\d+_f\d+_[0-9a-f]+$")  # end of an id: seed, fold and hash


@dataclass
class StartedCell:
    """A cell that was started and has not ended.

    Attributes:
        cell: its id.
        host: name of its machine; None if it is not known.
        pid: number of its process on this machine; None if it is not known.
        device: of torch, or the name of the executor that sent it to another machine.
        since: when it started, in UTC (ISO 8601); None if it is not known.
        phase: the last one that was logged, as "data", "training" or "evaluate".
        step: steps of the training at the last line of the log.
        steps: of the whole training.
        state: "running" (its claim is locked on this machine), "elsewhere" (it was started by
            another machine, where nothing can be checked from here) or "interrupted" (it was
            started here, and nobody works on it).
    """

    cell: str
    host: str | None = None
    pid: int | None = None
    device: str | None = None
    since: str | None = None
    phase: str = "starting"
    step: int = 0
    steps: int | None = None
    state: str = "running"


@dataclass(frozen=True)
class FolderStatus:
    """What `read_status` finds.

    Attributes:
        folder: the results folder.
        records: status of records to their number.
        failed: records that are not "ok": "cell", "status" and "error".
        started: cells that were started and have not ended.
        waiting: cells that commands which still run are going to start.
        left: cells that ended commands have left; the same command runs them.
        seconds_left: estimate for the running and waiting cells; None without a basis.
        notes: sentences on lines of the log that cannot be read.
    """

    folder: Path
    records: Mapping[str, int]
    failed: tuple[dict[str, str], ...]
    started: tuple[StartedCell, ...]
    waiting: int
    left: int
    seconds_left: float | None
    notes: tuple[str, ...]

    @property
    def running(self) -> list[StartedCell]:
        """The cells that run, as far as is known."""
        return [cell for cell in self.started if cell.state != "interrupted"]

    def to_dict(self) -> dict[str, Any]:
        """The status as plain containers that JSON can hold."""
        return {
            **vars(self),
            "folder": str(self.folder),
            "records": dict(self.records),
            "failed": list(self.failed),
            "started": [asdict(cell) for cell in self.started],
            "notes": list(self.notes),
        }


@dataclass
class _Command:
    """A run command that has not ended, as far as the log says."""

    host: str
    pid: int
    jobs: int
    to_do: set[str]
    boot: str

    @property
    def alive(self) -> bool:
        """Whether its process exists; True for other machines, False from before a restart."""
        if self.host != platform.node():
            return True
        if self.boot not in ("", boot_id()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


@dataclass
class _Log:
    """What the events of a folder add up to."""

    commands: dict[tuple[str, int], _Command] = field(default_factory=dict)
    ended: list[_Command] = field(default_factory=list)
    started: dict[str, StartedCell] = field(default_factory=dict)
    starters: dict[str, str] = field(default_factory=dict)  # id to the host of its command
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    unreadable: list[int] = field(default_factory=list)

    def read(self, folder: Path) -> None:
        """Take in the events of a folder, one at a time."""
        for event in read_events(folder, self.unreadable):
            key = event.get("host", ""), event.get("pid", 0)
            if event["event"] == "run_started":
                self._end(key)  # a number of a process that was used again
                self.commands[key] = _Command(
                    *key, event["jobs"], set(event["to_do"]), event.get("boot", "")
                )
            elif event["event"] in ("run_finished", "run_stopped"):
                self._end(key)
            elif "cell" in event:
                self._take_cell(event)

    def _end(self, key: tuple[str, int]) -> None:
        if key in self.commands:
            self.ended.append(self.commands.pop(key))

    def _take_cell(self, event: Mapping[str, Any]) -> None:
        name = event["cell"]
        if event["event"] == "cell_started":
            place = event["cell_host"], event["cell_pid"], event["device"]
            self.started[name] = StartedCell(name, *place, event["time"], steps=event["steps"])
            self.starters[name] = event["host"]
        elif event["event"] == "cell_finished":
            self.started.pop(name, None)
            self.seconds[_group(name)].append(event["seconds"])
            for command in (*self.commands.values(), *self.ended):
                command.to_do.discard(name)
        elif (cell := self.started.get(name)) is not None:
            cell.phase = event.get("phase", "training")
            cell.step = event.get("step", cell.step)


def read_status(folder: Path) -> FolderStatus:
    """Read records, claims and the log of a results folder; nothing is changed.

    Claims are tested by their locks, which hold on this machine only.

    Args:
        folder: results folder.

    Raises:
        RecordError: a record is not JSON.
    """
    log = _Log()
    log.read(folder)
    counts, failed, recorded = _read_records(folder)
    claims = folder / "claims"
    for path in claims.glob("[!.]*"):  # also of runs that wrote no log
        name, known = path.name, path.name in log.started or path.name in recorded
        if not known and is_claimed(claims, name):
            log.started[name] = StartedCell(name, platform.node())
    for name, cell in log.started.items():
        cell.state = _state(folder, cell, log.starters.get(name, platform.node()))
    commands = list(log.commands.values())
    alive = [command for command in commands if command.alive]
    running = {name for name, cell in log.started.items() if cell.state != "interrupted"}
    waiting = {name for command in alive for name in command.to_do} - running
    dead = [*log.ended, *(command for command in commands if command not in alive)]
    left = {name for command in dead for name in command.to_do} - running - waiting - recorded
    started = tuple(sorted(log.started.values(), key=lambda cell: (cell.state, cell.since or "")))
    notes = _notes(log.unreadable)
    jobs = max(1, sum(command.jobs for command in alive))
    seconds = _seconds_left(log, [log.started[name] for name in sorted(running)], waiting, jobs)
    return FolderStatus(folder, counts, failed, started, len(waiting), len(left), seconds, notes)


def _read_records(folder: Path) -> tuple[dict[str, int], tuple[dict[str, str], ...], set[str]]:
    """Numbers of records by status, those that are not "ok", and the ids of all."""
    counts: Counter[str] = Counter()
    failed, recorded = [], set()
    for path in sorted((folder / "records").glob("*.json")):
        try:
            check_regular(path)
            record = parse_json(path.read_bytes())
            status, error = record["status"], record["error"]
            if status not in get_args(Status):
                raise ValueError(f"status is {status!r}")
        except (ValueError, KeyError, TypeError, OSError) as wrong:
            reason = f"is not a record ({type(wrong).__name__}: {wrong})"
            raise RecordError(path, reason) from wrong
        counts[status] += 1
        recorded.add(path.stem)
        if status != "ok":
            failed.append({"cell": path.stem, "status": status, "error": str(error)})
    return dict(counts), tuple(failed), recorded


def _state(folder: Path, cell: StartedCell, starter: str) -> str:
    if is_claimed(folder / "claims", cell.cell):
        return "running"
    return "interrupted" if starter == platform.node() else "elsewhere"


def _seconds_left(
    log: _Log, running: list[StartedCell], waiting: set[str], jobs: int
) -> float | None:
    """By the cells that have ended, first those of the same settings; else by steps so far."""
    if not running and not waiting:
        return None
    now = datetime.now(UTC)
    known = {name: sum(values) / len(values) for name, values in log.seconds.items()}
    every = [second for values in log.seconds.values() for second in values]
    whole = {cell.cell: _whole(cell, now) for cell in running}
    guesses = [guess for guess in whole.values() if guess is not None]
    if not every and not guesses:
        return None
    mean = sum(every or guesses) / len(every or guesses)
    total = sum(known.get(_group(name), mean) for name in waiting)
    for cell in running:
        expected = known.get(_group(cell.cell)) or whole[cell.cell] or mean
        total += max(0.0, expected - _age(cell, now))
    return total / min(jobs, len(running) + len(waiting))


def _whole(cell: StartedCell, now: datetime) -> float | None:
    """Seconds of a whole cell by its steps so far; None before the first ones are logged."""
    return _age(cell, now) * cell.steps / cell.step if cell.steps and cell.step else None


def _age(cell: StartedCell, now: datetime) -> float:
    return (now - datetime.fromisoformat(cell.since)).total_seconds() if cell.since else 0.0


def _group(name: str) -> str:
    """The id without seed, fold and hash."""
    return _RUN.sub("", name)


def _notes(unreadable: list[int]) -> tuple[str, ...]:
    if not unreadable:
        return ()
    count, first = len(unreadable), unreadable[0]
    lines = f"line {first} of events.jsonl" if count == 1 else f"{count} lines of events.jsonl"
    return (f"{lines} cannot be read and was left out, as after a kill while it was written",)
