"""Records on disk: one file a cell, whole or not there at all."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.errors import UserError
from bench.spec import SCHEMA, Cell, Record


@dataclass(frozen=True)
class Store:
    """A results folder, which several runs may share on one machine.

    `records/<id>.json` holds what was measured; `claims/<id>` is locked while a run works on the
    cell, and the system frees the lock however that run ends; `predictions/<id>/` holds class maps.
    """

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Make the folder if need be, and check that it can be written to.

        Raises:
            UserError: it cannot.
        """
        try:
            for part in ("records", "claims", "predictions"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            probe = folder / "records" / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to {folder} ({error.strerror}): give --out a folder you may write to"
            ) from error
        return cls(folder)

    def path(self, cell: Cell) -> Path:
        """Where the cell's record lies."""
        return self.folder / "records" / f"{cell.id}.json"

    def predictions(self, cell: Cell) -> Path:
        """Where the cell's predicted class maps lie."""
        return self.folder / "predictions" / cell.id

    def read(self, cell: Cell) -> Record | None:
        """The cell's record; None while there is none."""
        path = self.path(cell)
        return _read(path) if path.exists() else None

    def read_all(self) -> list[Record]:
        """Every record, in the order of the names.

        Raises:
            UserError: a file is no record of this schema.
        """
        return list(self.stream())

    def stream(self) -> Iterator[Record]:
        """As `read_all`, one after the other: many records need not fit into memory together."""
        for path in sorted((self.folder / "records").glob("*.json")):
            yield _read(path)

    def write(self, record: Record) -> None:
        """Write a record so that a kill at any moment leaves the old state or the new one.

        Raises:
            UserError: it cannot be written, as when the disk is full.
        """
        path = self.path(record.cell)
        text = json.dumps(record.to_dict(), indent=1, allow_nan=False)
        try:
            _replace(path, text + "\n")
        except OSError as error:
            raise UserError(
                f"cannot write {path} ({error.strerror}): make room, or give --out another folder"
            ) from error

    @contextmanager
    def claim(self, cell: Cell) -> Iterator[bool]:
        """Yield whether this process alone may work on the cell until the block ends."""
        with (self.folder / "claims" / cell.id).open("w") as file:
            yield _lock(file)


def _replace(path: Path, text: str) -> None:
    """Write beside `path`, then move there; the file and its name are on the disk afterwards."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    entry = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> Record:
    try:
        values = json.loads(path.read_text())
        if values["schema"] != SCHEMA:
            raise UserError(
                f"{path} has record schema {values['schema']}, this version reads {SCHEMA}: "
                "move it away, or use the version that wrote it"
            )
        return Record.from_dict(values)
    except (ValueError, KeyError, TypeError, OSError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path} is no record of this suite ({type(error).__name__}: {error}): move it away"
        ) from error
