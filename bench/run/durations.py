"""Times as a user writes them."""

import re

from bench.errors import UserError

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def read_seconds(text: str, option: str) -> float:
    """The seconds of a time such as "90s", "5min" or "1.5h"; 0 for "0".

    Args:
        text: what the user gave.
        option: its name, for the error.

    Raises:
        UserError: it is not a time.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h)", text.strip())
    if match:
        return float(match[1]) * UNITS[match[2]]
    if text.strip() == "0":
        return 0.0
    raise UserError(f"{option} is '{text}': give a time as 90s, 5min or 1h, or 0 for never")
