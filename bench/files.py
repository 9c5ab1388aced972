"""Write a file atomically, and compute hashes of files."""

import fcntl
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EISDIR
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.errors import UserError, WriteError

# Temporary files: that of which file, written since which start of a machine, random letters.
_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})\.[a-z0-9_]{8}")
FOREIGN_S = 600.0  # a temporary file of another machine is left over if it is older


def write_atomic(path: Path, content: str | bytes, *, durable: bool = False) -> Path:
    """Write a file in one step: a reader sees the old content or the new one, never a part of it.

    Args:
        path: its folder is created if it does not exist. The file gets the mode 0644.
        content: text is written as UTF-8.
        durable: as in `atomic_path`.

    Returns:
        `path`.

    Raises:
        WriteError: the file cannot be written, for example because the disk is full.
    """
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def atomic_path(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield the path of an empty temporary file, which replaces `path` when the block ends.

    For content that a library writes to a path. The temporary file is in the same folder and has
    another suffix, so name the format to a library that infers it. If the block raises an error,
    `path` is unchanged and the temporary file is removed. It is locked for as long as this process
    writes it, so that `remove_leftovers` can tell it from one of a process that was killed.

    Args:
        path: its folder is created if it does not exist. The file gets the mode 0644.
        durable: whether the content and the name are on the disk (fsync) when the block ends, so
            that they survive a loss of power.

    Raises:
        WriteError: an OSError occurred, also one of the block, for example because the disk is
            full. Other errors of the block are passed on.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path))
        temporary = Path(name)
        try:
            _lock(handle)
            yield temporary
            temporary.chmod(0o644)  # mkstemp creates files that only their owner can read
            if durable:
                _sync(temporary)
            temporary.replace(path)
            if durable:
                _sync(path.parent)  # the new name
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)
    except OSError as error:
        raise write_error(path, error) from error


def check_writable(path: Path) -> None:
    """Check that a file can be written, before the work that it is the result of.

    Its folder is created if it does not exist.

    Raises:
        WriteError: it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_prefix(path)):
            pass
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `path` when the block ends without an error.

    Like the file of `atomic_path`, it is locked while this process writes it.

    Raises:
        UserError: `path` exists.
        WriteError: an OSError occurred, also one of the block.
    """
    if path.exists():
        raise UserError(f"{path} exists: remove it, or give another folder by --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path)))
        handle = os.open(temporary, os.O_RDONLY)
        try:
            _lock(handle)
            yield temporary
            temporary.chmod(0o755)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(handle)
    except OSError as error:
        raise write_error(path, error) from error


def _prefix(path: Path) -> str:
    """How the name of a temporary file or folder begins, see `_TEMPORARY`."""
    return f".{path.name}.{boot_id()[:8]}."


def _lock(handle: int) -> None:
    with suppress(OSError):  # a disk without locks: its age tells that it is left over
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_error(path: Path, error: OSError) -> WriteError:
    """The error that a file cannot be written; it is returned, not raised."""
    return WriteError(
        f"cannot write '{path}' ({error.strerror or error}): free some space or choose another "
        "folder, then run the command again"
    )


def remove_leftovers(folder: Path, without: Collection[str] = ()) -> None:
    """Remove the temporary files of `atomic_path` that killed processes have left in a folder.

    Those that a process of this machine writes are locked. Those of other machines are removed if
    they are older than `FOREIGN_S`. What cannot be removed stays, since nothing depends on it.

    Args:
        folder: with its subfolders; it need not exist.
        without: names of subfolders that are left out.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in without]
        for name in names:
            if match := _TEMPORARY.fullmatch(name):
                with suppress(OSError):
                    _remove_leftover(Path(place, name), match[1])


def remove_leftovers_of(path: Path) -> None:
    """As `remove_leftovers`, of one file or folder: what killed writers of it have left.

    For results that are anywhere on the disk, next to files of the user.
    """
    prefix = f".{path.name}."
    with suppress(OSError):
        for place in path.parent.iterdir():
            match = _TEMPORARY.fullmatch(place.name)
            if match and place.name.rpartition(f"{match[1]}.")[0] == prefix:
                with suppress(OSError):
                    _remove_leftover(place, match[1])


def _remove_leftover(path: Path, boot: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe of this name has no writer
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if boot == boot_id()[:8] or time.time() - path.stat().st_mtime > FOREIGN_S:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    finally:
        os.close(handle)


@functools.cache
def boot_id() -> str:
    """What this machine has been called since it started, at least 8 hexadecimal digits.

    Of a system that does not say so, a hash of the name of the machine.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return hashlib.sha256(platform.node().encode()).hexdigest()


def parse_json(text: str | bytes, **settings: Any) -> Any:
    """The content of JSON text, as `json.loads` gives it.

    Args:
        text: the JSON.
        settings: of `json.loads`.

    Raises:
        ValueError: it is not valid JSON, not UTF-8, or nested too deeply to be read.
    """
    try:
        return json.loads(text, **settings)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def all_are(values: Iterable[Any], kind: type | tuple[type, ...]) -> bool:
    """Whether all values, such as those of a file that a user may have changed, are of a type."""
    return all(isinstance(value, kind) for value in values)


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8, which other systems and file formats need."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_regular(path: Path) -> None:
    """Check that what a path names can be read as a file, before it is opened.

    A FIFO would wait for a writer, and a device might never end. A path that does not exist passes:
    the reader reports it.

    Raises:
        UserError: it is a folder, a FIFO, a socket, a device, or a link to itself.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(
            f"cannot read {quote(path)} ({error.strerror}); replace or remove the file"
        ) from error
    if not regular:
        raise UserError(
            f"cannot read {quote(path)}: it is no regular file but a folder, a pipe or a device;"
            " replace or remove it"
        )


def check_own_file(path: Path) -> None:
    """Check that a path of the cache is a file or does not exist; links are not followed.

    Raises:
        UserError: it is a link, a folder, a pipe or a device.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        what = "link" if stat.S_ISLNK(mode) else "folder" if stat.S_ISDIR(mode) else "device"
        raise UserError(f"{quote(path)} is a {what}, not a file, and is not used: remove it")


def quote(path: Path | str) -> str:
    """A path in quotes; bytes that are not UTF-8 are shown as escapes."""
    text = str(path)
    return f"'{text}'" if is_text(text) else ascii(text)


def file_sha256(path: Path) -> str:
    """SHA-256 of the content of a file, in 64 hexadecimal digits.

    Raises:
        UserError: it is no regular file, see `check_regular`.
        OSError: it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_hash(folder: Path, files: Iterable[Path], libraries: Iterable[str]) -> str:
    """SHA-256 of source files, of Python and of the versions of libraries, in 64 digits.

    Args:
        folder: whose place and name do not matter.
        files: in it, in a fixed order.
        libraries: names of distributions; those that are not installed count as such.
    """
    digest = hashlib.sha256(sys.version.encode())
    for path in files:
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    for name in libraries:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "none"
        digest.update(f"{name} {version}\n".encode())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Folder of downloaded files and of results about files, which may not exist.

    $SAM_BENCH_CACHE as it is, else `sam-adapt-bench` in $XDG_CACHE_HOME or ~/.cache. As XDG
    requires, $XDG_CACHE_HOME counts only if it is absolute, and so does the home folder.

    Raises:
        UserError: there is no home folder, as of a user without an entry among the users.
    """
    if own := os.environ.get("SAM_BENCH_CACHE"):
        return Path(own)
    places = Path(os.environ.get("XDG_CACHE_HOME", "")), Path("~/.cache")
    for place in places:
        with suppress(RuntimeError):  # nobody knows the home folder
            if (folder := place.expanduser()).is_absolute():
                return folder / "sam-adapt-bench"
    raise UserError("no home folder is known to keep files in: set SAM_BENCH_CACHE to a folder")


def shipped_results() -> Path:
    """The folder `results` inside the installed package, else next to it as in a checkout.

    It is not checked that the latter exists.
    """
    package = Path(__file__).resolve().parent
    installed = package / "results"
    return installed if installed.is_dir() else package.parent / "results"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
