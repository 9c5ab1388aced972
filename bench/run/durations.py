"""Times as a user writes them."""

import re

from bench.errors import BOUNDS, UserError, check_number, shorten

UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def read_seconds(text: str, option: str, bound: str = "time") -> float:
    """The seconds of a time such as "90s", "5min" or "1.5h"; 0 for "0".

    Args:
        text: what the user gave.
        option: its name, for the error.
        bound: key of `bench.errors.BOUNDS`, which may exclude 0.

    Raises:
        UserError: it is not a time, or out of bounds.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h)", text.strip())
    if match:
        seconds = float(match[1]) * UNITS[match[2]]
        check_number(bound, seconds, f"{option} in seconds")
        return seconds
    zero = BOUNDS[bound].allows(0)
    if zero and text.strip() == "0":
        return 0.0
    never = ", or 0 for never" if zero else ""
    raise UserError(f"{option} is '{shorten(text)}': give a time as 90s, 5min or 1h{never}")
