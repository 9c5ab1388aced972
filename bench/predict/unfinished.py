"""The maps of a picture while it is predicted, so that a killed command can go on within it."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bench.errors import DivergedError, UserError, WriteError
from bench.files import all_are, parse_json, write_atomic

SAVE_S = 10.0  # seconds between two notes of the progress
JOURNAL = "progress.json"


class Unfinished:
    """The folder of a picture that is being predicted; a context.

    It holds one file of rows for each map, and a journal that says how many of them are complete. A
    command that is killed leaves the folder, and the next one with the same `made_from` goes on
    behind these rows. The folder is removed at the end of the context, also after an error that
    would come again (`UserError`, `DivergedError`), but not after a `WriteError` or an
    interruption.

    Args:
        folder: is made.
        width: of the picture in pixels.
        types: types of the values of the maps, by name.
        later: those of maps that are written with `write`, after the rows that they are made from;
            they are always written again.
        made_from: what the prediction depends on, as JSON holds it.

    Attributes:
        rows: number of rows that every map has, of all slices together.
        sums: of each slice up to these rows: name to sum of the values.

    Raises:
        UserError: another process predicts this picture into the same folder.
        OSError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        width: int,
        types: Mapping[str, Any],
        made_from: Mapping[str, Any],
        later: Mapping[str, Any] | None = None,
    ) -> None:
        self._folder, self._width, self._made_from = folder, width, made_from
        self._later = tuple(later or ())
        self._types = {name: np.dtype(kind) for name, kind in {**types, **(later or {})}.items()}
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise UserError(
                f"another process predicts into {folder}: wait until it ends, or give another --out"
            ) from None
        self.rows, self.sums = self._stored()
        self._files = {name: self._open(name) for name in self._types}
        self._saved = time.monotonic()

    def __enter__(self) -> "Unfinished":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files; remove them unless the next command can go on with them."""
        for file in self._files.values():
            file.close()
        again = isinstance(error, UserError | DivergedError) and not isinstance(error, WriteError)
        if error is None or again:
            shutil.rmtree(self._folder)
        self._lock.close()

    def add(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append rows (h, W) of every map but those of `later`.

        Args:
            values: by the name of the map; names without a map are ignored.

        Raises:
            OSError: they cannot be written.
        """
        for name, file in self._files.items():
            if name not in self._later:
                file.write(np.ascontiguousarray(values[name], self._types[name]).data)
                rows = len(values[name])
        self.rows += rows

    def write(self, name: str, start: int, values: npt.NDArray[Any]) -> None:
        """Write rows (h, W) of a map of `later`, from a row on, counted over all slices.

        Raises:
            OSError: they cannot be written.
        """
        file, kind = self._files[name], self._types[name]
        file.seek(start * self._width * kind.itemsize)
        file.write(np.ascontiguousarray(values, kind).data)

    def has(self, name: str) -> bool:
        """Whether there is a map of this name."""
        return name in self._files

    def file(self, name: str) -> IO[bytes]:
        """The file of the rows of a map, at its start."""
        self._files[name].seek(0)
        return self._files[name]

    def read(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows (stop - start, W) of a map, counted over all slices; copy them before a change."""
        file, kind = self._files[name], self._types[name]
        row = self._width * kind.itemsize
        file.seek(start * row)
        content = file.read((stop - start) * row)
        file.seek(0, os.SEEK_END)
        return np.frombuffer(content, kind).reshape(stop - start, self._width)

    def save(self) -> None:
        """Note how far the prediction is, if `SAVE_S` seconds have passed since the last note.

        Raises:
            WriteError: the journal cannot be written.
            OSError: the rows cannot be written.
        """
        if time.monotonic() - self._saved < SAVE_S:
            return
        for name, file in self._files.items():
            if name in self._later:
                continue
            file.flush()
            os.fsync(file.fileno())  # before the journal that counts on them
        journal = {"made_from": self._made_from, "rows": self.rows, "sums": self.sums}
        write_atomic(self._folder / JOURNAL, json.dumps(journal), durable=True)
        self._saved = time.monotonic()

    def _stored(self) -> tuple[int, list[dict[str, float]]]:
        """Rows and sums of the journal; none where it does not fit the files or `made_from`."""
        try:
            journal = parse_json((self._folder / JOURNAL).read_text())
            rows, sums, made_from = (journal[key] for key in ("rows", "sums", "made_from"))
            names = [name for name in self._types if name not in self._later]
            sizes = {name: self._path(name).stat().st_size for name in names}
        except (OSError, ValueError, KeyError, TypeError):
            return 0, []
        ours = made_from == self._made_from and type(rows) is int and rows >= 0
        if not ours or not isinstance(sums, list) or not all_are(sums, dict):
            return 0, []
        complete = all(sizes[name] >= self._bytes(name, rows) for name in sizes)
        numbers = all(all_are(one.values(), (int, float)) for one in sums)
        return (rows, sums) if complete and numbers else (0, [])

    def _open(self, name: str) -> IO[bytes]:
        path = self._path(name)
        path.touch()
        file = path.open("r+b")
        file.truncate(0 if name in self._later else self._bytes(name, self.rows))
        file.seek(0, os.SEEK_END)
        return file

    def _bytes(self, name: str, rows: int) -> int:
        return rows * self._width * self._types[name].itemsize

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.rows"
