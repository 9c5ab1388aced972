"""Promises of plugins: run a check function and keep its outcome.

A promise is a function that raises `BrokenPromiseError` if a plugin does not keep it. The first
line of its docstring is the sentence that users read.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass


class BrokenPromiseError(Exception):
    """A plugin does not keep its contract; the message is one sentence that says what is wrong."""


@dataclass(frozen=True)
class Outcome:
    """The result of the check of one promise.

    Attributes:
        promise: one sentence, the same for every plugin.
        failure: one sentence that says what is wrong; None if the promise is kept.
    """

    promise: str
    failure: str | None


def expect(condition: object, failure: str) -> None:
    """Raise `BrokenPromiseError` with the message `failure` if `condition` is false."""
    if not condition:
        raise BrokenPromiseError(failure)


def sentence(promise: Callable[..., None]) -> str:
    """Return the first line of the docstring of a promise, without the full stop."""
    return (promise.__doc__ or "").partition("\n")[0].rstrip(".")


def run_promise(promise: Callable[..., None], *arguments: object) -> Outcome:
    """Check one promise.

    An exception in the plugin's code is a failure, too; it is not raised, unless it is no
    `Exception`, as KeyboardInterrupt.

    Args:
        promise: the function to call; the first line of its docstring is the promise.
        arguments: of the call.

    Returns:
        The promise, and what is wrong; for an exception its type and the first line of its message.
    """
    try:
        promise(*arguments)
    except BrokenPromiseError as error:
        return Outcome(sentence(promise), str(error))
    except Exception as error:  # the plugin's own mistake, shown to its author
        reason = (str(error).strip().splitlines() or ["without a message"])[0]
        return Outcome(sentence(promise), f"{type(error).__name__}: {reason}")
    return Outcome(sentence(promise), None)


def shortened(names: Collection[str], most: int = 4) -> str:
    """Return the first `most` names in alphabetical order, and how many more there are.

    For example "a, b, c, d and 3 more".
    """
    shown = sorted(names)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
