"""Variants of methods for a race under `--tune`: learning rates, and one option of each method."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bench.plugins.registry import Method, get_method
from bench.spec import Cell, OptionValue

VARIANTS = 5  # of every method, itself included: the same budget for each
RATES = (1 / 3, 3.0)  # multiples of the method's own learning rate, tried first
MORE_RATES = (0.1, 10.0)  # tried by methods without an option to tune
OPTIONS: Mapping[str, tuple[float, ...]] = {"rank": (0.25, 4.0), "width": (0.5, 2.0)}


def with_variants(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, each followed by its variants; every method gets `VARIANTS` in all.

    A variant has another learning rate, or another value of the first option of `OPTIONS` that the
    method has. A method that trains nothing has no variants. Repetitions are left out.

    Args:
        cells: the runs of methods under the `equal` protocol.
    """
    once: dict[str, Cell] = {}
    for cell in cells:
        for variant in (cell, *_variants(cell)):
            once.setdefault(variant.id, variant)
    return list(once.values())


def _variants(cell: Cell) -> Iterator[Cell]:
    method = get_method(cell.method)
    if not method.lr:
        return
    changed = list(_options(method, cell.options))
    rates = RATES if changed else (*RATES, *MORE_RATES)
    for factor in rates:
        rate = float(f"{cell.recipe.lr * factor:.1g}")
        yield replace(cell, recipe=replace(cell.recipe, lr=rate))
    for options in changed:
        yield replace(cell, options=options)


def _options(method: Method, chosen: Mapping[str, OptionValue]) -> Iterator[dict[str, OptionValue]]:
    """The options with a smaller and a larger value of the first one that can be tuned."""
    for name, factors in OPTIONS.items():
        default = method.options.get(name)
        if isinstance(default, int) and not isinstance(default, bool) and default > 0:
            current = chosen.get(name, default)
            assert isinstance(current, int)
            for factor in factors:
                value = max(1, round(current * factor))
                options = {**chosen, name: value}
                yield {key: one for key, one in options.items() if one != method.options[key]}
            return
