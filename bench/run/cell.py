"""The protocol of one cell, the same for every method."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import nn

from bench.cost.measure import measure_cost
from bench.data.bank import make_bank
from bench.data.decode import decode, instance_numbers
from bench.data.items import Collection, Item
from bench.data.split import Split, split
from bench.data.stacks import stacks
from bench.errors import UnsupportedError, UserError
from bench.evaluate.mask_generator import predict_objects
from bench.evaluate.scoring import Prediction, Scoring
from bench.evaluate.whole import evaluate, validation_dice
from bench.learn.loop import DivergedError, Views, fit
from bench.plugins.registry import get_method, load_collection
from bench.run.environment import environment
from bench.run.events import CellProgress, PhaseStarted, TrainingProgress
from bench.run.store import Store
from bench.sam.encoder import checkpoint_blocks
from bench.spec import Cell, PromptSource, Record, Status

Say = Callable[[CellProgress], None]
VALIDATION_IMAGES = 24  # enough for a curve; the validation part selects nothing


def run_cell(cell: Cell, device: torch.device, store: Store, say: Say) -> Record:
    """Train, evaluate and measure one cell; class maps go to the store, the record is returned."""
    method, recipe, size = get_method(cell.method), cell.recipe, cell.task.image_size
    say(PhaseStarted("data"))
    collection = load_collection(cell.dataset)
    parts = split(collection, fold=cell.fold, folds=cell.folds, seed=cell.seed, labels=cell.labels)
    torch.manual_seed(cell.seed)
    model = method.build(cell.task, **cell.options).to(device)
    if recipe.checkpointing:
        checkpoint_blocks(model)
    # What cannot be evaluated so is refused here, before it is trained.
    predictions = _predictions(model, cell, collection, parts.test, device)

    began = time.perf_counter()
    history = _train(model, cell, collection, parts, device, say)
    train_wall = time.perf_counter() - began if history else None

    say(PhaseStarted("evaluate"))
    scoring, folder = Scoring(collection), store.predictions(cell)
    folder.mkdir(parents=True, exist_ok=True)
    for prediction in predictions:
        scoring.add(prediction)
        Image.fromarray(prediction.classes).save(folder / f"{prediction.item.name}.png")

    say(PhaseStarted("measure"))
    task = cell.task
    cost = measure_cost(model, recipe, num_classes=task.num_classes, size=size, depth=task.depth)
    return Record(
        cell=cell,
        status="ok",
        prompts=_prompts(cell),
        classes=collection.classes,
        metrics=scoring.summary(),
        per_image=tuple(scoring.images),
        per_volume=tuple(scoring.volumes),
        history=tuple(history),
        cost=replace(cost, train_wall_s=train_wall),
        env=environment(device.type) | {"split": _describe(parts)},
    )


def _train(
    model: nn.Module,
    cell: Cell,
    collection: Collection,
    parts: Split,
    device: torch.device,
    say: Say,
) -> list[dict[str, float]]:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return []
    recipe, depth = cell.recipe, cell.task.depth
    prompted = getattr(model, "prompt_rule", None) is not None

    def views(found: Sequence[tuple[Item, ...]], count: int, kind: str) -> Views:
        items = [item for stack in found for item in stack]
        pairs = [decode(item, collection) for item in items]
        size = cell.task.image_size
        make = partial(make_bank, views=count, size=size, kind=kind, seed=cell.seed, depth=depth)
        if not prompted or all(item.instances is None for item in items):
            return Views.of(make(pairs), device, depth=depth)
        seen = zip(pairs, items, strict=True)
        numbered = [(image, instance_numbers(item, mask.shape)) for (image, mask), item in seen]
        return Views.of(make(pairs), device, make(numbered), depth)

    shown = max(1, VALIDATION_IMAGES // depth)
    held_out = views(stacks(parts.val, depth)[:shown], 0, "none").prompted(model)
    return fit(
        model,
        # More views than the steps take would be made in vain.
        views(
            stacks(parts.train, depth, step=1),
            min(recipe.bank_views, recipe.steps * recipe.batch_size),
            recipe.augmentation,
        ),
        recipe,
        seed=cell.seed,
        report=lambda row: say(
            TrainingProgress(int(row["step"]), row["epoch"], row["loss"], row["images_per_s"])
        ),
        validate=lambda: validation_dice(model, held_out, collection.num_classes, recipe.precision),
    )


def _predictions(
    model: nn.Module,
    cell: Cell,
    collection: Collection,
    items: Sequence[Item],
    device: torch.device,
) -> Iterator[Prediction]:
    how = cell.recipe.evaluation
    if how == "generator":
        return predict_objects(model, items, collection, cell.task, device)
    return evaluate(
        model,
        items,
        collection,
        size=cell.task.image_size,
        precision=cell.recipe.precision,
        device=device,
        tiles=how == "tiles",
        depth=cell.task.depth,
    )


def _prompts(cell: Cell) -> PromptSource:
    """Where prompts come from at evaluation; the mask generator makes its own."""
    generated = cell.recipe.evaluation == "generator"
    return "automatic" if generated else get_method(cell.method).prompts


def _describe(parts: Split) -> dict[str, Any]:
    sizes = {part: len(getattr(parts, part)) for part in ("train", "val", "test")}
    return {**sizes, "notes": list(parts.notes)}


def work(cell: Cell, device_name: str, threads: int, store: Store, say: Say) -> None:
    """Run a cell and write its record, whatever becomes of it; the body of a cell's process."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # vanishing gradients would slow the CPU down
    device = torch.device(device_name)
    try:
        record = run_cell(cell, device, store, say)
    except (torch.OutOfMemoryError, MemoryError) as error:
        record = failure(cell, "oom", str(error) or "out of memory", device_name)
    except DivergedError as error:
        record = failure(cell, "diverged", str(error), device_name)
    except UnsupportedError as error:
        record = failure(cell, "unsupported", str(error), device_name)
    except UserError as error:
        record = failure(cell, "failed", str(error), device_name)
    except Exception as error:  # a method's bug costs its own cell only, and is shown
        status: Status = "oom" if "can't allocate memory" in str(error) else "failed"
        record = failure(cell, status, f"{type(error).__name__}: {error}", device_name)
    store.write(record)


def failure(cell: Cell, status: Status, reason: str, device_name: str) -> Record:
    """The record of a cell that did not come through."""
    sentence = (reason.strip().splitlines() or ["no reason given"])[0]
    return Record(
        cell=cell,
        status=status,
        prompts=_prompts(cell),
        error=sentence,
        env=environment(device_name),
    )
