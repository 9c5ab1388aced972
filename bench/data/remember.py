"""Results about files, remembered between commands by path, size and time of change.

They are JSON files in `read` of the cache folder, one for each folder of images and subject. Each
is written in one step, so that commands may run at the same time: of two that write at once, the
results of one are kept. What is lost is computed again.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import UserError
from bench.files import cache_folder, parse_json, remove_leftovers, write_atomic

MOST_FILES = 200  # the ones written last stay
MOST_RESULTS = 100_000  # in each file
SETTLED_S = 2.0  # a file that changed so lately may change again within one tick of its clock


class State(NamedTuple):
    """Which contents some files have: of `state_of`.

    Attributes:
        key: hash of paths, sizes and times of change.
        settled: whether no file had changed in the last `SETTLED_S` seconds.
    """

    key: str
    settled: bool


def state_of(files: Sequence[Path]) -> State:
    """The state of files; take it before they are read, so that a later change is seen.

    Raises:
        OSError: a file does not exist.
    """
    now = time.time()
    found = [(str(file.resolve()), file.stat()) for file in files]
    states = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in found]
    latest = max((stat.st_mtime for _, stat in found), default=0.0)
    key = hashlib.sha256(repr(states).encode()).hexdigest()[:32]
    return State(key, now - latest >= SETTLED_S)


class Remembered:
    """Results about the files of one folder.

    Args:
        subject: what the results are, with an edition of the code that computes them.
        folder: of the files; it need not exist.
    """

    def __init__(self, subject: str, folder: Path) -> None:
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        place = Path(os.devnull)  # nothing can be kept in it
        with suppress(UserError):
            place = cache_folder()
        self._path = place / "read" / f"{subject}-{name}.json"
        self._results: dict[str, list[Any]] = {}
        self._changed = False
        # A damaged file is as good as none: it is written again.
        with suppress(OSError, ValueError):
            stored = parse_json(self._path.read_text())
            if isinstance(stored, dict):
                self._results = stored

    def recall(self, name: str, state: State) -> Any | None:
        """The result of that name; None if there is none, it was changed, or of another state."""
        entry = self._results.get(name)
        if not isinstance(entry, list) or len(entry) != 3 or entry[0] != state.key:
            return None
        return entry[1] if entry[2] == _digest(entry[1]) else None

    def keep(self, name: str, state: State, result: Any) -> None:
        """Keep a result, unless its state is not settled.

        Args:
            name: what it is recalled by.
            state: of the files that it depends on, taken before they were read.
            result: plain containers that JSON can hold, not None.
        """
        if not state.settled:
            return
        self._results.pop(name, None)  # the newest last
        self._results[name] = [state.key, result, _digest(result)]
        self._changed = True

    def save(self) -> None:
        """Write the results, if there are new ones; the oldest of too many are removed.

        A cache that cannot be written costs time only, so it is no error.
        """
        if not self._changed:
            return
        for name in list(self._results)[:-MOST_RESULTS]:
            del self._results[name]
        with suppress(UserError, OSError):
            write_atomic(self._path, json.dumps(self._results))
            self._changed = False
            remove_leftovers(self._path.parent)
            files = sorted(self._path.parent.glob("*.json"), key=lambda file: file.stat().st_mtime)
            for file in files[:-MOST_FILES]:
                file.unlink(missing_ok=True)


def _digest(result: Any) -> str:
    """What tells a result from one that was changed in the file."""
    return hashlib.sha256(json.dumps(result).encode()).hexdigest()[:16]
