"""Read a public collection in the layout of its publisher or in the plain layout.

The plain layout is that of `bench.data.folder` with its classes declared in meta.json or
classes.json.
"""

import csv
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from bench.data.folder.read import read_folder
from bench.data.items import Collection, Item
from bench.errors import UserError

PARTS = ("train", "val", "test")
Listing = list[Item] | dict[str, list[Item]]  # all items, or the items of each published part

_DAMAGE = (
    *(OSError, EOFError, ValueError, LookupError, SyntaxError),  # the last: PNG and XML
    *(csv.Error, zlib.error, zipfile.BadZipFile),
)


def read_published(
    name: str,
    root: Path,
    reader: Callable[[Path], Listing],
    classes: tuple[str, ...],
    mask_values: dict[int, int] | None = None,
) -> Collection:
    """List a public collection, its items in the order of their names.

    A folder in the plain layout is read by `read_folder`, which decodes all files. In the layout of
    the publisher files must exist, but are decoded later.

    Args:
        name: of the collection.
        root: its folder.
        reader: lists the items of a folder in the layout of the publisher.
        classes: name of every class; in the plain layout they replace as many declared ones.
        mask_values: stored mask value to class index in that layout; None where masks hold indices.

    Returns:
        The collection; in the layout of the publisher without licence, source and notes.

    Raises:
        UserError: a file is missing or damaged, the folder has another layout or another number of
            classes, or two items have one name.
    """
    if _is_plain(root):
        collection = read_folder(root)
        if len(collection.classes) != len(classes):
            raise UserError(
                f"'{root}' declares {len(collection.classes)} classes, but '{name}' has "
                f"{len(classes)} ({', '.join(classes)}); correct its class list, "
                "or use the folder as --dataset"
            )
        order = sorted(range(len(collection.items)), key=lambda n: collection.items[n].name)
        return replace(
            collection,
            name=name,
            classes=classes,
            items=tuple(collection.items[number] for number in order),
            contents=tuple(collection.contents[number] for number in order),
        )
    try:
        listing = reader(root)
    except UserError:
        raise
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot read '{root}' as the collection '{name}' ({reason}); get it again"
        ) from error
    parts = listing if isinstance(listing, dict) else {"": listing}
    items = tuple(sorted((item for part in parts.values() for item in part), key=_name))
    _check(name, root, items)
    official = {part: tuple(sorted(map(_name, parts.get(part, [])))) for part in PARTS}
    return Collection(
        name=name,
        classes=classes,
        items=items,
        official=official if isinstance(listing, dict) else None,
        mask_values=mask_values,
    )


def _is_plain(root: Path) -> bool:
    declared = (root / "meta.json").is_file() or (root / "classes.json").is_file()
    return declared and (root / "images").is_dir() and (root / "masks").is_dir()


def _check(name: str, root: Path, items: tuple[Item, ...]) -> None:
    if not items:
        raise UserError(
            f"'{root}' does not have the layout of the publisher of '{name}'; see the layout at "
            f"the top of datasets/{name}.py"
        )
    wanted = (pixels for item in items for pixels in (item.image, item.mask, item.instances))
    if lost := [file for file in wanted if isinstance(file, Path) and not file.is_file()]:
        raise UserError(
            f"{len(lost)} files of the collection '{name}' are missing, such as '{lost[0]}'; get "
            "it again"
        )
    for one, other in pairwise(map(_name, items)):
        if one == other:
            raise UserError(f"the collection '{name}' in '{root}' has two images called '{one}'")


def _name(item: Item) -> str:
    return item.name
