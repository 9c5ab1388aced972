"""Unpack untrusted archives: no file outside the folder, no unlimited size."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from bench.data.public.fetch import GIB, PART
from bench.errors import UserError

_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    BadGzipFile,
    zlib.error,
    LZMAError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # a password
)
_CLASH = (FileExistsError, NotADirectoryError, IsADirectoryError)


class BadArchiveError(UserError):
    """The archive is damaged, unsafe, too large or not what was expected."""


@dataclass(frozen=True)
class Limits:
    """Largest allowed contents of an archive.

    Attributes:
        size: bytes of all unpacked files together.
        ratio: those bytes as a multiple of the archive's own; an archive of images stays far below.
            The smaller of the two limits counts.
        entries: number of files and folders.
    """

    size: int = 64 * GIB
    ratio: int = 200
    entries: int = 200_000


@dataclass(frozen=True)
class _Entry:
    """A file or folder in an archive; `open` gives its bytes, never more than `size`."""

    name: str
    size: int
    is_folder: bool
    is_plain: bool  # a file or a folder, not a link or a device
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path, limits: Limits | None = None) -> None:
    """Unpack a zip or tar archive, compressed or not, into a folder.

    Each entry is checked before it is written, so that an archive cannot fill the disk. If one is
    refused, the entries before it stay in the folder: unpack into a temporary one.

    Args:
        archive: the file.
        folder: where its entries go; made if it does not exist. No file in it is replaced.
        limits: largest sizes; None for the defaults of `Limits`.

    Raises:
        BadArchiveError: it is not an archive or damaged; it has a link, a device, a password, a
            name outside the folder, or a file twice or that the folder already has; or its contents
            exceed the limits.
        UserError: the archive cannot be opened, or the disk is full or cannot be written.
    """
    try:
        _unpack(archive, folder, limits or Limits())
    except _BROKEN as error:
        raise BadArchiveError(
            f"'{archive}' is not a readable archive ({error}): get it again"
        ) from error
    except _CLASH as error:
        raise BadArchiveError(
            f"'{archive}' holds one name twice, or one that the folder already has"
            f" ('{error.filename}'): unpacking stopped there"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot unpack '{archive}' to '{folder}' ({error}): free disk space or correct it,"
            " then run the command again"
        ) from error


def _unpack(archive: Path, folder: Path, limits: Limits) -> None:
    most = min(limits.size, limits.ratio * archive.stat().st_size)
    written = 0
    folder.mkdir(parents=True, exist_ok=True)
    for number, entry in enumerate(_entries(archive), 1):
        _refuse_harm(archive, entry)
        if number > limits.entries or written + entry.size > most:
            raise BadArchiveError(
                f"'{archive}' unpacks to more than {most} bytes or {limits.entries} files, more"
                f" than any collection of images: unpacking stopped at {entry.name!r}"
            )
        target = folder / PurePosixPath(entry.name)
        if entry.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        source = entry.open()
        assert source is not None  # tarfile returns None for entries that are not files
        with source, target.open("xb") as out:
            shutil.copyfileobj(source, out, PART)
            written += out.tell()


def _refuse_harm(archive: Path, entry: _Entry) -> None:
    """Check a name by the rules of POSIX and of Windows, as it may differ between them."""
    posix, windows = PurePosixPath(entry.name), PureWindowsPath(entry.name)
    escapes = posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts)
    nameless = not posix.parts and not entry.is_folder
    if escapes or nameless or not entry.is_plain:
        what = "leads out of the folder" if entry.is_plain else "is a link or a device"
        raise BadArchiveError(
            f"'{archive}' holds {entry.name!r}, which {what}: unpacking stopped there"
        )


def _entries(archive: Path) -> Iterator[_Entry]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where made on Windows
                plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                yield _Entry(
                    info.filename, info.file_size, info.is_dir(), plain, partial(zipped.open, info)
                )
        return
    with tarfile.open(archive) as tarred:
        for member in tarred:
            plain = member.isfile() or member.isdir()
            yield _Entry(
                member.name, member.size, member.isdir(), plain, partial(tarred.extractfile, member)
            )
