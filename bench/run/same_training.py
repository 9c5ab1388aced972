"""One training for several rules for objects: those that need no maps score the same model."""

from dataclasses import replace
from pathlib import Path

from bench.errors import UserError
from bench.keep.header import ModelHeader, read_header
from bench.keep.model_file import load_onto
from bench.learn.model import Model
from bench.objects.rules import RULES
from bench.run.environment import environment
from bench.run.store import Store
from bench.run.training import Training
from bench.spec import Cell
from bench.wording import project_version

# Of the environment of both trainings. With uncommitted changes the source is not known.
SAME = ("commit", "python", "packages", "cpu", "device", "gpu", "threads")


def trained_before(cell: Cell, store: Store, device: str) -> Path | None:
    """The kept model of a cell that differs only in a rule for objects without maps.

    Its training is that of this cell, step for step, if program and device are the same ones.

    Args:
        cell: what is to be trained.
        store: with the kept models.
        device: name of a torch device.

    Returns:
        The file of the model; None if there is none, or the rule of the cell needs maps.
    """
    if RULES[cell.recipe.objects].channels:
        return None
    for name, rule in RULES.items():
        if name == cell.recipe.objects or rule.channels:
            continue
        twin = replace(cell, recipe=replace(cell.recipe, objects=name))
        if (path := kept_model(twin, store, device)) is not None:
            return path
    return None


def kept_model(cell: Cell, store: Store, device: str) -> Path | None:
    """The kept model of a cell, if the program and the device of its training are those here.

    Args:
        cell: of the model.
        store: with the kept models.
        device: name of a torch device.
    """
    path = store.model(cell)
    if not path.exists():
        return None
    ours, header = environment(device), _header(path)
    if header is None or header.version != project_version():
        return None
    if ours["dirty"] or header.env.get("dirty"):
        return None
    same = all(header.env.get(key) == ours[key] for key in SAME)
    return path if same else None


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
