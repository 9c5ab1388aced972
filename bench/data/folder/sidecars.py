"""Optional files in a folder: description, classes, official split, specimen groups.

All are optional:

- `meta.json`: {"classes": {"0": name, ...} or [name, ...], "ignore_index": 255, "licence": ...,
  "source": ..., "items": {id: {"group": ...}}}
- `classes.json`: {name: mask value, ..., "ignore": 255}, the background first; instead of meta.json
- `split.json`: {"train": [id, ...], "val": [...], "test": [...]}, or `split.csv`: id,part
- `groups.csv`: id,group; instead of the groups of meta.json
"""

import csv
import json
from collections.abc import Collection as Sized
from functools import partial
from pathlib import Path
from typing import Any

from bench.data.decode import SUFFIXES
from bench.data.folder.classes import Classes, classes_by_name, classes_by_value
from bench.errors import UserError

SPLIT_FILES = ("split.json", "splits.json", "split.csv", "splits.csv")
PARTS = {
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val", "dev": "val"},
    **{"test": "test", "testing": "test"},
}
_HEADERS = frozenset({"id", "item", "name", "image", "file", "filename"})


def read_meta(root: Path) -> dict[str, Any]:
    """The contents of `meta.json` in a folder; empty where there is no such file.

    Raises:
        UserError: the file is not one valid JSON object, or holds a key twice.
    """
    file = root / "meta.json"
    return _read_json(file) if file.is_file() else {}


def read_classes(root: Path, meta: dict[str, Any]) -> Classes | None:
    """Classes declared in `classes.json`, else in `meta.json`; None without a declaration.

    Args:
        root: the folder.
        meta: contents of its `meta.json`.

    Raises:
        UserError: as `read_meta`, `classes_by_name` and `classes_by_value`, or "classes" in `meta`
            is neither an object nor a list.
    """
    if (file := root / "classes.json").is_file():
        return classes_by_name(_read_json(file), file)
    if not (declared := meta.get("classes")):
        return None
    if not isinstance(declared, dict | list):
        raise UserError(f"'{root / 'meta.json'}' must list classes as an object or a list of names")
    return classes_by_value(declared, meta.get("ignore_index"), root / "meta.json")


def read_groups(root: Path, meta: dict[str, Any], ids: Sized[str]) -> dict[str, str]:
    """The specimen of each item for which `groups.csv` or `meta.json` names one: id to group.

    `groups.csv` has precedence. Unknown ids in `meta.json` are left out.

    Args:
        root: the folder.
        meta: contents of its `meta.json`.
        ids: names of all items.

    Raises:
        UserError: a file cannot be read, or `groups.csv` names an unknown id or one id twice with
            different groups.
    """
    entries = meta.get("items", {})
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise UserError(f"'{root / 'meta.json'}' must list items as {{id: {{\"group\": ...}}}}")
    groups = {
        name: str(entry["group"])
        for name, entry in entries.items()
        if name in ids and "group" in entry
    }
    if (file := root / "groups.csv").is_file():
        listed: dict[str, str] = {}
        for label, group in _read_csv(file, "group"):
            if listed.setdefault(name := _match_id(label, ids, file), group) != group:
                raise UserError(
                    f"'{file}' puts '{name}' into both {listed[name]} and {group}; keep one of them"
                )
        groups |= listed
    return groups


def read_split(root: Path, ids: Sized[str]) -> tuple[dict[str, tuple[str, ...]], str] | None:
    """The official split, part to ids, and the name of its file; None where there is no file.

    The first of `SPLIT_FILES` counts. All three parts are keys, some perhaps without ids; an id may
    be in no part.

    Args:
        root: the folder.
        ids: names of all items.

    Raises:
        UserError: the file cannot be read, or has an unknown part or id, or an id in two parts.
    """
    file = next((root / name for name in SPLIT_FILES if (root / name).is_file()), None)
    if file is None:
        return None
    if file.suffix == ".csv":
        rows = _read_csv(file, "part", "split", "set", "subset")
    else:
        parts = _read_json(file)
        if not all(isinstance(names, list) for names in parts.values()):
            raise UserError(f"'{file}' must hold a list of ids for each part; correct the file")
        rows = [(str(name), part) for part, names in parts.items() for name in names]
    part_of: dict[str, str] = {}
    for label, word in rows:
        part = PARTS.get(word.lower())
        if part is None:
            raise UserError(f"'{file}' names a part '{word}'; allowed are train, val and test")
        name = _match_id(label, ids, file)
        if part_of.setdefault(name, part) != part:
            raise UserError(
                f"'{file}' puts '{name}' into both {part_of[name]} and {part}; keep it in one part"
            )
    split = {
        part: tuple(name for name, place in part_of.items() if place == part)
        for part in dict.fromkeys(PARTS.values())
    }
    return split, file.name


def _match_id(label: str, ids: Sized[str], file: Path) -> str:
    """The id that a file names, with or without a file suffix."""
    if label in ids:
        return label
    path = Path(label)
    if path.suffix.lower() in SUFFIXES and path.stem in ids:
        return path.stem
    raise UserError(f"'{file}' names '{label}', but there is no such image; correct the name")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(
            file.read_text(encoding="utf-8-sig"), object_pairs_hook=partial(_unique, file)
        )
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"'{file}' is not valid JSON ({error}); correct the file") from error
    if not isinstance(content, dict):
        raise UserError(f"'{file}' must hold one JSON object, as in {{...}}; correct the file")
    return content


def _unique(file: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, which must not hold a key twice: the first would be lost."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"'{file}' holds '{twice}' twice; keep one of them or rename it")
    return content


def _read_csv(file: Path, *headers: str) -> list[tuple[str, str]]:
    """Rows of two columns, separated by comma, semicolon or tab, without a header row."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except ValueError as error:
        raise UserError(f"'{file}' is not UTF-8 text ({error}); save it as UTF-8") from error
    delimiter = max(",;\t", key="".join(lines[:1]).count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    rows = [row for row in rows if any(row)]
    if rows and (rows[0][0].lower() in _HEADERS or rows[0][-1].lower() in headers):
        rows = rows[1:]
    if bad := next((row for row in rows if len(row) != 2), None):
        raise UserError(f"'{file}' has a row {bad}; each row must be an id and a {headers[0]}")
    return [(row[0], row[1]) for row in rows]
