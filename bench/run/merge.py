"""Copy the records of several results folders, with what belongs to them, into one folder."""

import filecmp
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError, WriteError
from bench.files import atomic_path, file_sha256, remove_leftovers, write_atomic
from bench.plugins.registry import get_method
from bench.run.event_log import FILE, read_events
from bench.run.folders import find_records, refuse_conflicts, same_file, stream_records
from bench.run.models import list_models, write_cards
from bench.run.store import Store

LOGS = ("*.out", "*.err", "*.sh")  # of Slurm's jobs, in the folder `slurm`


@dataclass(frozen=True)
class Merged:
    """What a merge has done.

    Attributes:
        records: number of records in the target.
        new_records: number of those that the merge copied.
        new_files: number of class maps, models and logs that it copied or linked.
        cards_as_they_were: model cards that were copied, since their method is not on this machine.
    """

    records: int
    new_records: int
    new_files: int
    cards_as_they_were: tuple[Path, ...]


def merge_folders(folders: Sequence[Path], target: Path) -> Merged:
    """Copy records, class maps, models with their cards, and logs of Slurm's jobs into a folder.

    Everything is compared before the first file is written. A record is copied after its class
    maps; each file is written atomically, and an interrupted merge goes on when it is repeated.
    Files may not be on the disk yet when this returns (`os.sync`). Models are linked where the
    disk allows it, since a model file is never changed in place. Cards are written again, with the
    scores of all records. Tables, plots and choices are not copied.

    Args:
        folders: results folders, at least one; they are not changed, unless one is the target.
        target: results folder; what is in it already stays, and counts as one of the folders.

    Raises:
        UserError: a folder has no folder `records`, a file is not a valid record, two files of one
            name have different contents (the message names both), or a file cannot be written.
    """
    present = [target] if (target / "records").is_dir() else []
    sources = [*present, *(one for one in folders if one.resolve() != target.resolve())]
    if any(not (folder / "records").is_dir() for folder in folders):
        find_records(folders)  # its sentence names the folder
    records = find_records(sources)
    for record in stream_records(records):
        maps = _files(sources, Path("predictions") / record.cell.id, "*")
        refuse_conflicts(_conflicts(maps))
    models = _files(sources, Path("models"), "*.safetensors")
    refuse_conflicts(_conflicts(models))
    store = Store.open(target)
    remove_leftovers(target)
    new_files = _copy_all(_firsts(models), target, link=True)
    _copy_all(_firsts(_files(sources, Path("models"), "*.md")), target)
    new_files += _copy_all(_logs(sources), target)
    _merge_events(sources, target)
    new_records = 0
    for name, path in records.items():
        maps = _files(sources, Path("predictions") / name, "*")
        new_files += _copy_all(_firsts(maps), target)
        new_records += _copy(path, target / "records" / path.name)
    left = _write_cards(store)
    return Merged(len(records), new_records, new_files, left)


def _files(folders: Sequence[Path], part: Path, pattern: str) -> dict[Path, list[Path]]:
    """Path within a results folder to the files that have it, in the order of the folders."""
    files: dict[Path, list[Path]] = defaultdict(list)
    for folder in folders:
        for path in sorted((folder / part).glob(pattern)):
            if path.is_file() and not path.name.startswith("."):
                files[part / path.name].append(path)
    return files


def _conflicts(files: Mapping[Path, Sequence[Path]]) -> list[tuple[Path, Path]]:
    """Pairs of files with the same path and different contents."""
    pairs = [(first, other) for first, *others in files.values() for other in others]
    filecmp.clear_cache()
    return [pair for pair in pairs if not same_file(*pair)]


def _firsts(files: Mapping[Path, Sequence[Path]]) -> Iterator[tuple[Path, Path]]:
    """Path within the target, and the file that is copied there."""
    return ((relative, first) for relative, (first, *_) in files.items())


def _logs(folders: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """As `_firsts`; a log of another cluster with the same name gets a hash in its name."""
    for pattern in LOGS:
        for relative, (first, *others) in _files(folders, Path("slurm"), pattern).items():
            yield relative, first
            for other in others:
                if not same_file(first, other):
                    ending = f".{file_sha256(other)[:8]}{relative.suffix}"
                    yield relative.with_suffix(ending), other


def _merge_events(folders: Sequence[Path], target: Path) -> None:
    """Write the events of all folders in the order of their times, each once."""
    lines = {json.dumps(event): event["time"] for one in folders for event in read_events(one)}
    if lines:
        text = "".join(f"{line}\n" for line in sorted(lines, key=lines.__getitem__))
        write_atomic(target / FILE, text)


def _copy_all(pairs: Iterator[tuple[Path, Path]], target: Path, *, link: bool = False) -> int:
    """Copy files to their paths in the target; the number of those that were not there."""
    return sum(_copy(source, target / relative, link=link) for relative, source in pairs)


def _copy(source: Path, path: Path, *, link: bool = False) -> bool:
    """Copy a file in one step, or link it; False if the path exists already."""
    if path.exists():
        return False
    if link and _link(source, path):
        return True
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)
    return True


def _link(source: Path, path: Path) -> bool:
    """Make a hard link; False if the disk does not allow it, as between two disks."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot write '{path.parent}' ({error.strerror})") from error
    try:
        os.link(source, path)
    except OSError:
        return False  # it is copied
    return True


def _write_cards(store: Store) -> tuple[Path, ...]:
    """Write the model cards again; those whose method is not on this machine stay as they are."""
    unknown = []
    for path, header in list_models(store.models).items():
        try:
            get_method(header.cell.method)
        except UserError:
            unknown.append(path.with_suffix(".md"))
    write_cards(store.models, store.stream(), skip=unknown)
    return tuple(unknown)
