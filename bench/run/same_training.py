"""One training for several ways to evaluate: rules for objects without maps, modes, zooms."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.errors import UserError
from bench.evaluate.modes import MODES
from bench.evaluate.zoom import ZOOMS
from bench.keep.header import ModelHeader, read_header
from bench.keep.model_file import load_onto
from bench.learn.model import Model
from bench.objects.rules import RULES
from bench.plugins.registry import get_method, is_built_in
from bench.run.environment import environment
from bench.run.store import Store
from bench.run.training import Training
from bench.spec import AUTO, Cell, Recipe
from bench.wording import project_version

# Of the environment of both trainings. With uncommitted changes the source is not known.
SAME = ("commit", "python", "packages", "cpu", "device", "gpu", "threads")


def trained_before(cell: Cell, store: Store, device: str) -> Path | None:
    """The kept model of a cell that differs only in how the trained model is evaluated.

    That is the evaluation mode, the zoom, or which of the rules for objects without maps. Its
    training is that of this cell, step for step, if program and device are the same ones.

    Args:
        cell: what is to be trained.
        store: with the kept models.
        device: name of a torch device.

    Returns:
        The file of the model; None if there is none.
    """
    for twin in _twins(cell):
        if (path := kept_model(twin, store, device)) is not None:
            return path
    return None


def kept_model(cell: Cell, store: Store, device: str) -> Path | None:
    """The kept model of a cell, if the program and the device of its training are those here.

    Models of methods of plugins do not count: which code they were trained with is not known.

    Args:
        cell: of the model.
        store: with the kept models.
        device: name of a torch device.
    """
    path = store.model(cell)
    if not path.exists() or not is_built_in(get_method(cell.method)):
        return None
    ours, header = environment(device), _header(path)
    if header is None or header.version != project_version():
        return None
    if ours["dirty"] or header.env.get("dirty"):
        return None
    same = all(header.env.get(key) == ours[key] for key in SAME)
    return path if same else None


def _twins(cell: Cell) -> Iterator[Cell]:
    """The cells whose training is that of a cell, without itself."""
    own = RULES[cell.recipe.objects]
    rules = [own] if own.channels else [rule for rule in RULES.values() if not rule.channels]
    modes = [mode for mode in MODES.values() if not mode.takes_proposer]
    zooms = sorted({cell.recipe.zoom, AUTO, *map(str, ZOOMS)})
    for rule, mode in itertools.product(rules, modes):
        for zoom in zooms if mode.magnifies else [Recipe.zoom]:
            recipe = replace(cell.recipe, objects=rule.name, evaluation=mode.name, zoom=zoom)
            twin = replace(cell, recipe=replace(recipe, proposer=""))
            if twin != cell:
                yield twin


def take_over(model: Model, path: Path) -> Training:
    """Set the trained tensors of a kept model instead of training.

    Args:
        model: as its method built it, with the seed of the cell; it is changed.
        path: of `trained_before`.

    Returns:
        Curve and costs of that training.

    Raises:
        UserError: the file is damaged or does not fit.
    """
    header = read_header(path)
    load_onto(model.module, path)
    seconds, held = header.cost.get("train_wall_s"), header.cost.get("data_bytes")
    return Training(tuple(dict(row) for row in header.history), seconds, held)


def _header(path: Path) -> ModelHeader | None:
    """The header of a model; None if the file was just removed or is not one."""
    try:
        return read_header(path)
    except UserError:
        return None
