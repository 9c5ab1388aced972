"""Unpack untrusted archives: no file outside the folder, no unlimited size."""

import bz2
import gzip
import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from bench.data.public.transfer import GIB, PART
from bench.errors import UserError, shorten

_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # a password
    # Of headers that are no numbers, no text, or too large.
    *(ValueError, struct.error, OverflowError, IndexError),
)
_PACKED: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
)
_LONGEST_HEADER = 32 << 20  # bytes; 200,000 entries of a zip with names of 100 characters have 28
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

    All entries are checked before the first is written, so that an archive cannot fill the disk. If
    writing one fails, the entries before it stay in the folder: unpack into a temporary one.

    Args:
        archive: the file.
        folder: where its entries go; made if it does not exist. No file in it is replaced.
        limits: largest sizes; None for the defaults of `Limits`.

    Raises:
        BadArchiveError: as `check_archive`; or it has a password, a damaged file, or a file twice
            or that the folder already has.
        UserError: the archive cannot be opened, or the disk is full or cannot be written.
    """
    with _sentences(archive, f" to '{folder}'"), _opened(archive) as entries:
        _check(archive, entries(), limits or Limits())
        folder.mkdir(parents=True, exist_ok=True)
        for entry in entries():
            _write(entry, folder / PurePosixPath(entry.name))


def check_archive(archive: Path, limits: Limits | None = None) -> None:
    """Check the list of the entries of an archive, without unpacking one.

    Args:
        archive: the file.
        limits: largest sizes; None for the defaults of `Limits`.

    Raises:
        BadArchiveError: it is not an archive or its headers are damaged; it has a link, a device or
            a name outside the folder; or its contents exceed the limits.
        UserError: the archive cannot be opened.
    """
    with _sentences(archive, ""), _opened(archive) as entries:
        _check(archive, entries(), limits or Limits())


@contextmanager
def _sentences(archive: Path, place: str) -> Iterator[None]:
    """Raise errors of the modules for archives as `UserError`."""
    try:
        yield
    except UserError:
        raise
    except _CLASH as error:
        raise BadArchiveError(
            f"'{archive}' holds one name twice, or one that the folder already has"
            f" ('{error.filename}'): unpacking stopped there"
        ) from error
    except _BROKEN as error:
        raise BadArchiveError(
            f"'{archive}' is not a readable archive ({error}): get it again"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot unpack '{archive}'{place} ({error}): free disk space or correct it,"
            " then run the command again"
        ) from error


def _check(archive: Path, entries: Iterator[_Entry], limits: Limits) -> None:
    most = min(limits.size, limits.ratio * archive.stat().st_size)
    size = 0
    for number, entry in enumerate(entries, 1):
        _refuse_harm(archive, entry)
        size += entry.size
        if number > limits.entries or size > most or entry.size < 0:
            raise BadArchiveError(
                f"'{archive}' unpacks to more than {most} bytes or {limits.entries} files, more"
                f" than any collection of images: the first too many is {entry.name!r}"
            )


def _write(entry: _Entry, target: Path) -> None:
    if entry.is_folder:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = entry.open()
    assert source is not None  # tarfile returns None for entries that are not files
    with source, target.open("xb") as out:
        shutil.copyfileobj(source, out, PART)


def _refuse_harm(archive: Path, entry: _Entry) -> None:
    """Check a name by the rules of POSIX and of Windows, as it may differ between them."""
    posix, windows = PurePosixPath(entry.name), PureWindowsPath(entry.name)
    escapes = posix.is_absolute() or windows.anchor or ".." in (*posix.parts, *windows.parts)
    nameless = not posix.parts and not entry.is_folder
    if escapes or nameless or not entry.is_plain:
        what = "leads out of the folder" if entry.is_plain else "is a link or a device"
        raise BadArchiveError(
            f"'{archive}' holds {shorten(ascii(entry.name))}, which {what}: nothing was unpacked"
        )


class _Bounded(io.BufferedReader):
    """A file of which no more than `_LONGEST_HEADER` bytes can be read at once.

    Lists of entries and headers are read at once, whatever size they claim to have; contents are
    read in parts.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LONGEST_HEADER:
            raise ValueError(f"a header of {size} bytes is longer than any of a collection")
        return super().read(size)


@contextmanager
def _opened(archive: Path) -> Iterator[Callable[[], Iterator[_Entry]]]:
    """Yield a function that returns the entries, the first one anew at each call."""
    with ExitStack() as stack:
        file: Any = stack.enter_context(_Bounded(io.FileIO(archive)))
        if zipfile.is_zipfile(file):
            yield partial(_zip_entries, stack.enter_context(zipfile.ZipFile(file)))
            return
        file.seek(0)
        start = file.read(6)
        file.seek(0)
        unpacked = next((open_ for magic, open_ in _PACKED if start.startswith(magic)), None)
        if unpacked is not None:
            file = stack.enter_context(_Bounded(unpacked(file)))
        yield partial(_tar_entries, stack.enter_context(tarfile.open(fileobj=file, mode="r:")))


def _zip_entries(zipped: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in zipped.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where made on Windows
        plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
        yield _Entry(
            info.filename, info.file_size, info.is_dir(), plain, partial(zipped.open, info)
        )


def _tar_entries(tarred: tarfile.TarFile) -> Iterator[_Entry]:
    for member in tarred:
        plain = member.isfile() or member.isdir()
        yield _Entry(
            member.name, member.size, member.isdir(), plain, partial(tarred.extractfile, member)
        )
