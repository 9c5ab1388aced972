"""Claims of cells: locked files that keep two commands from working on the same cell.

The system releases a lock when its process ends, even if it is killed. On a disk that several
machines share, the lock of a machine that went away may stay. So a claim says who holds it, its
holder touches it once per minute, and a claim that another machine has not touched for
`STALE_S` is taken over.
"""

import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from bench.errors import UserError
from bench.files import boot_id, parse_json, write_error

REFRESH_S = 60.0  # between two touches of a claim
STALE_S = 600.0  # a holder that has not touched its claim for so long is gone
_GATE = ".gate"  # locked for the moment in which a claim is taken over
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def claim(folder: Path, cell_id: str) -> Iterator[bool]:
    """Yield True if the cell is claimed until the block ends, so that nobody else can claim it.

    Yields False at once where another process, or another block of this one, has claimed it.

    Args:
        folder: of the claims; it must exist.
        cell_id: of the cell.

    Raises:
        UserError: the claim cannot be written, or the disk has no locks.
    """
    file = _lock_own(folder / cell_id) or _take_over(folder, cell_id)
    if file is None:
        yield False
        return
    with file:
        try:
            yield True
        finally:
            # Before the lock ends, so that no one else can have locked it.
            if _is_at(file, folder / cell_id):
                (folder / cell_id).unlink(missing_ok=True)


def refresh(folder: Path, cell_id: str) -> None:
    """Touch a claim, so that other machines know that its holder is still there."""
    with suppress(FileNotFoundError):  # the folder was removed, which the next record tells
        os.utime(folder / cell_id)


def is_claimed(folder: Path, cell_id: str) -> bool:
    """Whether a process works on a cell; the file of a claim alone says nothing.

    The lock is shared and held for an instant. A run that wants to claim the cell in this instant
    tries again.

    Args:
        folder: of the claims.
        cell_id: of the cell, which need not have a claim.
    """
    path = folder / cell_id
    try:
        with path.open("rb") as file:
            locked = not _try(file, fcntl.LOCK_SH, path)
            return locked and not _is_stale(path, time.time())
    except FileNotFoundError:
        return False


def _lock_own(path: Path) -> IO[bytes] | None:
    """The file of a claim, locked and marked as that of this process; None if another has it."""
    while True:
        with ExitStack() as opened:
            try:
                file = opened.enter_context(path.open("ab+", buffering=0))
            except OSError as error:
                raise write_error(path, error) from error
            if not _try(file, fcntl.LOCK_EX, path):
                return None
            _mark(file)
            if _is_at(file, path):
                opened.pop_all()
                return file
            # Its holder removed it, or it was taken over, since it was opened.


def _mark(file: IO[bytes]) -> None:
    now = datetime.now(UTC).isoformat()
    holder = {"host": platform.node(), "boot": boot_id(), "pid": os.getpid(), "time": now}
    file.truncate(0)
    with suppress(OSError):  # on a full disk the claim holds without these words
        file.write(json.dumps(holder).encode())


def _take_over(folder: Path, cell_id: str) -> IO[bytes] | None:
    """The claim of a machine that went away, now of this process; None if it is still held."""
    path, gate_path = folder / cell_id, folder / _GATE
    if not _is_stale(path, time.time()):
        return None
    with gate_path.open("ab") as gate:
        if not _try(gate, fcntl.LOCK_EX, gate_path):
            return None
        # By the clock of the disk, which may differ from that of this machine. Of several that
        # see a stale claim, the first takes it over; the others then find it fresh.
        os.utime(gate_path)
        if not _is_stale(path, gate_path.stat().st_mtime):
            return None
        path.unlink(missing_ok=True)
        return _lock_own(path)


def _is_stale(path: Path, now: float) -> bool:
    """Whether a locked claim is that of a machine that has not touched it for `STALE_S`.

    Locks of this machine are always right: their process exists.
    """
    try:
        touched = path.stat().st_mtime
        boot = parse_json(path.read_text() or "{}").get("boot")
    except FileNotFoundError:
        return False
    except (ValueError, AttributeError):
        boot = None
    if boot and boot == boot_id():
        return False
    return now - touched > STALE_S


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one with this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _try(file: IO[bytes], kind: int, path: Path) -> bool:
    """Whether the file could be locked now.

    Raises:
        UserError: the disk has no locks.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"the disk of '{path}' cannot lock files ({error.strerror}): give --out a folder on"
            " another disk, or mount this one with locks"
        ) from error
    return True


class Refresher:
    """Touches the claims of a command once per minute.

    Args:
        folder: of the claims.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = time.monotonic() + REFRESH_S

    def refresh(self, cell_ids: Iterable[str]) -> None:
        """Touch these claims, if it is time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REFRESH_S
        for cell_id in cell_ids:
            refresh(self._folder, cell_id)
