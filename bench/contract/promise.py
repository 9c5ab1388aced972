"""Promises in general: a function that raises `BrokenPromiseError`, and its outcome."""

from collections.abc import Callable
from dataclasses import dataclass


class BrokenPromiseError(Exception):
    """A plugin does not keep its contract; the message says in one sentence what differs."""


@dataclass(frozen=True)
class Outcome:
    """The result of one check.

    Attributes:
        promise: one sentence, the same for every plugin.
        failure: what differs; None where the promise is kept.
    """

    promise: str
    failure: str | None


def expect(condition: object, failure: str) -> None:
    """Raise `BrokenPromiseError` with the message `failure` unless `condition` holds."""
    if not condition:
        raise BrokenPromiseError(failure)


def sentence(promise: Callable[..., None]) -> str:
    """The promise in words: the first line of its docstring, without the final stop."""
    return (promise.__doc__ or "").partition("\n")[0].rstrip(".")


def run_promise(promise: Callable[..., None], *arguments: object) -> Outcome:
    """Check one promise; any exception of the plugin is a failure, too."""
    try:
        promise(*arguments)
    except BrokenPromiseError as error:
        return Outcome(sentence(promise), str(error))
    except Exception as error:  # the plugin's own mistake, shown to its author
        reason = (str(error).strip().splitlines() or ["without a message"])[0]
        return Outcome(sentence(promise), f"{type(error).__name__}: {reason}")
    return Outcome(sentence(promise), None)


def some(names: "set[str] | list[str]", most: int = 4) -> str:
    """Up to `most` names in alphabetical order, and how many more there are."""
    shown = sorted(names)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
