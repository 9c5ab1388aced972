"""Times as a user writes them."""

import re

from bench.errors import UserError, check_number, shorten

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def read_seconds(text: str, option: str) -> float:
    """The seconds of a time such as "90s", "5min" or "1.5h"; 0 for "0".

    Args:
        text: what the user gave.
        option: its name, for the error.

    Raises:
        UserError: it is not a time, or longer than a year.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(s|min|h)", text.strip())
    if match:
        seconds = float(match[1]) * UNITS[match[2]]
        check_number("time", seconds, f"{option} in seconds")
        return seconds
    if text.strip() == "0":
        return 0.0
    raise UserError(
        f"{option} is '{shorten(text)}': give a time as 90s, 5min or 1h, or 0 for never"
    )
