"""Expand a request into the cells of its grid."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from bench.ask.independence import check_independence, load_test_collection
from bench.ask.method_words import parse_methods
from bench.ask.proposer import label_of_proposer
from bench.ask.recipe_checks import check_models, check_object_labels, check_recipe
from bench.ask.request import Request, read_zoom
from bench.data.items import Collection
from bench.errors import UserError
from bench.files import file_sha256
from bench.plugins.registry import Method, get_method, load_collection
from bench.spec import Cell, OptionValue, Recipe, Task

_LENGTH = ("steps", "epochs", "batch_size")
_RECIPE_OPTIONS = (
    *("lr", *_LENGTH, "precision", "loss", "augmentation", "evaluation", "objects", "proposer"),
)


@dataclass(frozen=True, eq=False)
class LoadedDataset:
    """A dataset that has been read and checked for leakage.

    Attributes:
        collection: its images and masks.
        sha: fingerprint of its contents.
        leaks: for each fold, sentences on the shared groups and overlapping images of different
            parts.
        other: the collection that is tested on in place of the test part; None if there is none.
        other_sha: fingerprint of its contents; empty if there is none.
        joined: groups of `collection` that were joined because images overlap.
        notes: sentences on these groups.
    """

    collection: Collection
    sha: str
    leaks: tuple[tuple[str, ...], ...]
    other: Collection | None = None
    other_sha: str = ""
    joined: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


def load_datasets(request: Request) -> dict[str, LoadedDataset]:
    """Read every dataset of a request, compute its fingerprint and look for overlapping images.

    This decodes all images, unless results about the files are remembered.

    Returns:
        The datasets by their names as typed.

    Raises:
        UserError: no dataset is named, one cannot be read or split, its parts overlap and this is
            not allowed, or as `load_test_collection`.
    """
    from bench.data.fingerprint import fingerprint

    datasets = {}
    for name in request.dataset_names:
        collection = load_collection(name, request.selection)
        if request.split is not None and collection.official:  # also one equal to the default
            raise UserError(
                f"--split {request.split} cannot be used for '{collection.name}' because it"
                " comes with a split: leave it out"
            )
        sha = fingerprint(collection)
        other, other_sha = load_test_collection(request, collection, sha)
        checked = check_independence(request, collection, other)
        datasets[name] = LoadedDataset(
            *(checked.collection, sha, checked.leaks, other, other_sha),
            joined=checked.joined,
            notes=checked.notes,
        )
    return datasets


def expand(
    request: Request, datasets: Mapping[str, LoadedDataset] | None = None
) -> tuple[list[Cell], list[str]]:
    """List the cells of a request, with notes about the assumptions of the dataset readers.

    Everything is checked before anything runs: datasets are read and split, weights are loaded,
    and each method is built once on the meta device to check the values of its options. A method
    that does not support the task gets cells all the same: their records say so.

    Args:
        request: what to run.
        datasets: result of `load_datasets` for the same test dataset, folds and ratio, if it was
            computed before; it has at least the datasets of the request.

    Returns:
        The cells, each once, and the notes: on datasets, overlapping images (the first five of a
        cell), files of weights and published recipes. A method from scratch has the same cells for
        all backbones of one image size.

    Raises:
        UserError: a part of the request is invalid; the message says which.
    """
    methods = _methods(request)
    request.check()
    _check_published(request, [method for method, _ in methods])
    seeds, rates = request.seed_numbers, request.learning_rates
    cells: list[Cell] = []
    notes: list[str] = []
    loaded = load_datasets(request) if datasets is None else datasets
    for name in request.dataset_names:
        dataset = loaded[name]
        check_object_labels(request, dataset.collection)
        notes += _image_facts(dataset)
        images, assumptions = _training_images(request, dataset.collection)
        notes += [*assumptions, *(f"{dataset.collection.name}: {note}" for note in dataset.notes)]
        if dataset.other is not None:
            notes += [f"{dataset.other.name}: {note}" for note in dataset.other.notes]
        for cell in _models(request, methods, name, dataset, notes):
            method = get_method(cell.method)
            cells += [
                replace(
                    cell,
                    recipe=recipe_of(replace(request, lr=rate), method, images[labels]),
                    fold=fold,
                    seed=seed,
                    labels=labels,
                    leaks=dataset.leaks[fold],
                )
                for rate in rates[: None if method.lr else 1]  # some methods train nothing
                for labels in images
                for fold in range(request.folds)
                for seed in seeds
            ]
    once = {cell.id: cell for cell in cells}  # two paths may name the same folder
    notes += [f"{cell.dataset_name}: {leak}" for cell in once.values() for leak in cell.leaks[:5]]
    notes += [_recipe_note(cell) for cell in once.values() if cell.protocol == "published"]
    return list(once.values()), list(dict.fromkeys(notes))


def _image_facts(dataset: LoadedDataset) -> Iterator[str]:
    """What was read of a dataset, and of the one that is tested on."""
    from bench.data.facts import CollectionFacts

    for collection in filter(None, (dataset.collection, dataset.other)):
        facts = CollectionFacts.of(collection)
        yield f"{collection.name}: {facts.summary}"
        yield from (f"{collection.name}: left out: {text}" for text in facts.left_out)


def _training_images(
    request: Request, collection: Collection
) -> tuple[dict[int | None, int], list[str]]:
    """Number of training images in the largest fold for each label budget, and notes."""
    from bench.data.split import split
    from bench.data.stacks import stacks

    images = dict.fromkeys(request.label_budgets, 0)
    notes: list[str] = []
    for fold, labels in itertools.product(range(request.folds), images):
        parts = split(
            collection, fold=fold, folds=request.folds, labels=labels, ratio=request.ratio
        )
        for part in (parts.train, parts.val, parts.test):
            stacks(part, request.depth)  # raises its error now, not in every cell
        images[labels] = max(images[labels], len(parts.train))
        notes += [f"{collection.name}: {note}" for note in (*collection.notes, *parts.notes)]
    return images, notes


def _models(
    request: Request,
    methods: Sequence[tuple[Method, dict[str, OptionValue]]],
    name: str,
    dataset: LoadedDataset,
    notes: list[str],
) -> Iterator[Cell]:
    """One cell for each backbone and method on a dataset, a template for its seeds and folds.

    Notes on files of weights are appended to `notes`.
    """
    tasks = cache(partial(_task, request, num_classes=dataset.collection.num_classes))
    proposer = "" if request.proposer is None else label_of_proposer(request.proposer)
    for backbone in request.backbone_names:
        for method, options in methods:
            task, weights_sha, note = tasks(backbone, _size(request, method))
            if method.from_scratch:
                task, weights_sha = replace(task, backbone="none", weights="random"), ""
            elif note:
                notes.append(note)
            cell = Cell(
                method=method.name,
                dataset=_address(name, dataset.collection),
                task=task,
                recipe=Recipe(lr=method.lr or 0.0, proposer=proposer),
                options=options,
                protocol=request.protocol,
                folds=request.folds,
                dataset_sha=dataset.sha,
                split=request.ratio,
                test_dataset=_test_address(request, dataset),
                test_sha=dataset.other_sha,
                joined=dataset.joined,
                weights_sha=weights_sha,
            )
            check_models(cell)
            yield cell


def _methods(request: Request) -> list[tuple[Method, dict[str, OptionValue]]]:
    """Methods with the options that differ from the defaults.

    Under the published protocol, options that the user did not type have their published values.
    """
    requested = []
    for method, typed in parse_methods(request.methods):
        published = method.published_options if request.protocol == "published" else {}
        merged = {**published, **typed}
        options = {key: value for key, value in merged.items() if value != method.options[key]}
        if (method, options) not in requested:
            requested.append((method, options))
    return requested


def _address(name: str, collection: Collection) -> str:
    """The dataset as typed, or its full path if it is typed as `.` or `..`."""
    typed = re.split(r"[\\/]", name.rstrip("\\/"))[-1]
    return name if typed == collection.name else str(Path(name).expanduser().resolve())


def _test_address(request: Request, dataset: LoadedDataset) -> str:
    """The dataset that is tested on, as `_address`; "" for the test part."""
    if request.test_dataset is None or dataset.other is None:
        return ""
    return _address(request.test_dataset, dataset.other)


def _size(request: Request, method: Method) -> int | None:
    """The requested or published image size in pixels; None for the size of the backbone."""
    published = method.published_size if request.protocol == "published" else None
    return request.image_size or published


def _task(
    request: Request, backbone: str, image_size: int | None, num_classes: int
) -> tuple[Task, str, str]:
    """The task, the hash of its weights, and a note on their file.

    The default image size is that of the backbone.
    """
    from bench.sam.backbone import get_backbone
    from bench.sam.build import load_sam_with_note, weights_path

    plugin = get_backbone(backbone)
    weights = str(request.checkpoint) if request.checkpoint else request.weights
    size = image_size or plugin.image_size
    selected = request.selection
    task = Task(
        *(num_classes, size, backbone, weights, request.depth, selected.channels, selected.crop),
        fit=request.fit,
        mask_grid=request.mask_grid,
    )
    path = weights_path(task)
    if path is None:
        return task, "", ""
    _, note = load_sam_with_note(task)  # raises its error now, not in every cell
    return task, file_sha256(path), note


def recipe_of(request: Request, method: Method, images: int) -> Recipe:
    """The recipe of the protocol with the requested changes, and its length in steps.

    Under `published` an epoch is a pass over the training images (or over the number of views that
    the recipe states), and its last batch may be short, as with the data loaders of the originals.
    Under `equal` it is a pass over the bank, and every batch is full, as with a number of steps.

    Args:
        request: gives the protocol and the changes; one learning rate at most.
        method: gives its published recipe, or its learning rate where it has none or under `equal`.
        images: number of training images.

    Returns:
        The recipe, whose `epochs` is None and whose `steps` is 1 or more.

    Raises:
        UserError: as `check_recipe` or `read_proposer`.
    """
    changes: dict[str, object] = {
        key: value for key in _RECIPE_OPTIONS if (value := getattr(request, key)) is not None
    }
    if request.proposer is not None:
        changes["proposer"] = label_of_proposer(request.proposer)
    changes["checkpointing"] = request.checkpointing
    changes["accumulate"] = request.accumulate
    if request.zoom is not None:
        changes["zoom"] = read_zoom(str(request.zoom))
    if request.steps is not None:
        changes["epochs"] = changes["epoch_images"] = None
    published = method.published if request.protocol == "published" else None
    recipe = replace(published or Recipe(lr=method.lr or 0.0), **changes)  # type: ignore[arg-type]
    check_recipe(recipe, request.mask_grid)
    if recipe.epochs is None:
        return recipe
    if published is None:
        steps = math.ceil(recipe.epochs * max(recipe.bank_views, images) / recipe.batch_size)
        return replace(recipe, steps=max(1, steps), epochs=None)
    images = recipe.epoch_images or images
    steps = math.ceil(recipe.epochs * math.ceil(images / recipe.batch_size))
    return replace(recipe, steps=max(1, steps), epochs=None, epoch_images=images)


def _recipe_note(cell: Cell) -> str:
    """The recipe of a cell in one line, for the `published` protocol."""
    recipe = cell.recipe
    epochs = f", epochs of {recipe.epoch_images} images" if recipe.epoch_images else ""
    return (
        f"{cell.label}: {recipe.steps} steps of {recipe.batch_size} images at "
        f"{cell.task.image_size} px in {recipe.precision}, {recipe.optimizer} at {recipe.lr:g} "
        f"({recipe.schedule}), loss {recipe.loss}, augmentation {recipe.augmentation}{epochs}"
    )


def _check_published(request: Request, methods: Sequence[Method]) -> None:
    without = [method.name for method in methods if method.published is None]
    if request.protocol == "published" and without:
        raise UserError(f"{without[0]} has no published recipe: remove it, or use --protocol equal")
