"""Plain values of TOML and JSON files, checked against the type hints of what is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_hints = cache(get_type_hints)


def from_plain(hint: Any, value: Any, name: str) -> Any:
    """Make what a type hint says of a plain value.

    Args:
        hint: text, a number, bool, `Path`, None, `tuple[X, ...]`, `Sequence[X]`, `Mapping[str, X]`,
            a dataclass of these, a union of these, or Any. A whole number also counts as a float.
        value: as a reader of TOML or JSON gives it.
        name: what the message calls the value.

    Returns:
        The value; text becomes a `Path`, a list a tuple, and a table a dataclass, where the hint
        says so. A `Sequence` stays a list.

    Raises:
        TypeError: the value or a part of it has another type, or a field is missing or unknown: a
            phrase that names the first one.
    """
    outer, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if outer in (Union, UnionType):
        return _from_union(parts, value, name)
    if outer in (tuple, Sequence) and isinstance(value, list):
        entries = [from_plain(parts[0], one, f"an entry of {name}") for one in value]
        return tuple(entries) if outer is tuple else entries
    if outer is Mapping and isinstance(value, dict):
        return {key: from_plain(parts[1], one, f"{name}.{key}") for key, one in value.items()}
    if is_dataclass(hint) and isinstance(value, dict):
        return _from_table(hint, value, name)
    if hint is Path and isinstance(value, str):
        return Path(value)
    kinds = (int, float) if hint is float else hint
    simple = hint in (NoneType, *_WORDS) and isinstance(value, kinds)
    if simple and (hint is bool or not isinstance(value, bool)):  # true is an int of Python
        return value
    raise TypeError(f"{name} is {value!r:.40}, expected {_describe(hint)}")


def field_from_plain(cls: type, name: str, value: Any) -> Any:
    """As `from_plain`, with the type hint of one field of a dataclass.

    Raises:
        TypeError: as `from_plain`, or there is no such field.
    """
    if name not in _hints(cls):
        raise TypeError(f"{name!r:.40} is an unknown field")
    return from_plain(_hints(cls)[name], value, name)


def _from_union(parts: tuple[Any, ...], value: Any, name: str) -> Any:
    """The value as the first part of a union that it fits."""
    for part in parts:
        try:
            return from_plain(part, value, name)
        except TypeError:
            if is_dataclass(part) and isinstance(value, dict):  # one of its fields is at fault
                raise
    raise TypeError(f"{name} is {value!r:.40}, expected {' or '.join(map(_describe, parts))}")


def _from_table(cls: Any, values: Mapping[str, Any], name: str) -> Any:
    known = {field.name: field for field in fields(cls)}
    for key in values:
        if key not in known:
            raise TypeError(f"{name} has the unknown field {key!r:.40}")
    for key, field in known.items():
        if key not in values and field.default is field.default_factory is MISSING:
            raise TypeError(f"{name} has no field '{key}'")
    return cls(
        **{key: from_plain(_hints(cls)[key], one, f"{name}.{key}") for key, one in values.items()}
    )


def _describe(hint: Any) -> str:
    if hint is NoneType:
        return "nothing"
    if get_origin(hint) in (tuple, Sequence):
        return "a list"
    if get_origin(hint) is Mapping or is_dataclass(hint):
        return "a table"
    return _WORDS.get(hint, "text")
