"""Variants of methods for a race under `--tune`: learning rates, and one option of each method."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from bench.cost.count import META
from bench.errors import UnsupportedError, UserError
from bench.plugins.registry import Method, get_method
from bench.spec import Cell, OptionValue

VARIANTS = 5  # of every method, itself included: the same budget for each
RATES = (1 / 3, 3.0)  # multiples of the method's own learning rate, tried first
MORE_RATES = (0.1, 10.0)  # tried where an option gives too few variants
OPTIONS: Mapping[str, tuple[float, ...]] = {"rank": (0.25, 4.0), "width": (0.5, 2.0)}


def with_variants(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, each followed by its variants; every method gets `VARIANTS` in all.

    A variant has another learning rate, or another value of the first option of `OPTIONS` that the
    method has and that it can be built with; further learning rates make up the number. A method
    that trains nothing has no variants. Repetitions are left out.

    Args:
        cells: the runs of methods under the `equal` protocol.
    """
    once: dict[str, Cell] = {}
    built: dict[str, bool] = {}
    for cell in cells:
        for variant in (cell, *islice(_variants(cell, built), VARIANTS - 1)):
            once.setdefault(variant.id, variant)
    return list(once.values())


def _variants(cell: Cell, built: dict[str, bool]) -> Iterator[Cell]:
    """All variants that differ from the cell, the first ones first."""
    method = get_method(cell.method)
    if not method.lr:
        return
    seen = {cell.id}
    rates = [
        replace(cell, recipe=replace(cell.recipe, lr=float(f"{cell.recipe.lr * factor:.1g}")))
        for factor in (*RATES, *MORE_RATES)
    ]
    options = [replace(cell, options=changed) for changed in _options(method, cell.options)]
    for variant in (*rates[: len(RATES)], *options, *rates[len(RATES) :]):
        if variant.id not in seen and (variant in rates or _can_be_built(variant, built)):
            seen.add(variant.id)
            yield variant


def _can_be_built(cell: Cell, built: dict[str, bool]) -> bool:
    """Whether the options of a cell are in range; what is known by configuration is in `built`."""
    key = replace(cell, seed=0, fold=0, labels=None).id
    if key not in built:
        try:
            with META:
                get_method(cell.method).build(replace(cell.task, weights="random"), **cell.options)
            built[key] = True
        except UserError:
            built[key] = False
        except UnsupportedError:  # whatever its options: the limits say so
            built[key] = True
    return built[key]


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
