"""One JSON file per cell, written atomically."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import is_text, parse_json, remove_leftovers, write_atomic
from bench.run import claims
from bench.spec import SCHEMA, Cell, Record

KEEP_RULES = ("none", "best", "all")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # of a pair, or alone


class RecordError(UserError):
    """A file does not hold a valid record.

    Args:
        path: of the file.
        reason: why, as the rest of a sentence after the path.
        remedy: what the user can do.

    Attributes:
        reason: why, without the name of the file.
    """

    def __init__(self, path: Path, reason: str, remedy: str = "move the file away") -> None:
        super().__init__(f"{path} {reason}: {remedy}")
        self.reason = reason


@dataclass(frozen=True)
class Store:
    """A results folder. Several processes on one machine may write to it at the same time.

    `records/<id>.json` holds the result of a cell. `claims/<id>` is locked while a process works on
    the cell (`bench.run.claims`).
    `predictions/<id>/` holds the predicted class maps, `models/<id>.safetensors` a kept model.
    `training/<id>/` is there while a cell trains, and after it was stopped.

    Attributes:
        folder: of the results.
        keep: which models the cells of this run keep, one of `KEEP_RULES`.
        save_s: seconds after which the cells of this run save the state of their training; 0 for
            never.
        trainings: folder of these states; None for `training` in `folder`.
    """

    folder: Path
    keep: str = "none"
    save_s: float = 0.0
    trainings: Path | None = None

    @classmethod
    def open(cls, folder: Path, keep: str = "none") -> "Store":
        """Create the folder if it does not exist, and check that files can be written to it.

        Args:
            folder: gets the subfolders `records`, `claims` and `predictions`.
            keep: one of `KEEP_RULES`; it is not checked.

        Raises:
            UserError: the folder cannot be created or written to.
        """
        try:
            for part in ("records", "claims", "predictions"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder / "records"):
                pass
        except OSError as error:
            raise UserError(
                f"cannot write to {folder} ({error.strerror}): give --out a folder you may write to"
            ) from error
        return cls(folder, keep)

    def path(self, cell: Cell) -> Path:
        """File of the cell's record; it need not exist."""
        return self.folder / "records" / f"{cell.id}.json"

    def predictions(self, cell: Cell) -> Path:
        """Folder of the cell's predicted class maps; it need not exist."""
        return self.folder / "predictions" / cell.id

    @property
    def models(self) -> Path:
        """Folder of the kept models; it need not exist."""
        return self.folder / "models"

    def model(self, cell: Cell) -> Path:
        """File of the cell's kept model; it need not exist."""
        return self.models / f"{cell.id}.safetensors"

    def training(self, cell: Cell) -> Path:
        """File of the state of the cell's training; it need not exist.

        Its folder is the cell's own, so that all that a killed save leaves there can be removed.
        """
        return self._trainings / cell.id / "state.safetensors"

    def proposer_training(self, cell: Cell) -> Path:
        """File of the state of the training of the cell's proposer, likewise."""
        return self._trainings / f"{cell.id}.proposer" / "proposer.safetensors"

    @property
    def _trainings(self) -> Path:
        return self.trainings or self.folder / "training"

    def saved_trainings(self) -> set[str]:
        """The ids of the cells that have a state of their training."""
        return {path.parent.name for path in self._trainings.glob("*/state.safetensors")}

    def remove_training(self, cell: Cell) -> None:
        """Remove the states of the cell's trainings, and what saves that were killed have left.

        Nobody may work on the cell. What cannot be removed stays, since nothing depends on it.
        """
        for state in (self.training(cell), self.proposer_training(cell)):
            shutil.rmtree(state.parent, ignore_errors=True)

    def read(self, cell: Cell) -> Record | None:
        """The cell's record, or None if there is none yet.

        Raises:
            RecordError: the file is not a valid record.
        """
        path = self.path(cell)
        return read_record(path, check_id=True) if path.exists() else None

    def read_all(self) -> list[Record]:
        """All records, sorted by id; empty for a folder without any.

        Raises:
            RecordError: a file is not a valid record.
        """
        return list(self.stream())

    def stream(self) -> Iterator[Record]:
        """Yield all records, sorted by id, with only one of them in memory at a time.

        Raises:
            RecordError: a file is not a valid record, or is a copy under another name.
        """
        for path in sorted((self.folder / "records").glob("*.json")):
            yield read_record(path, check_id=True)

    def write(self, record: Record) -> None:
        """Write a record; it replaces an earlier record of the same cell.

        Raises:
            UserError: the file cannot be written, for example because the disk is full.
            ValueError: a number is NaN or infinite.
        """
        text = json.dumps(record.to_dict(), indent=1, allow_nan=False)
        write_atomic(self.path(record.cell), text + "\n", durable=True)

    def claim(self, cell: Cell) -> AbstractContextManager[bool]:
        """As `bench.run.claims.claim`; the folder must have been opened (`open`)."""
        return claims.claim(self.claims, cell.id)

    @property
    def claims(self) -> Path:
        """Folder of the claims."""
        return self.folder / "claims"

    def claimed(self) -> list[str]:
        """Ids of the cells that processes work on, sorted."""
        names = sorted(path.name for path in self.claims.glob("[!.]*"))
        return [name for name in names if claims.is_claimed(self.claims, name)]

    def remove_leftovers(self) -> None:
        """Remove temporary files that killed processes have left, also those of reports."""
        remove_leftovers(self.folder, without=("predictions", "claims"))


def read_record(path: Path, *, check_id: bool = False) -> Record:
    """Read the record in a file.

    Args:
        path: file of a `Store`.
        check_id: also check that the id of the record's cell equals the id in the file and the
            name of the file.

    Raises:
        RecordError: the file cannot be read, is not a valid record of this schema, or (with
            `check_id`) has another id.
    """
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            raise RecordError(path, "is not a record (a folder, a pipe or a device)")
        text = path.read_text()
        values = parse_json(text, parse_constant=_no_constant, parse_int=_whole)
        if _SURROGATE.search(text) and not is_text(json.dumps(values, ensure_ascii=False)):
            raise ValueError("it holds text that is not UTF-8")
        schema = values["schema"]
        if schema != SCHEMA:
            raise RecordError(
                path,
                f"has record schema {schema}, this version reads {SCHEMA}",
                "move the file away, or use the version that wrote it",
            )
        record = Record.from_dict(values)
    except (ValueError, KeyError, TypeError, OSError) as error:
        if isinstance(error, UserError):
            raise
        raise RecordError(path, f"is not a record ({type(error).__name__}: {error})") from error
    computed, stored = record.cell.id, values.get("id")
    if check_id and computed == stored != path.stem:
        raise RecordError(
            path,
            f"is the record '{stored}' under another name, so it would count twice",
            "move the file away, or give it this name if there is no such file",
        )
    if check_id and not computed == stored == path.stem:
        raise RecordError(
            path,
            f"has an id that moved: '{path.stem}' is the file name, '{stored}' is in the file, "
            f"'{computed}' follows from its cell",
            "restore the file, or the definition of the id in bench/spec.py",
        )
    return record


def _no_constant(word: str) -> float:
    raise ValueError(f"it holds {word} in place of a number")


def _whole(text: str) -> int:
    """A whole number; those that tables and plots cannot hold are refused."""
    number = int(text)
    if abs(number) >= 1 << 63:
        raise ValueError(f"it holds a whole number of {len(text)} digits")
    return number
