"""Download, unpack and check public collections."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.public.fetch import Public, fetch_files
from bench.data.public.sources import SOURCES, Source, find_source
from bench.data.public.transfer import Say
from bench.data.public.unpack import BadArchiveError, check_archive, unpack
from bench.errors import UserError
from bench.files import cache_folder, check_own_file, file_sha256, parse_json, write_atomic
from bench.wording import program_name

VARIABLE = "SAM_BENCH_DATA"


@dataclass(frozen=True)
class Condition:
    """State of a collection in the cache.

    Attributes:
        files: number of files in its folder; None without a folder.
        unpacked: number of files that were unpacked; None if `fetch_collection` did not do it.
        archives: name of each archive to whether its SHA-256 is right; None where the archive is
            not there, or where its SHA-256 is not known.
    """

    files: int | None
    unpacked: int | None
    archives: dict[str, bool | None]

    @property
    def sound(self) -> bool:
        """Whether the number of files is that unpacked, and no archive has a wrong SHA-256.

        The contents of unpacked files are not checked. True where there is nothing to compare, as
        for a collection that has no folder, or that a user put there.
        """
        lost = None not in (self.files, self.unpacked) and self.files != self.unpacked
        return not lost and False not in self.archives.values()

    @property
    def text(self) -> str:
        """The state in a few words."""
        if self.files is None:
            words = ["not here"]
        elif self.unpacked in (None, self.files):
            words = [f"{self.files} files"]
        else:
            words = [f"{self.files} files where {self.unpacked} were unpacked"]
        how = {True: "right", False: "wrong SHA-256"}
        words += [f"{name} {how[ok]}" for name, ok in self.archives.items() if ok is not None]
        return ", ".join(words)


def collection_folder(name: str) -> Path:
    """The folder in the cache of a public collection, unpacked or copied by hand; may not exist."""
    return cache_folder() / "data" / name


def archive_path(file: Public) -> Path:
    """The file in the cache of an archive, which two collections may share; may not exist."""
    return cache_folder() / "archives" / file.name


def fetch_collection(name: str, say: Say, accept: Sequence[str] = ()) -> Path:
    """Download and unpack a collection; its folder appears only when everything is unpacked.

    Where the publisher states no SHA-256, the user must accept that of the first download; it holds
    from then on. The archives stay in the cache; if one is damaged, all are removed.

    Args:
        name: as in `find_source`.
        say: called with the bytes received of an archive and its size, None where unknown.
        accept: SHA-256 sums of archives that the user accepts.

    Returns:
        `collection_folder(name)`; an existing one is neither changed nor checked.

    Raises:
        UserError: the name is unknown, it has no public address, an archive must be accepted first,
            the accepted checksums cannot be read, or fetching or unpacking failed.
    """
    source, folder = find_source(name), collection_folder(name)
    if folder.is_dir():
        return folder
    if not source.archives:
        raise UserError(
            f"'{name}' has no public address to fetch it from: {source.how}, and put its files"
            f" into {folder}"
        )
    fetch_files(
        {file: archive_path(file) for file in source.archives},
        say,
        f"data fetch {name}",
        accept,
        lambda path: check_archive(path, source.limits),
    )
    _unpack(name, source, folder)
    return folder


def check_collection(name: str) -> Condition:
    """Compare the archives in the cache and the number of files with what was fetched.

    Only the cache is looked at, not $SAM_BENCH_DATA. The archives are read, nothing is changed.

    Args:
        name: as in `find_source`.

    Returns:
        The state of the collection; a collection that was not fetched is not an error.

    Raises:
        UserError: no public collection has this name, or what is stored about it cannot be read.
    """
    source, folder = find_source(name), collection_folder(name)
    archives: dict[str, bool | None] = {}
    for file in source.archives:
        path, expected = archive_path(file), file.expected_sha256
        check_own_file(path)
        known = path.is_file() and expected is not None
        archives[file.name] = file_sha256(path) == expected if known else None
    files = _count(folder) if folder.is_dir() else None
    return Condition(files, _unpacked_files(name), archives)


def _unpack(name: str, source: Source, folder: Path) -> None:
    partial = folder.with_name(f".{name}.part")
    if partial.is_symlink():
        raise UserError(f"'{partial}' is a link, not a folder, and is not used: remove it")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for file in source.archives:
            unpack(archive_path(file), partial, source.limits)
        root = _root(name, partial, source.inside)
        write_atomic(_record_path(name), json.dumps({"files": _count(root)}, indent=1) + "\n")
        root.rename(folder)
    except BadArchiveError:
        for file in source.archives:  # downloaded again the next time
            archive_path(file).unlink(missing_ok=True)
        raise
    except OSError as error:
        raise UserError(
            f"cannot put '{name}' at '{folder}' ({error}): free disk space or correct it, then"
            " run the command again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _root(name: str, unpacked: Path, inside: str) -> Path:
    """The folder of the collection among the unpacked files, inside a folder that wraps all."""
    entries = list(unpacked.iterdir())
    wrapped = len(entries) == 1 and entries[0].is_dir()
    root = (entries[0] if wrapped else unpacked) / inside
    if not root.is_dir():
        raise BadArchiveError(
            f"the archive of '{name}' holds no folder '{inside}': look at its address for what"
            " it holds now"
        )
    return root


def _record_path(name: str) -> Path:
    return collection_folder(name).with_name(f"{name}.json")


def _unpacked_files(name: str) -> int | None:
    """Number of files that were unpacked; None if `fetch_collection` did not do it."""
    path = _record_path(name)
    check_own_file(path)
    if not path.is_file():
        return None
    try:
        return int(parse_json(path.read_bytes())["files"])
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise UserError(f"'{path}' is damaged ({error}): remove it and fetch again") from error


def _count(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def find_folder(name: str) -> Path | None:
    """The folder `name` in $SAM_BENCH_DATA, else in the cache; None if neither exists."""
    return next((folder for folder in _locations(name) if folder.is_dir()), None)


def require_folder(name: str, source: str) -> Path:
    """The folder of a public collection, as `find_folder`.

    Args:
        name: of the collection and of its folder.
        source: where to get it, for the message.

    Raises:
        UserError: no location has it.
    """
    folder = find_folder(name)
    if folder is None:
        where = " or ".join(f"'{folder.parent}'" for folder in _locations(name))
        raise UserError(
            f"the collection '{name}' is missing: there is no folder '{name}' in {where}; "
            f"{_way(name, source)}, or set {VARIABLE} to the folder that holds it"
        )
    return folder


def _locations(name: str) -> list[Path]:
    own = os.environ.get(VARIABLE)
    return [*([Path(own).expanduser() / name] if own else []), collection_folder(name)]


def _way(name: str, source: str) -> str:
    """How the user gets a collection."""
    known = SOURCES.get(name)
    if known is not None and known.archives:
        return f"fetch it with '{program_name()} data fetch {name}' ({source})"
    return f"{known.how if known else f'get it from {source}'} and put its files there"
