"""Random input: a few examples each time, or many by `FUZZ_CPU_S=600 pytest tests/cli -k fuzz`."""

import copy
import functools
import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Verbosity, given, seed, settings
from hypothesis import strategies as st

from bench.errors import UserError

LONG_S = float(os.environ.get("FUZZ_CPU_S", "0"))  # of CPU for each test; 0: the short form


def fuzz(*strategies: Any, examples: int = 60) -> Callable[[Callable[..., None]], Any]:
    """A decorator: call a test with values of strategies, which are its last parameters.

    The short form has always the same examples. The long form draws new ones until its time is up.
    """

    def decorate(test: Callable[..., None]) -> Any:
        short = _settings(examples, derandomize=True)(given(*strategies)(test))
        if not LONG_S:
            return short

        @functools.wraps(short)
        def long(**fixtures: Any) -> None:
            began, number, end = time.time_ns(), 0, time.process_time() + LONG_S
            while time.process_time() < end:
                number += 1
                again = _settings(20 * examples)(seed(began + number)(given(*strategies)(test)))
                again(**fixtures)
            print(f"{test.__name__}: {number * 20 * examples} examples")  # noqa: T201

        return long

    return decorate


def _settings(examples: int, derandomize: bool = False) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        verbosity=Verbosity.normal,
        suppress_health_check=list(HealthCheck),
    )


def check_sentence(error: UserError, words: str = "") -> None:
    """The error is a sentence with some words."""
    assert str(error)
    assert words in str(error)


@st.composite
def spoiled(draw: st.DrawFn, raw: bytes) -> bytes:
    """A file with a few other bytes, other numbers, parts moved, or a cut end."""
    content = bytearray(raw)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, min(len(content), 4096) - 1)) | _places(content))
        kind = draw(st.sampled_from(["byte", "number", "drop", "repeat"]))
        if kind == "byte" and content:
            content[place] = draw(st.integers(0, 255))
        elif kind == "number":
            number = draw(st.sampled_from([0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]))
            content[place : place + 4] = number.to_bytes(4, draw(st.sampled_from(ORDERS)))
        elif kind == "drop":
            del content[place : place + draw(st.integers(1, 40))]
        elif kind == "repeat":
            part = content[place : place + draw(st.integers(1, 40))]
            content[place:place] = part
    end = draw(st.just(len(content)) | _places(content))
    return bytes(content[:end])


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([0, 1, -1, 1e400, 10**30, "", "x", "1", "\0", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@st.composite
def changed(draw: st.DrawFn, values: Any) -> Any:
    """Values of a JSON or TOML file of which one to three are others, missing, or new."""
    whole = {"whole": copy.deepcopy(values)}
    for _ in range(draw(st.integers(1, 3))):
        part, key = whole, "whole"
        while isinstance(part[key], dict | list) and part[key] and draw(st.integers(0, 9)):
            part = part[key]
            keys = list(range(len(part))) if isinstance(part, list) else sorted(part)
            key = draw(st.sampled_from(keys))
        how = draw(st.sampled_from(["other", "other", "other", "missing", "new"]))
        if how == "missing" and part is not whole:
            del part[key]
        elif how == "new" and isinstance(part, dict) and part is not whole:
            part[draw(st.text(max_size=5))] = draw(PLAIN)
        else:
            part[key] = draw(PLAIN)
    return whole["whole"]


ORDERS: tuple[Any, ...] = ("little", "big")


def _places(content: bytearray) -> st.SearchStrategy[int]:
    return st.integers(0, max(0, len(content) - 1))
