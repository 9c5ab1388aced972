"""Several results folders as one: the file of each record, each id once."""

import filecmp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UserError, WriteError
from bench.files import parse_json, write_atomic
from bench.run.store import Store, read_record
from bench.spec import Record


@dataclass(frozen=True)
class UnitedStore(Store):
    """A results folder for the report of records that stay in other folders.

    Attributes:
        files: of the records, as of `find_records`.
    """

    files: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def unite(cls, folders: Sequence[Path], folder: Path) -> "UnitedStore":
        """Find the records of several folders, and link their class maps into another one.

        Args:
            folders: results folders, at least one; they are not changed.
            folder: is created; `records/folders.txt` in it names the folders. If it has records
                itself, it must be one of the folders.

        Raises:
            UserError: as `find_records`; `folder` has records that would not be in the report; or
                it cannot be written to.
        """
        files = find_records(folders)
        own = any((folder / "records").glob("*.json"))
        if own and folder.resolve() not in [one.resolve() for one in folders]:
            raise UserError(
                f"{folder} has records that are in none of the other folders: name it as one of"
                " them, or give another --out"
            )
        store = cls(Store.open(folder).folder, files=files)
        write_atomic(folder / "records" / "folders.txt", "".join(f"{one}\n" for one in folders))
        store._link_predictions(folders)
        return store

    def stream(self) -> Iterator[Record]:
        """As `stream_records`."""
        return stream_records(self.files)

    def _link_predictions(self, folders: Sequence[Path]) -> None:
        """Link the class maps of each record; links of a former report are removed."""
        place = self.folder / "predictions"
        try:
            for path in place.iterdir():
                if path.is_symlink():
                    path.unlink()
            for folder in folders:
                for maps in (folder / "predictions").glob("*"):
                    path = place / maps.name
                    if maps.name in self.files and not path.exists():
                        path.symlink_to(maps.resolve(), target_is_directory=True)
        except OSError as error:
            raise WriteError(f"cannot write links to {place} ({error.strerror})") from error


def find_records(folders: Sequence[Path]) -> dict[str, Path]:
    """The file of each record of several results folders.

    The same record may be in several folders; its file is then that of the first of them.

    Args:
        folders: results folders, at least one.

    Returns:
        Id of the cell to the file, sorted by id. The files are not read, except those of one id.

    Raises:
        UserError: a folder has no folder `records`, none has a record, or two files of one id have
            different contents.
    """
    files: dict[str, Path] = {}
    conflicts = []
    for folder in folders:
        if not (folder / "records").is_dir():
            raise UserError(f"no records in {folder}: give results folders, which have records/")
        for path in sorted((folder / "records").glob("*.json")):
            first = files.setdefault(path.stem, path)
            if not same_record(first, path):
                conflicts.append((first, path))
    refuse_conflicts(conflicts)
    if not files:
        listed = ", ".join(map(str, folders))
        raise UserError(f"no records in {listed}: give results folders with records/*.json")
    return dict(sorted(files.items()))


def stream_records(files: Mapping[str, Path]) -> Iterator[Record]:
    """Yield the records of `find_records` in its order, with only one in memory at a time.

    Raises:
        RecordError: a file is not a valid record, or its name is not the id of its cell.
    """
    for path in files.values():
        yield read_record(path, check_id=True)


def refuse_conflicts(conflicts: Sequence[tuple[Path, Path]]) -> None:
    """Raise an error for files that should be equal, and are not.

    Args:
        conflicts: pairs of such files; if there are none, nothing is raised.

    Raises:
        UserError: names both files of the first pair, and the number of further pairs.
    """
    if not conflicts:
        return
    (first, other), more = conflicts[0], len(conflicts) - 1
    rest = f", and so have {more} more pairs of files" if more > 1 else ""
    rest = ", and so have the files of one more pair" if more == 1 else rest
    raise UserError(
        f"{first} and {other} have the same name and different contents{rest}: move away the one"
        " that does not count"
    )


def same_record(one: Path, other: Path) -> bool:
    """Whether two files hold the same JSON; files that are not JSON must be equal byte by byte."""
    if same_file(one, other):
        return True
    try:
        return bool(parse_json(one.read_bytes()) == parse_json(other.read_bytes()))
    except ValueError:
        return False


def same_file(one: Path, other: Path) -> bool:
    """Whether two files are the same or have the same bytes; they are read in blocks."""
    return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
