"""Errors with a message for the user."""

import difflib
from collections.abc import Iterable


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
