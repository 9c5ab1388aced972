"""The language of `--methods`: names with lists of option values, expanded to a grid."""

import itertools
import re

from bench.errors import BOUNDS, UserError, read_number, shorten
from bench.plugins.registry import OPTION_TYPES, Method, get_method
from bench.spec import OptionValue

Options = dict[str, OptionValue]


def parse_methods(text: str) -> list[tuple[Method, Options]]:
    """Expand the text of `--methods` to methods with their options.

    `lora[rank=1|4],adapter` gives lora with rank 1, lora with rank 4, and adapter.

    Args:
        text: as typed on the command line.

    Returns:
        Each method with the options that were typed, in the order typed, without repetitions. An
        option that was typed with its default value is kept.

    Raises:
        UserError: the text cannot be read (or is empty), contains an unknown method or option or a
            value of another type, or a method cannot be imported here.
    """
    points: list[tuple[Method, Options]] = []
    for part in re.split(r",(?![^\[]*\])", text):  # commas outside brackets
        match = re.fullmatch(r"\s*(\w+)\s*(?:\[([^\[\]]*)\])?\s*", part)
        if match is None:
            raise UserError(
                f"cannot read the method '{part.strip()}': write name or "
                "name[option=value|value,option=value], with every bracket closed"
            )
        method = get_method(match[1])
        grid = _parse_options(method, match[2] or "")
        for values in itertools.product(*grid.values()):
            point = method, dict(zip(grid, values, strict=True))
            if point not in points:
                points.append(point)
    return points


def _parse_options(method: Method, text: str) -> dict[str, list[OptionValue]]:
    grid: dict[str, list[OptionValue]] = {}
    for setting in text.split(",") if text.strip() else []:
        key, equals, values = (word.strip() for word in setting.partition("="))
        if key not in method.options:
            known = f"it has {', '.join(method.options)}" if method.options else "it has none"
            raise UserError(f"{method.name} has no option '{key}'; {known}")
        if not equals or key in grid:
            raise UserError(f"give option '{key}' of {method.name} once, as {key}=value|value")
        grid[key] = [_convert(method, key, value.strip()) for value in values.split("|")]
    return grid


def _convert(method: Method, key: str, text: str) -> OptionValue:
    """The value in the type of the option's default."""
    default = method.options[key]
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, str):
            return text
        if isinstance(default, int) and not re.fullmatch("[+-]?[0-9]+", text):
            raise ValueError
        name = key if key in BOUNDS else "option"
        value = read_number(name, text, f"option '{key}' of {method.name}")
    except UserError:
        raise
    except (ValueError, KeyError):
        expected = OPTION_TYPES[type(default)]
        message = f"option '{key}' of {method.name} must be {expected}, not '{shorten(text)}'"
        raise UserError(message) from None
    return type(default)(value)
