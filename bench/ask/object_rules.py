"""The suite `objects`: one grid (`results/published/objects.toml`) under every rule for objects.

It asks which rule tells touching objects apart: none, a watershed of the class map, learned
distances, or SAM prompted with the objects that were found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from bench.ask.grid import LoadedDataset, expand, load_datasets
from bench.ask.published import read_grid
from bench.ask.request import Request
from bench.ask.suites import SuiteChoice
from bench.errors import UserError
from bench.spec import Cell

NAME = "objects"
TITLE = "Which rule tells touching objects apart?"


@dataclass(frozen=True)
class _Grid:
    """The file: methods under rules; `prompted` gets boxes of the objects of each method."""

    methods: str
    rules: tuple[str, ...]
    prompted: str
    datasets: tuple[str, ...]
    folders: tuple[str, ...]


@cache
def _grid() -> _Grid:
    return read_grid("objects.toml", _Grid)


def default_datasets() -> str:
    """The datasets that are run by default, separated by commas: those that need no download.

    Raises:
        UserError: the file of the grid does not exist, or cannot be used.
    """
    return ",".join(_grid().datasets)


def missing_datasets(cells: Sequence[Cell]) -> list[str]:
    """Names of the datasets of the grid that no cell is about.

    Raises:
        UserError: the file of the grid does not exist, or cannot be used.
    """
    known = [*_grid().datasets, *_grid().folders]
    ran = {cell.dataset_name for cell in cells}
    return [name for name in known if name not in ran]


def expand_objects(
    choice: SuiteChoice, datasets: Mapping[str, LoadedDataset] | None = None
) -> tuple[list[Cell], list[str]]:
    """List the cells of the suite, with the notes of `expand` and the datasets that are left out.

    All cells of a rule come before those of the next one, so that a rule without maps takes over
    the models of the one before, if these are kept.

    Args:
        choice: the user's settings. Its `dataset` may name several datasets and folders.
        datasets: these datasets, if they were loaded before.

    Returns:
        The cells, and the notes.

    Raises:
        UserError: a part of the request is invalid, or names a rule.
    """
    if rule := choice.chosen("objects"):
        raise UserError(f"--objects is {rule}: the suite {NAME} runs every rule; leave it out")
    grid = _grid()
    request = Request(
        grid.methods,
        choice.dataset or default_datasets(),
        seeds=choice.seeds,
        **choice.request,
    )
    loaded = load_datasets(request) if datasets is None else datasets
    requests = [replace(request, objects=rule) for rule in grid.rules]
    prompted = replace(request, methods=grid.prompted, evaluation="proposals")
    requests += [replace(prompted, proposer=name) for name in grid.methods.split(",")]
    cells: list[Cell] = []
    notes: list[str] = []
    for one in requests:
        more, further = expand(one, loaded)
        cells, notes = cells + more, notes + further
    if missing := missing_datasets(cells):
        notes.append(f"{', '.join(missing)}: left out; give their folders too, with --dataset")
    return cells, list(dict.fromkeys(notes))
