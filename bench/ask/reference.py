"""The suite `reference`: the grids behind the results of this project.

They are in `results/published/reference.toml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.ask.grid import LoadedDataset, expand, load_datasets
from bench.ask.plain_values import field_from_plain, from_plain
from bench.ask.published import changed, read_grid
from bench.ask.request import Request
from bench.ask.suites import SuiteChoice
from bench.errors import UserError
from bench.spec import Cell, last_part

NAME = "reference"
TITLE = "Which methods can be told apart, on which images?"
FOLDS = 4  # the largest number in the file


@dataclass(frozen=True)
class _Grids:
    """The file: sets of methods by name, and parts, each with its datasets and options."""

    datasets: tuple[str, ...]
    folders: tuple[str, ...]
    sets: Mapping[str, str]
    parts: tuple[Mapping[str, Any], ...]


@cache
def _grids() -> _Grids:
    grids = read_grid("reference.toml", _Grids)
    try:
        for part in grids.parts:
            _check_part(part)
    except TypeError as error:
        raise changed("reference.toml", f"of a part {error}") from error
    return grids


def _check_part(part: Mapping[str, Any]) -> None:
    """Raise TypeError if a part lacks datasets or methods, or has a wrong option of a request."""
    from_plain(tuple[str, ...], part.get("datasets"), "datasets")
    from_plain(str, part.get("methods"), "methods")
    for name, value in part.items():
        if name != "datasets":
            field_from_plain(Request, name, value)
    if part.get("folds", 1) > FOLDS:
        raise TypeError(f"folds is {part['folds']}, expected {FOLDS} at most")


def default_datasets() -> str:
    """The datasets that are run by default, separated by commas: those that need no download.

    Raises:
        UserError: the file of the grids does not exist, or cannot be used.
    """
    return ",".join(_grids().datasets)


def expand_reference(
    choice: SuiteChoice, datasets: Mapping[str, LoadedDataset] | None = None
) -> tuple[list[Cell], list[str]]:
    """List the cells of the suite, with the notes of `expand` and the datasets that are left out.

    Args:
        choice: the user's settings. Its `dataset` may name several datasets, and folders whose
            names are those of the file. Its seeds are not those of parts that have folds.
        datasets: these datasets, if they were loaded before, with the leaks of all folds.

    Returns:
        The cells, and the notes.

    Raises:
        UserError: a part of the request is invalid, or a dataset is not in the file.
    """
    grids = _grids()
    known = [*grids.datasets, *grids.folders]
    chosen = {last_part(name): name for name in (choice.dataset or default_datasets()).split(",")}
    if unknown := [name for name in chosen if name not in known]:
        raise UserError(
            f"the suite {NAME} does not have the dataset {unknown[0]}: give some of"
            f" {', '.join(known)}, as names or as folders of these names"
        )
    cells: list[Cell] = []
    notes: list[str] = []
    loaded: dict[tuple[str, int], LoadedDataset] = {}  # by name as typed, and number of folds
    for part in grids.parts:
        if not (names := [chosen[name] for name in part["datasets"] if name in chosen]):
            continue
        options = {key: value for key, value in part.items() if key != "datasets"}
        options["methods"] = grids.sets.get(part["methods"], part["methods"])
        request = Request(
            **{"seeds": choice.seeds, **choice.request, **options, "datasets": ",".join(names)}
        )
        for name in names:
            if datasets is not None:
                loaded[name, request.folds] = datasets[name]
            elif (name, request.folds) not in loaded:
                one = Request(**{**vars(request), "datasets": name})
                loaded[name, request.folds] = load_datasets(one)[name]
        more, further = expand(request, {name: loaded[name, request.folds] for name in names})
        cells, notes = cells + more, notes + further
    if missing := [name for name in known if name not in chosen]:
        notes.append(f"{', '.join(missing)}: left out; give them too, with --dataset")
    return list({cell.id: cell for cell in cells}.values()), list(dict.fromkeys(notes))
