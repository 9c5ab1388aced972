"""What the runs of one table have in common: as a key, in words, and as the name of a file."""

import dataclasses
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from bench.spec import Cell, Recipe, Task
from bench.wording import counted

_TAKEN = ("", "records")  # no name at all, and the file of all runs
_BETWEEN = re.compile(r"(?:[^\w.]|_)+")  # letters and digits of any script stay


def question(cell: Cell) -> tuple[Any, ...]:
    """What the runs of one table have in common."""
    task = (cell.task.num_classes, cell.task.image_size, cell.task.depth)
    # `equal` prescribes all of the recipe but the learning rate; `published` is each method's own.
    recipe = _without_rate(cell.recipe) if cell.protocol == "equal" else None
    images = (cell.dataset_name, cell.dataset_sha, cell.labels, cell.folds)
    return (*images, cell.protocol, *task, recipe)


@lru_cache(maxsize=1024)
def _without_rate(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, lr=0.0)


def names_of(cells: Sequence[Cell]) -> list[tuple[tuple[str, ...], str]]:
    """Words and slug of every question, none of them twice.

    Args:
        cells: one of each question.
    """
    words = [words_of(cell) for cell in cells]
    versions = Counter(words)
    # One name, two contents: the fingerprint tells them apart.
    words = [
        name if versions[name] == 1 else (*name, f"data {cell.dataset_sha[:8]}")
        for name, cell in zip(words, cells, strict=True)
    ]
    slugs = [slug_of(name) for name in words]
    alike = Counter(slug.casefold() for slug in slugs)  # some disks do not tell case apart
    return [
        (
            name,
            slug
            if alike[slug.casefold()] == 1 and slug.casefold() not in _TAKEN
            else _sealed(name),
        )
        for name, slug in zip(words, slugs, strict=True)
    ]


def words_of(cell: Cell) -> tuple[str, ...]:
    """Dataset, then what differs from the defaults."""
    words = [cell.dataset_name]
    if cell.protocol != Cell.protocol:
        words.append(f"{cell.protocol} protocol")
    if cell.labels is not None:
        words.append(counted(cell.labels, "label"))
    if cell.task.image_size != Task.image_size:
        words.append(f"{cell.task.image_size} px")
    if cell.folds != Cell.folds:
        words.append(f"{cell.folds} folds")
    if cell.task.depth != Task.depth:
        words.append(f"depth {cell.task.depth}")
    if cell.protocol == "equal":
        for part in dataclasses.fields(Recipe):
            value = getattr(cell.recipe, part.name)
            if part.name != "lr" and value != part.default:
                words.append(f"{part.name} {value}")
    return tuple(words)


def slug_of(words: Sequence[str]) -> str:
    """The same for file names, in one spelling of letters with marks; "" where nothing is left."""
    plain = (unicodedata.normalize("NFC", word) for word in words)
    return "_".join(filter(None, (_BETWEEN.sub("-", word).strip("-.") for word in plain)))


def _sealed(words: Sequence[str]) -> str:
    """A slug that no other words have."""
    seal = hashlib.sha256("\n".join(words).encode()).hexdigest()[:6]
    return "_".join(filter(None, (slug_of(words), seal)))
