"""Errors with a message for the user."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user. The command line prints the message and exits with status 2.

    The message says in one sentence what was given, what is allowed and what to do.
    """


def no_such(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error that `name` is not a known `kind`, with the most similar name and all known names.

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

    The record of the cell gets the status "unsupported", and the message is its reason.
    """


class DivergedError(RuntimeError):
    """A loss or logits are not finite. The record of the cell gets the status "diverged"."""
