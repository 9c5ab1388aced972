"""Options with numbers: each is checked as it is parsed, before anything starts.

The bounds are in `bench.errors.BOUNDS`. What reads a text is imported when the option is parsed.
"""

import argparse
from collections.abc import Callable

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
        read: reads the text and raises UserError if something in it is not allowed.
    """

    def __init__(self, read: Callable[[str], object]) -> None:
        self.read = read

    def __call__(self, text: str) -> str:
        """Check the text; ArgumentTypeError if it is not allowed."""
        try:
            self.read(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text


def read_seeds(text: str) -> object:
    """As `bench.ask.request.read_seeds`."""
    from bench.ask import request

    return request.read_seeds(text)


def read_labels(text: str) -> object:
    """As `bench.ask.request.read_labels`."""
    from bench.ask import request

    return request.read_labels(text)


def read_rates(text: str) -> object:
    """As `bench.ask.request.read_rates`."""
    from bench.ask import request

    return request.read_rates(text)


def read_split(text: str) -> object:
    """As `bench.data.split.canonical_ratio`."""
    from bench.data.split import canonical_ratio

    return canonical_ratio(text)


def read_shard(text: str) -> object:
    """As `bench.run.shard.read_shard`."""
    from bench.run import shard

    return shard.read_shard(text)


def read_channels(text: str) -> object:
    """As `bench.data.selection.Selection.parse`."""
    from bench.data.selection import Selection

    return Selection.parse(text, None)


def read_crop(text: str) -> object:
    """As `bench.data.selection.Selection.parse`."""
    from bench.data.selection import Selection

    return Selection.parse(None, text)


def read_zoom(text: str) -> str:
    """As `bench.ask.request.read_zoom`."""
    from bench.ask import request

    return request.read_zoom(text)


def read_gpu(text: str) -> object:
    """As `bench.cost.predict.gpus.find_gpu`."""
    from bench.cost.predict.gpus import find_gpu

    return find_gpu(text)


def read_time(text: str) -> object:
    """As `bench.run.durations.read_seconds`, for `--max-time`."""
    from bench.run.durations import read_seconds

    return read_seconds(text, "--max-time", "max-time")


def read_pause(text: str) -> object:
    """As `bench.run.durations.read_seconds`, for `--save-every`."""
    from bench.run.durations import read_seconds

    return read_seconds(text, "--save-every")


def read_stall(text: str) -> object:
    """As `bench.run.durations.read_seconds`, for `--stall`."""
    from bench.run.durations import read_seconds

    return read_seconds(text, "--stall")


def read_count(text: str) -> object:
    """As `bench.choice.limits.parse_count`."""
    from bench.choice.limits import parse_count

    return parse_count(text)


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
