"""From what was asked to the cells of the grid."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from bench.ask.method_words import parse_methods
from bench.ask.request import Request
from bench.data.items import Collection
from bench.errors import UserError, no_such
from bench.files import file_sha256
from bench.plugins.registry import Method, get_method, load_collection
from bench.spec import Cell, OptionValue, Recipe, Task

ASKED = ("lr", "steps", "epochs", "batch_size", "precision", "loss", "augmentation", "evaluation")


@dataclass(frozen=True, eq=False)
class Data:
    """A dataset, read and looked through once.

    Attributes:
        sha: fingerprint of its contents.
        leaks: of each fold, which images of different parts are not independent.
    """

    collection: Collection
    sha: str
    leaks: tuple[tuple[str, ...], ...]


def read_data(request: Request) -> dict[str, Data]:
    """Every dataset that is asked for, by its name as typed.

    Raises:
        UserError: one cannot be read or split, or its parts leak and that is not allowed.
    """
    from bench.data.fingerprint import fingerprint

    found = {}
    for name in request.dataset_names:
        collection = load_collection(name)
        leaks = tuple(_leaks(request, collection, fold) for fold in range(request.folds))
        found[name] = Data(collection, fingerprint(collection), leaks)
    return found


def expand(
    request: Request, data: Mapping[str, Data] | None = None
) -> tuple[list[Cell], list[str]]:
    """Every cell that the request asks for, and what readers of the datasets had to assume.

    Everything is checked here, before anything starts: datasets are read and split, weights are
    found, and each method is built once on the meta device, where its options are refused if out
    of range.

    Args:
        request: what is asked.
        data: of `read_data`, where it is at hand.

    Raises:
        UserError: the first thing that cannot be done, in one sentence.
    """
    methods = _methods(request)
    request.check()
    _check_published(request, [method for method, _ in methods])
    seeds = request.seed_numbers
    cells: list[Cell] = []
    notes: list[str] = []
    for name, found in (read_data(request) if data is None else data).items():
        images, told = _training_images(request, found.collection)
        notes += told
        for cell in _models(request, methods, name, found):
            method = get_method(cell.method)
            cells += [
                replace(
                    cell,
                    recipe=_recipe(request, method, images[labels]),
                    fold=fold,
                    seed=seed,
                    labels=labels,
                    leaks=found.leaks[fold],
                )
                for labels in images
                for fold in range(request.folds)
                for seed in seeds
            ]
    once = {cell.id: cell for cell in cells}  # one folder may be given by two paths
    notes += [f"{cell.dataset_name}: {leak}" for cell in once.values() for leak in cell.leaks[:5]]
    notes += [_told(cell) for cell in once.values() if cell.protocol == "published"]
    return list(once.values()), list(dict.fromkeys(notes))


def _training_images(
    request: Request, collection: Collection
) -> tuple[dict[int | None, int], list[str]]:
    """Training images of the largest fold by label budget, and what had to be assumed."""
    from bench.data.split import split
    from bench.data.stacks import stacks

    images = dict.fromkeys(request.label_budgets, 0)
    notes: list[str] = []
    for fold, labels in itertools.product(range(request.folds), images):
        parts = split(collection, fold=fold, folds=request.folds, labels=labels)
        for part in (parts.train, parts.val, parts.test):
            stacks(part, request.depth)  # refused now, not in every cell
        images[labels] = max(images[labels], len(parts.train))
        notes += [f"{collection.name}: {note}" for note in (*collection.notes, *parts.notes)]
    return images, notes


def _models(
    request: Request,
    methods: Sequence[tuple[Method, dict[str, OptionValue]]],
    name: str,
    found: Data,
) -> Iterator[Cell]:
    """One cell for every backbone and method on a dataset; the runs of each are made from it."""
    tasks = cache(partial(_task, request, num_classes=found.collection.num_classes))
    for backbone in request.backbone_names:
        for method, options in methods:
            task, weights_sha = tasks(backbone, _size(request, method))
            if method.from_scratch:
                task, weights_sha = replace(task, backbone="none", weights="random"), ""
            _try_to_build(method, options, task)
            yield Cell(
                method=method.name,
                dataset=_address(name, found.collection),
                task=task,
                recipe=Recipe(lr=method.lr or 0.0),
                options=options,
                protocol=request.protocol,
                folds=request.folds,
                dataset_sha=found.sha,
                weights_sha=weights_sha,
            )


def _methods(request: Request) -> list[tuple[Method, dict[str, OptionValue]]]:
    """Every method with its options that differ from the defaults: as typed, else as published."""
    found = []
    for method, typed in parse_methods(request.methods):
        published = method.published_options if request.protocol == "published" else {}
        merged = {**published, **typed}
        options = {key: value for key, value in merged.items() if value != method.options[key]}
        if (method, options) not in found:
            found.append((method, options))
    return found


def _leaks(request: Request, collection: Collection, fold: int) -> tuple[str, ...]:
    """Which images of different parts are not independent; a label budget takes none away.

    Raises:
        UserError: there are such images, and they are not allowed.
    """
    from bench.data.leakage.gate import find_leaks, leakage_error
    from bench.data.split import split

    leaks = find_leaks(split(collection, fold=fold, folds=request.folds))
    if leaks and not request.allow_leakage:
        raise leakage_error(leaks)
    return tuple(map(str, leaks))


def _address(name: str, collection: Collection) -> str:
    """The dataset as typed, or resolved where its name does not show, as in `.` or `..`."""
    typed = re.split(r"[\\/]", name.rstrip("\\/"))[-1]
    return name if typed == collection.name else str(Path(name).expanduser().resolve())


def _size(request: Request, method: Method) -> int | None:
    """The image side that is asked for, or published; None for the backbone's own."""
    published = method.published_size if request.protocol == "published" else None
    return request.image_size or published


def _task(
    request: Request, backbone: str, image_size: int | None, num_classes: int
) -> tuple[Task, str]:
    """The task and the fingerprint of its weights; the backbone's own side where none is given."""
    from bench.sam.build import ARCHITECTURES, load_sam, weights_path

    if backbone not in ARCHITECTURES:
        raise no_such("backbone", backbone, ARCHITECTURES)
    weights = str(request.checkpoint) if request.checkpoint else request.weights
    size = image_size or ARCHITECTURES[backbone].image_size
    task = Task(num_classes, size, backbone, weights, request.depth)
    path = weights_path(task)
    if path is None:
        return task, ""
    load_sam(task)  # a file that cannot be used is refused now, not in every cell
    return task, file_sha256(path)


def _recipe(request: Request, method: Method, images: int) -> Recipe:
    """The protocol's recipe with what is asked otherwise, and its length in steps.

    An epoch is a pass over the bank under `equal`, over the training images under `published`.
    """
    asked: dict[str, object] = {
        key: value for key in ASKED if (value := getattr(request, key)) is not None
    }
    asked["checkpointing"] = request.checkpointing
    if request.steps is not None:
        asked["epochs"] = None
    if request.protocol == "published" and method.published is not None:
        recipe, seen = method.published, images
    else:
        recipe = Recipe(lr=method.lr or 0.0)
        seen = max(recipe.bank_views, images)
    recipe = replace(recipe, **asked)  # type: ignore[arg-type]
    if recipe.epochs is None:
        return recipe
    steps = math.ceil(recipe.epochs * seen / recipe.batch_size)
    return replace(recipe, steps=max(1, steps), epochs=None)


def _told(cell: Cell) -> str:
    """What a method's own recipe comes to here; under `equal` there is nothing to tell."""
    recipe = cell.recipe
    return (
        f"{cell.label}: {recipe.steps} steps of {recipe.batch_size} images at "
        f"{cell.task.image_size} px in {recipe.precision}, {recipe.optimizer} at {recipe.lr:g} "
        f"({recipe.schedule}), loss {recipe.loss}, augmentation {recipe.augmentation}"
    )


def _try_to_build(method: Method, options: Mapping[str, object], task: Task) -> None:
    import torch

    try:
        with torch.device("meta"):
            method.build(task, **options)
    except UserError:
        raise
    except Exception:
        return  # unsupported, or a bug: its cells record the reason, and the others go on


def _check_published(request: Request, methods: Sequence[Method]) -> None:
    without = [method.name for method in methods if method.published is None]
    if request.protocol == "published" and without:
        raise UserError(
            f"{without[0]} has no published recipe: leave it out, or use --protocol equal"
        )
