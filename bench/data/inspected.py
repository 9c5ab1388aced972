"""The contents of the files of many items, remembered until a file changes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.data.contents import Contents, inspect
from bench.data.items import Item
from bench.data.parallel import for_each, threads_for
from bench.data.remember import Remembered, State, state_of

EDITION = 2  # of `Contents` and of how files are decoded; a higher number forgets all
_WITH_VALUES = ("values", "colours", "inside")  # keys are numbers, which JSON does not have


def inspect_all(items: Sequence[Item]) -> tuple[Contents, ...]:
    """The result of `inspect` for each item; only new and changed files are decoded.

    Raises:
        UserError: the first fault of a file.
    """
    places = [item.image.parent for item in items if isinstance(item.image, Path)]
    if not places:
        return tuple(for_each(inspect, items, "reading images", threads_for(items)))
    memory = Remembered(f"contents{EDITION}", places[0])
    known: dict[int, Contents] = {}
    states = [_state(item) for item in items]
    for number, (item, state) in enumerate(zip(items, states, strict=True)):
        stored = memory.recall(_name(item), state) if state else None
        if stored is not None:
            known[number] = _from_plain(stored)
    missing = [number for number in range(len(items)) if number not in known]
    if missing:
        several = [items[number] for number in missing]
        made = for_each(inspect, several, "reading images", threads_for(several))
        for number, item, contents in zip(missing, several, made, strict=True):
            known[number] = contents
            if state := states[number]:
                memory.keep(_name(item), state, contents._asdict())
        memory.save()
    return tuple(known[number] for number in range(len(items)))


def _state(item: Item) -> State | None:
    """State of the files of an item; None if one is missing, which its reader says."""
    parts = (item.image, item.mask, item.instances)
    files = [part for part in parts if isinstance(part, Path)]
    try:
        return state_of(files) if files else None
    except OSError:
        return None


def _name(item: Item) -> str:
    return f"{item.image} {item.mask} {item.instances} {item.selection}"


def _from_plain(stored: dict[str, Any]) -> Contents:
    """Inverse of `_asdict` after a way through JSON."""
    values: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()
    }
    for name in _WITH_VALUES:
        values[name] = {
            int(key): tuple(value) if isinstance(value, list) else value
            for key, value in stored[name].items()
        }
    return Contents(**values)
