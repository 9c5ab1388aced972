"""Write the overlaps that stopped a run, and files that mend the folder in one pass."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.data.leakage.gate import LeakageError
from bench.data.leakage.pairs import joined_groups
from bench.data.split import join_groups
from bench.files import write_atomic


def write_proposal(error: LeakageError, folder: Path) -> dict[str, Path]:
    """Write all overlapping pairs, and the groups and the split that make the parts independent.

    Groups are joined through all overlapping pairs of the collection, also inside a part, so that
    no further pair appears after the change. Where the collection has a split of its own, each
    joined group goes to the part that has most of its images, the first of these.

    Args:
        error: what stopped the run.
        folder: is created; files in it are replaced.

    Returns:
        "pairs" to overlaps.csv, "groups" to groups.csv, and where the collection has a split,
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
    original = error.collection
    collection = join_groups(original, joined_groups(original.items, error.pairs))
    groups = [("image", "group"), *((item.name, item.group) for item in collection.items)]
    files["groups"] = write_atomic(folder / "groups.csv", _csv(groups))
    if original.official is not None:
        part_of = {name: part for part, names in original.official.items() for name in names}
        votes: dict[str, Counter[str]] = {}
        for item in collection.items:
            if item.name in part_of:
                votes.setdefault(item.group, Counter())[part_of[item.name]] += 1
        split: dict[str, list[str]] = {part: [] for part in original.official}
        for item in collection.items:
            if item.name in part_of:
                split[votes[item.group].most_common(1)[0][0]].append(item.name)
        text = json.dumps(split, indent=1, ensure_ascii=False)
        files["split"] = write_atomic(folder / "split.json", text + "\n")
    return files


def _csv(rows: Sequence[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
