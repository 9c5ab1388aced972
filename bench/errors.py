"""Errors with a message for the user, and the bounds of all numbers that a user gives."""

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

LONGEST_NUMBER = 400  # characters; Python refuses to read whole numbers of more than 4,300 digits


class UserError(ValueError):
    """A mistake of the user, or a fault that the user can mend, such as a full disk.

    The command line prints the message and exits with status 2.

    The message says in one sentence what was given, what is allowed and what to do.
    """


class WriteError(UserError):
    """A file cannot be written, for example because the disk is full."""


def no_such(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error that `name` is not a known `kind`; it is returned, not raised.

    Its message has all known names, sorted, and the most similar one if any is similar.

    Args:
        kind: such as "method".
        name: the unknown name.
        known: all names that are allowed.
    """
    names = sorted(known)
    similar = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{similar[0]}'?" if similar else ""
    return UserError(f"no {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}")


class UnsupportedError(Exception):
    """A method cannot be used for a task, for example with this backbone or for volumes.

    The record of the cell gets the status "unsupported", and the message is its
    `error`. This is no `UserError`: code that catches only that one lets it pass.
    """


class DivergedError(RuntimeError):
    """A loss, a logit or a predicted IoU is not finite.

    The record of the cell gets the status "diverged".
    """


@dataclass(frozen=True)
class Bound:
    """The values that a number may have.

    Attributes:
        low: the smallest value, or the number that it must be above if `above`.
        high: the largest value.
        kind: int for whole numbers only, float for all finite numbers.
        reason: why there is an upper bound, as a phrase.
        above: whether `low` itself is not allowed.
    """

    low: float
    high: float
    kind: type[int] | type[float]
    reason: str
    above: bool = False

    @property
    def words(self) -> str:
        """The allowed values in words: "a whole number from 1 to 1,000"."""
        what = "a whole number" if self.kind is int else "a number"
        if self.above:
            return f"{what} above {_show(self.low)}, up to {_show(self.high)}"
        return f"{what} from {_show(self.low)} to {_show(self.high)}"

    def allows(self, value: object) -> bool:
        """Whether a value is a number of this kind within the bounds."""
        kind = Integral if self.kind is int else Real
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        # Whole numbers of any size are compared as they are; nan fails both comparisons.
        number = int(value) if isinstance(value, Integral) else float(value)
        return (self.low < number if self.above else self.low <= number) and number <= self.high


# Bounds of all numbers of the command line and of the Python interface, by the name of the option.
# Each upper bound is far above what is useful here and below what breaks something.
BOUNDS = {
    "accumulate": Bound(1, 65_536, int, "a batch has no more images"),
    "batch-size": Bound(1, 65_536, int, "no device holds a larger batch"),
    "channels": Bound(0, 65_535, int, "no image has more channels"),
    "classes": Bound(1, 254, int, "a mask stores a class in one byte, and 255 means unlabelled"),
    "clicks": Bound(0, 1_000, int, "each click is one more prompt of every image"),
    "crop": Bound(0, 999_999, int, "no image has more pixels on a side"),
    "depth": Bound(1, 1_024, int, "no device holds a larger stack"),
    "epochs": Bound(1, 1_000_000, int, "the training would not end"),
    "folds": Bound(1, 10_000, int, "each fold is a training of every method"),
    "gpu": Bound(0, 1_000_000, float, "no device has more GB", above=True),
    "image-size": Bound(1, 8_192, int, "no device holds the attention of larger images"),
    "images": Bound(1, 1_000_000_000, int, "no collection has more images"),
    "jobs": Bound(1, 1_024, int, "each job is a process of its own"),
    "labels": Bound(1, 1_000_000_000, int, "no collection has more images"),
    "levels": Bound(-1e30, 1e30, float, "pixels are computed in single precision"),
    "lr": Bound(0, 1_000, float, "no training converges at a higher rate", above=True),
    "max-params": Bound(1, 10**13, int, "no model has more parameters"),
    "max-time": Bound(0, 31_536_000, float, "a year has no more seconds", above=True),
    "min-area": Bound(1, 10**12, int, "no image has more pixels"),
    "min-speed": Bound(0, 1_000_000_000, float, "no model is faster", above=True),
    "option": Bound(-1_000_000, 1_000_000, float, "no method is made for larger values"),
    "parameters": Bound(0, 20_000_000_000, int, "no device here can train a larger model"),
    "pixel-size": Bound(1e-12, 1e12, float, "areas are its square"),
    "seed": Bound(0, 2**32 - 1, int, "NumPy's generators take no larger seed"),
    "seeds": Bound(1, 10_000, int, "each seed is a training of every method"),
    "shard": Bound(1, 1_000_000, int, "no grid has more cells"),
    "split": Bound(0, 999_999, float, "shares of more digits do not differ", above=True),
    "steps": Bound(1, 10_000_000, int, "the training would not end"),
    "threads": Bound(1, 1_024, int, "each thread needs a core"),
    "time": Bound(0, 31_536_000, float, "a year has no more seconds"),
    "timeout": Bound(0, 1_000_000, float, "the system's timers count no further", above=True),
    "zoom": Bound(1, 16, int, "the work grows with its square"),
    # Options of methods: any other one has the bounds of "option".
    "bottleneck": Bound(0, 16_384, int, "no layer of the backbones is wider"),
    "dilation": Bound(0, 64, int, "no image here is larger than such a kernel"),
    "dims": Bound(0, 4_096, int, "no layer of the backbones is wider"),
    "filters": Bound(0, 256, int, "networks are built in memory before they are counted"),
    "heads": Bound(0, 256, int, "no layer of the backbones can be divided further"),
    "kernel": Bound(0, 31, int, "no image here is larger than such a kernel"),
    "tokens": Bound(0, 4_096, int, "no image has more tokens of its own"),
    "width": Bound(0, 1_024, int, "networks are built in memory before they are counted"),
}


def check_number(name: str, value: object, shown: str | None = None) -> None:
    """Check that a value is a number within its bounds.

    Args:
        name: key of `BOUNDS`.
        value: of any type.
        shown: what the message calls the value; None for the option `--name`.

    Raises:
        UserError: it is not: what was given, what is allowed, and why.
    """
    if not BOUNDS[name].allows(value):
        subject = f"--{name}" if shown is None else shown
        text = f"{value}" if isinstance(value, float) else repr(value) if value != "" else "''"
        raise UserError(f"{subject} is {shorten(text)}: give {_allowed(name)}")


def read_number(name: str, text: str, shown: str | None = None) -> int | float:
    """Read a number as a user types it: ASCII digits, perhaps with a sign, point and exponent.

    Args:
        name: key of `BOUNDS`.
        text: as typed; spaces around the number do not matter.
        shown: as of `check_number`.

    Raises:
        UserError: as `check_number`.
    """
    bound, word = BOUNDS[name], text.strip()
    pattern = r"[+-]?\d+" if bound.kind is int else r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
    value: int | float | None = None
    if re.fullmatch(pattern, word, re.ASCII) and len(word) <= LONGEST_NUMBER:
        value = int(word) if bound.kind is int else float(word)
    if value is None or not bound.allows(value):
        subject = f"--{name}" if shown is None else shown
        raise UserError(f"{subject} is {shorten(text) or repr('')}: give {_allowed(name)}")
    return value


def shorten(text: str) -> str:
    """Text for a message: in full up to 60 characters, else its beginning and its length."""
    if len(text) <= 60:
        return text
    return f"{text[:40]}... ({len(text):,} characters)"


def _allowed(name: str) -> str:
    bound = BOUNDS[name]
    return f"{bound.words} ({bound.reason})"


def _show(number: float) -> str:
    whole = math.isfinite(number) and number == int(number) and abs(number) < 1e15
    return f"{int(number):,}" if whole else f"{number:g}"
