"""Getting published files: resumed where they broke off, and kept only when they are right."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import file_sha256

PART = 1 << 20  # bytes read at once, at most
TIMEOUT_S = 30.0  # without a byte
GIB = 1 << 30

Say = Callable[[int, int | None], None]  # bytes at hand, and the whole size where it is told


@dataclass(frozen=True)
class Public:
    """One published file.

    Attributes:
        address: where it is.
        sha256: what it must be; None where the publisher does not tell.
        licence: as the publisher states it.
        limit: bytes that it cannot have; whatever sends more is not it.
    """

    address: str
    sha256: str | None
    licence: str
    limit: int = 16 * GIB

    @property
    def name(self) -> str:
        """The file's name."""
        return self.address.rsplit("/", 1)[-1]


def cache_folder() -> Path:
    """Where fetched files are kept: $SAM_BENCH_CACHE, else a folder of the user's cache."""
    own = os.environ.get("SAM_BENCH_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(home) / "sam-adapt-bench"


def fetch_file(file: Public, target: Path, say: Say, instead: str) -> Path:
    """Get a published file, going on where an earlier attempt stopped.

    It appears as `target` only when it is whole and its SHA-256, where one is known, is right.

    Args:
        file: what to get.
        target: where to put it.
        say: called with the bytes at hand and the whole size, None where the server tells none.
        instead: what else the user can do, to end a sentence.

    Raises:
        UserError: no connection, a server that stops sending, a cut download, a full disk, or a
            file that is not the right one.
    """
    if target.is_file() and file.sha256 in (None, file_sha256(target)):
        return target
    partial = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = _download(file, partial, say)
    except (OSError, http.client.HTTPException) as error:  # the network, or the disk
        raise UserError(
            f"cannot fetch {file.address} ({error}): run the command again to go on, or get the"
            f" file otherwise and put it at {target}"
        ) from error
    size = partial.stat().st_size
    if whole is not None and size < whole:
        raise UserError(
            f"{file.address} broke off after {size} of {whole} bytes: run the command again to go"
            " on"
        )
    if file.sha256 not in (None, file_sha256(partial)):
        partial.unlink()
        raise UserError(
            f"{file.address} is not the published file (its SHA-256 differs) and was thrown away:"
            f" run the command again, or {instead}"
        )
    partial.replace(target)
    return target


def _download(file: Public, partial: Path, say: Say) -> int | None:
    """Append to `partial` what is missing; returns the whole size as the server tells it."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(file.address, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing is missing, or another file lies there
            return have
        raise
    with answer:
        if answer.status != 206:  # the server starts from the beginning
            have = 0
        whole = None if answer.length is None else have + answer.length
        _check_size(file, partial, whole or 0)
        with partial.open("ab" if have else "wb") as out:
            while part := answer.read1(PART):  # what has come, so that a stall loses nothing
                have += len(part)
                _check_size(file, partial, have)
                out.write(part)
                say(have, whole)
    return whole


def _check_size(file: Public, partial: Path, size: int) -> None:
    if size > file.limit:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{file.address} sends {size} bytes or more where {file.limit} are the most that"
            " belong there: nothing was kept; see in a browser what the address holds now"
        )
