"""Plain values of TOML and JSON files, checked against the type hints of what is made of them."""

import json
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

_hints = cache(get_type_hints)


def from_plain(hint: Any, value: Any, name: str) -> Any:
    """Make what a type hint says of a plain value.

    Args:
        hint: a type, as text, a number, `Path`, a collection, a dataclass or a union of these.
        value: as a reader of TOML or JSON gives it.
        name: what the message calls the value.

    Returns:
        The value; text becomes a `Path`, a whole number a float, a list a tuple, and a table a
        dataclass, where the hint says so. Nothing else is converted.

    Raises:
        TypeError: the value or a part of it has another type, or a field is missing or unknown: a
            phrase that names the first one.
    """
    try:
        made = _adapter(hint).validate_json(json.dumps(value), strict=True, extra="forbid")
    except ValidationError as error:
        raise TypeError(_describe(error, name)) from error
    except TypeError as error:  # of json, as for a date of TOML
        raise TypeError(f"{name} is {value!r:.40}, expected a value of JSON") from error
    return made


def to_plain(value: Any, left_out: Any = None) -> dict[str, Any]:
    """The fields of a dataclass as plain values, under the names that `from_plain` reads.

    Args:
        value: an instance of a dataclass.
        left_out: fields to leave out, as pydantic's `exclude`.
    """
    kind: Any = type(value)
    plain: dict[str, Any] = _adapter(kind).dump_python(value, by_alias=True, exclude=left_out)
    return plain


def field_from_plain(cls: type, name: str, value: Any) -> Any:
    """As `from_plain`, with the type hint of one field of a dataclass.

    Raises:
        TypeError: as `from_plain`, or there is no such field.
    """
    if name not in _hints(cls):
        raise TypeError(f"{name!r:.40} is an unknown field")
    return from_plain(_hints(cls)[name], value, name)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def _describe(error: ValidationError, name: str) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join([name, *map(str, first["loc"])])
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where} is {first['input']!r:.40}: {first['msg'].lower()}"
