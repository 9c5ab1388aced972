"""Download published files: interrupted downloads resume, and only checked files are kept."""

import http.client
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.data.public.accepted import accept_sha256, accepted_sha256
from bench.data.public.transfer import GIB, Partial, Say, download
from bench.errors import UserError
from bench.files import check_own_file, file_sha256
from bench.wording import program_name


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

    @property
    def expected_sha256(self) -> str | None:
        """The SHA-256 that the publisher states, else the one that the user accepted, else None.

        Raises:
            UserError: the file of accepted sums is damaged.
        """
        return self.sha256 or accepted_sha256(self.address)


class NotAcceptedError(UserError):
    """A file is complete, but nobody states its SHA-256, and the user did not accept it yet.

    Attributes:
        sha256: of the file.
    """

    def __init__(self, file: Public, sha256: str, size: int) -> None:
        self.sha256 = sha256
        super().__init__(f"{file.address} has {size:,} bytes and the SHA-256 {sha256}")


def fetch_file(
    file: Public,
    target: Path,
    say: Say,
    instead: str,
    accept: Collection[str] = (),
    check: Callable[[Path], object] | None = None,
) -> Path:
    """Download a published file, from where an earlier attempt stopped.

    `target` appears only when it is complete and its SHA-256 is the one that the publisher states,
    or that the user accepts now or accepted earlier. An existing one with that SHA-256 is kept, and
    another one is replaced. A download that stops, or waits for the user to accept it, stays as
    `target` with the further suffix `.part`. Links at these paths are not followed.

    Args:
        file: the published file.
        target: where to put it; its folder is created.
        say: called after each piece with the bytes received and the full size, None where unknown.
        instead: what else the user can do after a wrong SHA-256; the end of an error sentence.
        accept: SHA-256 sums that the user accepts; used only where the publisher states none.
        check: called with a complete download before its SHA-256 is accepted; may raise UserError,
            after which the download is removed.

    Returns:
        `target`.

    Raises:
        NotAcceptedError: the file is there, and its SHA-256 must be accepted first.
        UserError: no connection, a server that sends something else or stops, an incomplete
            download, a full disk, a link or a folder in the place of a file; or a wrong SHA-256 or
            more than `file.limit` bytes, after which the download is removed.
    """
    partial = Partial(target)
    for path in (target, partial.path, partial.facts):
        check_own_file(path)
    expected, accepted = file.expected_sha256, accept if file.sha256 is None else ()
    if target.exists():
        sha256 = file_sha256(target)
        if sha256 in (expected, *accepted):
            return _accepted(file, sha256, target)
        if expected is None:
            raise NotAcceptedError(file, sha256, target.stat().st_size)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        download(file.address, partial, say, file.limit, checked=expected is not None)
    except (OSError, http.client.HTTPException) as error:  # the network, or the disk
        raise UserError(
            f"cannot fetch {file.address} ({error}): run the command again to continue, or"
            f" get the file in another way and put it at {target}"
        ) from error
    sha256 = file_sha256(partial.path)
    if sha256 not in (expected, *accepted):
        if expected is None:
            _check(check, partial)
            raise NotAcceptedError(file, sha256, partial.path.stat().st_size)
        partial.remove()
        which = "published" if file.sha256 else "accepted"
        raise UserError(
            f"{file.address} is not the {which} file (its SHA-256 differs: it is {sha256}) and was"
            f" deleted: run the command again, or {instead}"
        )
    _check(check, partial)
    partial.path.replace(target)
    partial.remove()
    return _accepted(file, sha256, target)


def fetch_files(
    files: Mapping[Public, Path],
    say: Say,
    command: str,
    accept: Collection[str] = (),
    check: Callable[[Path], object] | None = None,
) -> None:
    """Download published files to their paths; ask once for all that must be accepted.

    Args:
        files: where to put each file.
        say: as of `fetch_file`.
        command: words of the command that downloads these files, for messages.
        accept: as of `fetch_file`.
        check: as of `fetch_file`.

    Raises:
        UserError: as of `fetch_file`.
    """
    waiting = []
    option = f"'{program_name()} {command} --accept-hash SHA256'"
    for file, target in files.items():
        instead = f"where the publisher has a new version, accept it by {option}"
        if file.sha256 is not None:
            instead = f"get the file in another way and put it at {target}"
        try:
            fetch_file(file, target, say, instead, accept, check)
        except NotAcceptedError as error:
            waiting.append(error)
    if waiting:
        words = " ".join(f"--accept-hash {error.sha256}" for error in waiting)
        raise UserError(
            f"{'; '.join(map(str, waiting))}; the publisher states no SHA-256: compare it with that"
            " of another source if you can, then accept it once by"
            f" '{program_name()} {command} {words}'"
        )


def _check(check: Callable[[Path], object] | None, partial: Partial) -> None:
    try:
        if check is not None:
            check(partial.path)
    except UserError:
        partial.remove()
        raise


def _accepted(file: Public, sha256: str, target: Path) -> Path:
    if file.sha256 is None and accepted_sha256(file.address) != sha256:
        accept_sha256(file.address, sha256)
    return target
