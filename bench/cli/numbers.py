"""Options with numbers: each is checked as it is parsed, before anything starts.

The bounds are in `bench.errors.BOUNDS`.
"""

import argparse
from collections.abc import Callable
from pkgutil import resolve_name

from bench.errors import UserError, read_number, shorten


class Number:
    """The `type` of an option that is one number, within its bounds.

    Args:
        name: key of `bench.errors.BOUNDS`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, text: str) -> int | float:
        """Read the number; ArgumentTypeError if it is not one, or out of bounds."""
        try:
            return read_number(self.name, text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from None


class NumbersInText:
    """The `type` of an option that holds numbers in text: checked at once, kept as it is typed.

    Args:
        reader: reads the text and raises UserError if something in it is not allowed; a function,
            or "module:name" of one that is imported when the option is parsed.
        arguments: further ones of the reader.
    """

    def __init__(self, reader: str | Callable[..., object], *arguments: str | None) -> None:
        self.reader, self.arguments = reader, arguments

    def __call__(self, text: str) -> str:
        """Check the text; ArgumentTypeError if it is not allowed."""
        reader = resolve_name(self.reader) if isinstance(self.reader, str) else self.reader
        try:
            reader(text, *self.arguments)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text


def read_pixel_size(text: str) -> float | str:
    """The number of `--pixel-size`, or "file"."""
    return text if text == "file" else float(read_number("pixel-size", text))


def read_levels(text: str) -> tuple[float, float]:
    """The two numbers of `--levels`, the lower one first.

    Raises:
        UserError: there are not two numbers, one is out of bounds, or the first is not the lower.
    """
    words = text.split(",")
    if len(words) != 2:
        raise UserError(f"--levels is {shorten(repr(text))}: give two numbers, as --levels=0,4095")
    low, high = (float(read_number("levels", word, "a number of --levels")) for word in words)
    if not low < high:
        raise UserError(f"--levels is '{text}': the first number must be the lower one")
    return low, high
