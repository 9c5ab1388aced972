"""Optional files in a folder: description, classes, official split, specimen groups.

All are optional:

- `meta.json`: {"classes": {"0": name, ...} or [name, ...], "ignore_index": 255, "licence": ...,
  "source": ..., "items": {id: {"group": ...}}}
- `classes.json`: {name: mask value, ..., "ignore": 255}, the background first; instead of
  meta.json. A value is an integer, a colour "#ff0000" or [255, 0, 0], a list of values,
  a range "100..199", or "others". Also
  {mask value: name}, [name, ...], a list of {"name": ..., "value" or "id" or "color": ...}, and
  each of these under "classes", "labels", "categories", "names", "id2label" or "label2id".
- `classes.txt` (or `labels.txt`, `labelmap.txt`): a class in each line: its name, or with its value
  before or behind it, as in "1 grain" or "grain: 255,0,0"; instead of classes.json
- `split.json`: {"train": [id, ...], "val": [...], "test": [...]}, or `split.csv`: id,part
- `groups.csv`: id,group; instead of the groups of meta.json
"""

import csv
import re
from collections.abc import Collection as Sized
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from bench.data.folder.classes import Classes, read_declaration
from bench.data.raster import SUFFIXES
from bench.errors import UserError, shorten
from bench.files import parse_json
from bench.wording import nfc

CLASS_LISTS = ("classes.txt", "labels.txt", "labelmap.txt")
SPLIT_FILES = ("split.json", "splits.json", "split.csv", "splits.csv")
SIDECARS = frozenset({"classes.json", *CLASS_LISTS, "meta.json", "groups.csv", *SPLIT_FILES})
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


def read_classes(root: Path, meta: dict[str, Any], stored: Iterable[int]) -> Classes | None:
    """Classes declared in `classes.json`, a text file or `meta.json`; None without a declaration.

    Args:
        root: the folder.
        meta: contents of its `meta.json`.
        stored: all values of its masks.

    Raises:
        UserError: as `read_meta` and `read_declaration`.
    """
    if (file := root / "classes.json").is_file():
        return read_declaration(_load_json(file), file, stored)
    for file in (root / name for name in CLASS_LISTS):
        if file.is_file():
            return read_declaration(list_of_lines(_read_text(file)), file, stored)
    if not (declared := meta.get("classes")):
        return None
    if not isinstance(declared, dict | list):
        raise UserError(f"'{root / 'meta.json'}' must list classes as an object or a list of names")
    return read_declaration(declared, root / "meta.json", stored, meta.get("ignore_index"))


def list_of_lines(text: str) -> Any:
    """The classes of a text file, as `read_declaration` takes them.

    All lines must have one form: value and name, name and colour, name and value, or the name
    alone. Empty lines and those that begin with "# " are left out, as is "::" at the end.
    """
    lines = [line.strip().removesuffix("::") for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("# ")]
    for pattern, order in _LINES:
        found = [pattern.fullmatch(line) for line in lines]
        pairs = [[match[order[0]], match[order[1]]] for match in found if match]
        if len(pairs) == len(lines) and len({name for name, _ in pairs}) == len(lines):
            return [[name, _as_value(value)] for name, value in pairs]
    return lines


def _as_value(text: str) -> Any:
    numbers = re.findall(r"\d+", text) if re.search(r"\d[\s,]+\d", text) else []
    return list(map(int, numbers)) if numbers else text


# What a line of a list of classes holds: pattern, and its groups of name and value.
_GAP = r"[\s,:;=]+"
_LINES = (
    (re.compile(rf"(-?\d+|#[0-9a-fA-F]{{6}}){_GAP}(\D.*)"), (2, 1)),
    (re.compile(rf"(.*?\D){_GAP}(\d+[\s,]+\d+[\s,]+\d+)"), (1, 2)),
    (re.compile(rf"(.*?[^\s,:;=]){_GAP}(-?\d+|#[0-9a-fA-F]{{6}})"), (1, 2)),
)


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
        for name, entry in ((nfc(key), entry) for key, entry in entries.items())
        if name in ids and entry.get("group") is not None
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
    """The id that a file names, with or without folders and a file suffix."""
    if (label := nfc(label).replace("\\", "/")) in ids:
        return label
    path = Path(label)
    for name in (path.name, path.stem if path.suffix.lower() in SUFFIXES else ""):
        if name in ids:
            return name
    raise UserError(f"'{file}' names '{label}', but there is no such image; correct the name")


def _read_json(file: Path) -> dict[str, Any]:
    content = _load_json(file)
    if not isinstance(content, dict):
        raise UserError(f"'{file}' must hold one JSON object, as in {{...}}; correct the file")
    return content


def _load_json(file: Path) -> Any:
    try:
        return parse_json(_read_text(file), object_pairs_hook=partial(_unique, file))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"'{file}' is not valid JSON ({error}); correct the file") from error


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
    lines = _read_text(file).splitlines()
    delimiter = max(",;\t", key="".join(lines[:1]).count)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error as error:
        raise UserError(f"'{file}' is not a table ({error}); correct the file") from error
    rows = [row for row in rows if any(row)]
    if rows and (rows[0][0].lower() in _HEADERS or rows[0][-1].lower() in headers):
        rows = rows[1:]
    if bad := next((row for row in rows if len(row) != 2), None):
        shown = shorten(str(bad))
        raise UserError(f"'{file}' has a row {shown}; each row must be an id and a {headers[0]}")
    return [(row[0], row[1]) for row in rows]


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except ValueError as error:
        raise UserError(f"'{file}' is not UTF-8 text ({error}); save it as UTF-8") from error
