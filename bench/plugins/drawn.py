"""Images that built-in datasets draw, kept so that a command draws them once for all its cells."""

from collections.abc import Callable, Iterable, Mapping

from bench.data.items import Collection

Drawn = Mapping[str, Collection]

_KEPT: dict[str, Collection] = {}


def draw_once(name: str, draw: Callable[[], Collection]) -> Collection:
    """The collection of a dataset, drawn unless this process has it.

    Args:
        name: of a built-in dataset, whose images are the same in every call.
        draw: makes the collection, whose images nobody may change.
    """
    if name not in _KEPT:
        _KEPT[name] = draw()
    return _KEPT[name]


def drawn_so_far(names: Iterable[str]) -> Drawn:
    """Those of the datasets with these names that this process has drawn, for another process."""
    return {name: _KEPT[name] for name in names if name in _KEPT}


def keep_drawn(drawn: Drawn) -> None:
    """Keep what another process has drawn: the result of `drawn_so_far`."""
    _KEPT.update(drawn)


def forget_drawn(name: str) -> None:
    """Draw the images of a dataset again when they are asked for next."""
    _KEPT.pop(name, None)
