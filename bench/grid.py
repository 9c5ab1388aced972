"""From what was asked on the command line to the cells of the grid."""

import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from bench.data.items import Collection
from bench.errors import UserError, no_such
from bench.registry import Method, get_method, load_collection, parse_methods
from bench.spec import Cell, OptionValue, Recipe, Task

PROTOCOLS = ("equal", "published")
PRECISIONS = ("bf16", "fp32")
EVALUATIONS = ("whole", "tiles", "generator")
ASKED = ("lr", "steps", "epochs", "batch_size", "precision", "loss", "augmentation", "evaluation")


@dataclass(frozen=True)
class Request:
    """The command line, as typed; None where the protocol decides.

    Attributes:
        methods: `lora[rank=1|4],adapter`.
        datasets: registered names or folders, separated by commas.
        backbones: names, separated by commas.
        weights: "pretrained" or "random".
        checkpoint: file that replaces the default weights.
        seeds: a count, or numbers separated by commas.
        folds: number of folds; 1 for one fixed split.
        labels: numbers of labelled training images, or "all", separated by commas.
        depth: consecutive slices that are seen at once; 1 for images.
        lr: peak learning rate, in place of each method's own.
        loss: name of one of the losses, in place of the recipe's.
        augmentation: name of a kind of bank, in place of the recipe's.
        evaluation: "whole", "tiles" or "generator".
        checkpointing: compute activations again in the backward pass.
        allow_leakage: train though the parts of a split are not independent.
    """

    methods: str
    datasets: str
    backbones: str = "sam_nano"
    weights: str = "pretrained"
    checkpoint: Path | None = None
    protocol: str = "equal"
    seeds: str = "1"
    folds: int = 1
    labels: str = "all"
    image_size: int | None = None
    depth: int = 1
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    precision: str | None = None
    loss: str | None = None
    augmentation: str | None = None
    evaluation: str | None = None
    checkpointing: bool = False
    allow_leakage: bool = False


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
    for name in _words(request.datasets, "--dataset"):
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
    _check_numbers(request)
    _check_protocol(request, [method for method, _ in methods])
    seeds = _seeds(request.seeds)
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

    images = dict.fromkeys(_labels(request.labels), 0)
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
    for backbone in _words(request.backbones, "--backbone"):
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
    for word, typed in parse_methods(request.methods, defaults=True):
        method = get_method(word)
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
    from bench.data.leakage import find_leaks, refusal
    from bench.data.split import split

    leaks = find_leaks(split(collection, fold=fold, folds=request.folds))
    if leaks and not request.allow_leakage:
        raise refusal(leaks)
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
    with path.open("rb") as file:
        return task, hashlib.file_digest(file, "sha256").hexdigest()


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


def _check_protocol(request: Request, methods: Sequence[Method]) -> None:
    if request.protocol not in PROTOCOLS:
        raise no_such("protocol", request.protocol, PROTOCOLS)
    without = [method.name for method in methods if method.published is None]
    if request.protocol == "published" and without:
        raise UserError(
            f"{without[0]} has no published recipe: leave it out, or use --protocol equal"
        )


def _check_numbers(request: Request) -> None:
    if request.weights not in ("pretrained", "random"):
        raise UserError(
            f"--weights is pretrained or random, not '{request.weights}'; "
            "for a file of weights use --checkpoint FILE"
        )
    if request.checkpoint is not None and request.weights == "random":
        raise UserError("--weights random and --checkpoint exclude each other: give one of them")
    if request.epochs is not None and request.steps is not None:
        raise UserError("--epochs and --steps say the same thing twice: give one of them")
    for key in ("image_size", "depth", "epochs", "steps", "batch_size", "folds"):
        value = getattr(request, key)
        if value is not None and value < 1:
            raise UserError(f"--{key.replace('_', '-')} is {value}: give 1 or more")
    if request.lr is not None and not 0 < request.lr < math.inf:
        raise UserError(f"--lr is {request.lr:g}: give a number above 0")
    if request.precision is not None and request.precision not in PRECISIONS:
        raise no_such("precision", request.precision, PRECISIONS)
    if request.evaluation is not None and request.evaluation not in EVALUATIONS:
        raise no_such("evaluation", request.evaluation, EVALUATIONS)
    if request.depth > 1 and (request.labels != "all" or request.evaluation not in (None, "whole")):
        raise UserError(
            "--depth sees whole volumes, slices in a row: leave out --labels, and --evaluation "
            "other than whole"
        )
    if request.augmentation is not None:
        from bench.data.bank import KINDS

        if request.augmentation not in KINDS:
            raise no_such("augmentation", request.augmentation, KINDS)
    if request.loss is not None:
        from bench.losses import get_loss

        get_loss(request.loss)


def _words(text: str, option: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UserError(f"{option} is empty: write what you want, separated by commas")
    return list(dict.fromkeys(words))


def _seeds(text: str) -> Sequence[int]:
    numbers = [_number(word, "--seeds", 0) for word in _words(text, "--seeds")]
    if "," not in text:
        if numbers[0] < 1:
            raise UserError("--seeds 0 asks for no run: give a count, or seeds as 0,1,2")
        return range(numbers[0])
    return numbers


def _labels(text: str) -> list[int | None]:
    words = _words(text, "--labels")
    return [None if word == "all" else _number(word, "--labels", 1, " or all") for word in words]


def _number(word: str, option: str, least: int, also: str = "") -> int:
    if not word.isdecimal() or int(word) < least:
        raise UserError(f"{option} cannot be '{word}': give whole numbers from {least} on{also}")
    return int(word)
