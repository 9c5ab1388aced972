"""Check the types of values read from JSON against the fields of a dataclass."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Part = TypeVar("Part")


@cache
def kinds_of(cls: type) -> dict[str, tuple[type, ...]]:
    """The types that JSON may hold for each field of a dataclass."""
    stored = {float: (float, int), tuple: (list, tuple), Mapping: (dict,), Literal: (str,)}
    kinds: dict[str, tuple[type, ...]] = {}
    for name, hint in get_type_hints(cls).items():
        # A union with a Literal is a `Union`, any other one a `UnionType`.
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        outer = [get_origin(part) or part for part in parts]
        kinds[name] = tuple(
            kind
            for part in outer
            for kind in ((dict,) if is_dataclass(part) else stored.get(part, (part,)))
        )
    return kinds


def expect_kinds(kinds: Mapping[str, tuple[type, ...]], values: Mapping[str, Any]) -> None:
    """Raise TypeError for the first value that has another type."""
    for name, value in values.items():
        if name in kinds and not isinstance(value, kinds[name]):
            allowed = dict.fromkeys(kind.__name__ for kind in kinds[name])
            raise TypeError(f"{name} is {value!r:.40}, expected {' or '.join(allowed)}")


def read_part(cls: type[Part], values: Mapping[str, Any] | None) -> Part | None:
    """Make a dataclass of plain values from JSON; None from None.

    Raises:
        TypeError: a field is missing, unknown or of another type.
    """
    if values is None:
        return None
    expect_kinds(kinds_of(cls), values)
    return cls(**values)
