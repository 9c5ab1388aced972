"""Write the overlaps that stopped a run, and files that mend the folder in one pass."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.data.items import Collection
from bench.data.leakage.gate import LeakageError
from bench.data.leakage.pairs import joined_groups
from bench.data.split import join_groups
from bench.files import write_atomic


def write_proposal(error: LeakageError, folder: Path) -> dict[str, Path]:
    """Write all overlapping pairs, and the groups and the split that make the parts independent.

    Groups are joined through all overlapping pairs of the collection, also inside a part, so that
    no further pair appears after the change. Where the collection has a split of its own, each
    joined group goes to the part that has most of its images, the first of these; a training or
    test part that would be empty gets the group with the largest share of images of this part.

    Args:
        error: what stopped the run.
        folder: is created; files of an earlier proposal in it are replaced or removed.

    Returns:
        "pairs" to overlaps.csv; "groups" to groups.csv, unless only another dataset overlaps with
        the collection, which no groups mend; and where the collection has a split that can be kept,
        "split" to split.json.

    Raises:
        UserError: a file cannot be written.
    """
    leaks = [
        (
            *(leak.kind, leak.first, leak.first_part, leak.second, leak.second_part),
            *("" if leak.score is None else f"{leak.score:.3f}", leak.orientation, leak.group),
        )
        for leak in error.leaks
    ]
    header = ("kind", "first", "part", "second", "part", "correlation", "orientation", "group")
    files = {"pairs": write_atomic(folder / "overlaps.csv", _csv([header, *leaks]))}
    for name in ("groups.csv", "split.json"):
        (folder / name).unlink(missing_ok=True)
    if not error.inside:
        return files
    collection = join_groups(error.collection, joined_groups(error.collection.items, error.pairs))
    groups = [("image", "group"), *((item.name, item.group) for item in collection.items)]
    files["groups"] = write_atomic(folder / "groups.csv", _csv(groups))
    if split := _split(collection):
        text = json.dumps(split, indent=1, ensure_ascii=False)
        files["split"] = write_atomic(folder / "split.json", text + "\n")
    return files


def _split(collection: Collection) -> dict[str, list[str]]:
    """Names by part, with each group in one part.

    Empty where the collection has no split, or no way to fill training and test part is left.
    """
    part_of = {name: part for part, names in (collection.official or {}).items() for name in names}
    votes: dict[str, Counter[str]] = {}
    for item in collection.items:
        if item.name in part_of:
            votes.setdefault(item.group, Counter())[part_of[item.name]] += 1
    home = {group: count.most_common(1)[0][0] for group, count in votes.items()}
    for part in ("train", "test"):
        if part not in home.values() and not _fill(part, home, votes):
            return {}
    split: dict[str, list[str]] = {part: [] for part in collection.official or {}}
    for item in collection.items:
        if item.name in part_of:
            split[home[item.group]].append(item.name)
    return split


def _fill(part: str, home: dict[str, str], votes: dict[str, Counter[str]]) -> bool:
    """Move the group with most of its images in an empty part there; whether one could go."""
    sizes = Counter(home.values())
    free = [
        group
        for group, count in votes.items()
        if count[part] and (home[group] == "val" or sizes[home[group]] > 1)
    ]
    if free:
        home[max(free, key=lambda group: votes[group][part] / votes[group].total())] = part
    return bool(free)


def _csv(rows: Sequence[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
