"""Download published files: interrupted downloads resume, and only checked files are kept."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import file_sha256

PART = 1 << 20  # largest number of bytes read at once
TIMEOUT_S = 30.0  # without receiving a byte
GIB = 1 << 30

Say = Callable[[int, int | None], None]  # bytes received, and the full size where known


@dataclass(frozen=True)
class Public:
    """One published file.

    Attributes:
        address: its URL.
        sha256: its SHA-256; None where the publisher does not state it.
        licence: as the publisher states it.
        limit: largest number of bytes; a download of more is refused.
    """

    address: str
    sha256: str | None
    licence: str
    limit: int = 16 * GIB

    @property
    def name(self) -> str:
        """The file's name: the last part of its URL."""
        return self.address.rsplit("/", 1)[-1]


def fetch_file(file: Public, target: Path, say: Say, instead: str) -> Path:
    """Download a published file, from where an earlier attempt stopped.

    `target` appears only when it is complete and its SHA-256, where one is known, is right. An
    existing one is kept if it has that SHA-256 or none is known; otherwise it is replaced. A
    download that stops stays as `target` with the further suffix `.part`.

    Args:
        file: the published file.
        target: where to put it; its folder is created.
        say: called after each piece with the bytes received and the full size, None where unknown.
        instead: what else the user can do after a wrong SHA-256; the end of an error sentence.

    Returns:
        `target`.

    Raises:
        UserError: no connection, a server that stops sending, an incomplete download, a full disk;
            or a wrong SHA-256 or more than `file.limit` bytes, after which the download is removed.
    """
    if target.is_file() and file.sha256 in (None, file_sha256(target)):
        return target
    partial = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = _download(file, partial, say)
    except (OSError, http.client.HTTPException) as error:  # the network, or the disk
        raise UserError(
            f"cannot fetch {file.address} ({error}): run the command again to continue, or"
            f" get the file in another way and put it at {target}"
        ) from error
    size = partial.stat().st_size
    if whole is not None and size < whole:
        raise UserError(
            f"the download of {file.address} stopped after {size} of {whole} bytes: run the command"
            " again to continue"
        )
    if file.sha256 not in (None, file_sha256(partial)):
        partial.unlink()
        raise UserError(
            f"{file.address} is not the published file (its SHA-256 differs) and was deleted:"
            f" run the command again, or {instead}"
        )
    partial.replace(target)
    return target


def _download(file: Public, partial: Path, say: Say) -> int | None:
    """Append the missing bytes to `partial`; returns the full size as the server states it."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(file.address, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing is missing, or the published file is another
            return have
        raise
    with answer:
        if answer.status != 206:  # the server starts from the beginning
            have = 0
        whole = None if answer.length is None else have + answer.length
        _check_size(file, partial, whole or 0)
        with partial.open("ab" if have else "wb") as out:
            while part := answer.read1(
                PART
            ):  # keep what was received, so that a stall loses nothing
                have += len(part)
                _check_size(file, partial, have)
                out.write(part)
                say(have, whole)
    return whole


def _check_size(file: Public, partial: Path, size: int) -> None:
    if size > file.limit:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{file.address} sends {size} bytes or more, but the limit is {file.limit}:"
            " nothing was kept; look in a browser at what the address holds now"
        )
