"""Mistakes of the user, told in one sentence."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """What was given, what is allowed, what to do; the command line prints it and exits with 2."""


def no_such(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Say that no `kind` is called `name`, with the nearest known name and the whole list."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UserError(f"no {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}")


class UnsupportedError(Exception):
    """The method cannot do this task: its cell is recorded as unsupported, with the reason."""
