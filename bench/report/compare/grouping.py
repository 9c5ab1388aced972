"""Which runs share a table: what they have in common, as a key, in words, and as a file name."""

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

_TAKEN = ("", "records")  # file names that no table may have; "records" is the file of all runs
_BETWEEN = re.compile(r"(?:[^\w.]|_)+")  # everything except letters and digits of any script


def table_key(cell: Cell) -> tuple[Any, ...]:
    """Return the settings that all runs of one table have in common.

    Two cells are in the same table if, and only if, their keys are equal. The key holds the names
    and fingerprints of the datasets, label budget, folds, split, protocol, classes, image size,
    depth, channels, crop, fit, and under `equal` the recipe without the learning rate.
    """
    one = cell.task
    task = (one.num_classes, one.image_size, one.depth, one.channels, one.crop, one.fit)
    # `equal` prescribes the whole recipe except the learning rate; under `published`, every method
    # has its own recipe.
    recipe = _without_rate(cell.recipe) if cell.protocol == "equal" else None
    images = (cell.dataset_name, cell.dataset_sha, cell.labels, cell.folds)
    tested = (cell.split, cell.test_dataset and cell.tested_name, cell.test_sha)
    return (*images, cell.protocol, *task, recipe, *tested)


@lru_cache(maxsize=1024)
def _without_rate(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, lr=0.0)


def names_of(cells: Sequence[Cell]) -> list[tuple[tuple[str, ...], str]]:
    """Return a unique title (as words) and a unique slug for each table.

    Args:
        cells: one cell of each table.

    Returns:
        Words and slug of each table, in the order of the cells. Tables with the same words also
        show the fingerprints of their datasets; a slug that would not be unique (upper and lower
        case are equal), that is empty or "records" ends in a hash.
    """
    words = [words_of(cell) for cell in cells]
    versions = Counter(words)
    # Datasets with the same name and different contents also show their fingerprints.
    words = [
        name if versions[name] == 1 else (*name, f"data {_versions_of(cell)}")
        for name, cell in zip(words, cells, strict=True)
    ]
    slugs = [slug_of(name) for name in words]
    alike = Counter(slug.casefold() for slug in slugs)  # some file systems ignore case
    return [
        (
            name,
            slug
            if alike[slug.casefold()] == 1 and slug.casefold() not in _TAKEN
            else _sealed(name),
        )
        for name, slug in zip(words, slugs, strict=True)
    ]


def _versions_of(cell: Cell) -> str:
    """Beginnings of the fingerprints of the datasets of a cell."""
    hashes = (cell.dataset_sha, cell.test_sha) if cell.test_dataset else (cell.dataset_sha,)
    return "-".join(one[:8] for one in hashes)


def words_of(cell: Cell) -> tuple[str, ...]:
    """Return the name of the dataset, then the settings of the table that are not the defaults.

    They are those of `table_key` without fingerprints and classes; of the recipe only under `equal`
    and without the learning rate. Seed, fold, backbone and weights are none of them.
    """
    words = [cell.dataset_name]
    if cell.test_dataset:
        words.append(f"tested on {cell.tested_name}")
    if cell.split:
        words.append(f"split {cell.split}")
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
    if cell.task.channels:
        words.append(f"channels {cell.task.channels}")
    if cell.task.crop:
        words.append(f"crop {cell.task.crop}")
    if cell.task.fit != Task.fit:
        words.append(f"fit {cell.task.fit}")
    if cell.protocol == "equal":
        for part in dataclasses.fields(Recipe):
            value = getattr(cell.recipe, part.name)
            if part.name != "lr" and value != part.default:
                words.append(f"{part.name} {value}")
    return tuple(words)


def slug_of(words: Sequence[str]) -> str:
    """Return words as one file name, joined by "_"; "" if nothing remains.

    Letters are normalised (Unicode NFC). In each word, a run of characters other than letters,
    digits and points becomes one "-"; "-" and "." at its ends are removed.
    """
    plain = (unicodedata.normalize("NFC", word) for word in words)
    return "_".join(filter(None, (_BETWEEN.sub("-", word).strip("-.") for word in plain)))


def _sealed(words: Sequence[str]) -> str:
    """A slug with a hash of the words, so that it is unique."""
    seal = hashlib.sha256("\n".join(words).encode()).hexdigest()[:6]
    return "_".join(filter(None, (slug_of(words), seal)))
