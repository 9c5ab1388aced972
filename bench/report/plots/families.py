"""The colour, marker and line of every method, which no other method in a report changes."""

import hashlib
import importlib
import math
import re
import tomllib
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.colors import to_hex, to_rgb

from bench.errors import UserError
from bench.files import all_are, quote

# A hue for each family of `methods/families.toml`, for every kind of colour vision (after Paul Tol,
# SRON/EPS/TN/09-002). Grey is left to rows that are not highlighted.
_HUES = {
    "frozen": "#999933",
    "everything": "#CC3355",
    "low_rank": "#4455BB",
    "adapters": "#2E9C8B",
    "few": "#AA4499",
    "scratch": "#C4771A",
}
_OTHER = "#1B7837"  # methods that are in no family
_SHADES = (0.0, 0.4, -0.4, 0.2, -0.2, 0.55)  # share of white, or of black below 0
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.")
_NUMBER = r"(?<==)\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])"  # the value of an option or a setting
_DOUBLINGS = (-20, -4, 0, 6, 20)  # logarithms to base 2 of numbers with known places


def look_of(method: str, name: str) -> tuple[str, str, str]:
    """Return colour as "#RRGGBB", marker and line of a row; they depend on nothing else.

    Rows of one family have one hue. Shade and marker are those of the method if the row has no
    other name. Else the numbers in the name choose the shade, dark for small ones, so that
    lora[rank=1], lora[rank=4] and lora[rank=16] are in order; a hash of the rest of the name
    chooses marker and a broken line, which all values of an option share.

    Args:
        method: name of the method.
        name: of the row in figures.
    """
    family, place = _places().get(method, ("", 0))
    if name == method and family:
        share, marker, line = _SHADES[place % len(_SHADES)], place, LINES[0]
    else:
        numbers = [float(number) for number in re.findall(_NUMBER, name)]
        series = _hash(re.sub(_NUMBER, "", name))
        order = fmean(map(_place_of, numbers)) if numbers else series % 101 / 100
        share, marker = 1.25 * order - 0.6, series
        line = LINES[1 + series % 3] if family else LINES[series % 4]
    towards = 1.0 if share > 0 else 0.0
    red, green, blue = (
        part + abs(share) * (towards - part) for part in to_rgb(_HUES.get(family, _OTHER))
    )
    colour = to_hex((red, green, blue))
    return colour.upper(), MARKERS[marker % len(MARKERS)], line


def family_of(method: str) -> str:
    """Return the key of the family of a method in `methods/families.toml`; "" in no family."""
    return _places().get(method, ("", 0))[0]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def _place_of(number: float) -> float:
    """A place in [0, 1] that grows with the number, most between 1 and 64."""
    return float(np.interp(math.log2(max(number, 1e-6)), _DOUBLINGS, (0.0, 0.08, 0.15, 0.95, 1.0)))


@cache
def _places() -> dict[str, tuple[str, int]]:
    """Family and place in it of every listed method."""
    folder = Path(importlib.import_module("bench.methods").__path__[0])
    file = folder / "families.toml"
    try:
        families = tomllib.loads(file.read_text("utf-8"))
        if not all(isinstance(one, list) and all_are(one, str) for one in families.values()):
            raise ValueError("each family is a list of names of methods")
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested too deeply
        raise UserError(f"cannot use {quote(file)} ({error}): correct or restore it") from error
    return {
        method: (family, place)
        for family, methods in families.items()
        for place, method in enumerate(methods)
    }
