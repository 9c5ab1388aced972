"""The protocol of one cell, the same for every method."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from bench.cost.measure import count_cost, measure_cost
from bench.cost.remember import remembered
from bench.data.facts import CollectionFacts
from bench.data.items import Collection
from bench.data.parallel import listening, tell
from bench.data.split import Split
from bench.errors import DivergedError, UnsupportedError, UserError, WriteError
from bench.evaluate.modes import get_mode
from bench.evaluate.object_width import widths_of_missed_classes
from bench.evaluate.scoring import Prediction, Scoring
from bench.evaluate.zoom import check_validation_images, choose_zoom
from bench.files import write_error
from bench.learn.model import Model
from bench.plugins.registry import get_method, load_collection
from bench.record_values import Cost, PredictedCost
from bench.run.device_memory import available_bytes
from bench.run.environment import environment
from bench.run.events import CellProgress, CostPredicted, PhaseStarted, Say
from bench.run.heartbeat import Heartbeat
from bench.run.models import keep_model
from bench.run.predictor import CostPredictor, training_size
from bench.run.proposer import Alone, Proposer
from bench.run.record_images import selection_of
from bench.run.same_training import take_over, trained_before
from bench.run.saved_training import SavedTraining, state_key
from bench.run.setup import build_model, prompt_origin, split_of
from bench.run.speed_lock import SpeedLock
from bench.run.stop import StopSignals
from bench.run.store import Store
from bench.run.training import Training, train_model
from bench.spec import AUTO, Cell, Record, Status


def run_cell(
    cell: Cell,
    device: torch.device,
    store: Store,
    say: Say,
    predictor: CostPredictor | None = None,
    lock: SpeedLock | None = None,
    stop: StopSignals | None = None,
) -> Record:
    """Train, evaluate and measure one cell.

    The seed of torch's generator is changed.

    Args:
        cell: what to run.
        device: device of the model.
        store: the predicted class maps of all test images are written to it, and unless `keep` is
            "none" the model with its card; older ones of this cell are replaced.
        say: called with each event of progress.
        predictor: predicts the memory and time of the cell before the model is built; None for no
            prediction.
        lock: shared with the other cells of this machine, which pause while speeds are measured.
        stop: the signals that end the process; None: the state of the training is not saved.

    Returns:
        The record, with the status "ok"; it is not written.

    Raises:
        UserError: the dataset, the method, its options or the weights cannot be used, or a class
            map or the model cannot be written.
        UnsupportedError: the method cannot be used for the task, the recipe or the evaluation.
        DivergedError: a loss or a logit is not finite.
        torch.OutOfMemoryError, MemoryError: the memory does not suffice.
        RuntimeError: this process holds other memory on the CUDA device, see `measure_memory`.
        StopRequested: a signal of `stop` came.
    """
    recipe = cell.recipe
    say(PhaseStarted("data"))
    collection = load_collection(cell.dataset, selection_of(cell))
    parts = split_of(cell, collection)
    if recipe.zoom == AUTO:
        check_validation_images(parts.val)
    tested, items = collection, parts.test
    if cell.test_dataset:
        tested = load_collection(cell.test_dataset, selection_of(cell))
        items = tested.items
    forecast = _predict(cell, parts, str(device), predictor, say) if predictor else None
    proposer = Proposer.of(cell, lambda other: build_model(other, device))
    model = build_model(cell, device)
    # What the evaluation cannot do is refused here, before the training.
    mode = get_mode(recipe.evaluation)
    second = None if proposer is None else proposer.model
    predictions = mode.predict(model, items, tested, second)
    in_domain: Iterator[Prediction] = iter(())
    if cell.test_dataset:
        in_domain = mode.predict(model, parts.test, collection, second)

    training, facts = _train(model, cell, collection, parts, store, device, say, stop)
    if proposer is not None:
        proposer.train(cell, collection, parts, store, say, stop)

    say(PhaseStarted("evaluate"))
    give_way = lock.give_way if lock else lambda: None
    zoom = None
    if recipe.zoom == AUTO:
        zoom = choose_zoom(model, parts.val, collection, give_way)
    scoring = _evaluate(predictions, tested, len(items), store.predictions(cell), give_way)
    metrics = scoring.summary()
    scale = model.zoom if mode.native else None
    metrics |= widths_of_missed_classes(metrics, items, tested, cell.task, scale=scale)
    metrics |= _in_domain(in_domain, collection)

    say(PhaseStarted("measure"))
    alone: Alone = nullcontext if lock is None else lock.alone
    cost = replace(
        measure_cost(model, alone, _count(cell, model)),
        train_wall_s=training.wall_s,
        data_bytes=training.data_bytes,
    )
    if proposer is not None:
        cost = proposer.add_cost(cost, model, items, tested, alone)
    record = Record(
        cell=cell,
        status="ok",
        prompts=prompt_origin(cell),
        classes=collection.classes,
        metrics=metrics,
        per_image=tuple(scoring.images),
        per_volume=tuple(scoring.volumes),
        history=training.curve,
        cost=cost,
        env=environment(str(device))
        | {
            "split": _describe(replace(parts, test=items)),
            "images": _image_facts(collection, tested),
        }
        | ({} if lock is None else {"speeds": lock.conditions})
        | facts
        | ({} if proposer is None else {"proposer": proposer.facts})
        | ({} if zoom is None else {"zoom": zoom.to_dict()}),
        predicted=forecast,
    )
    if store.keep != "none":
        origin = {"source": collection.source, "licence": collection.licence}
        predicted = replace(parts, test=(*parts.test, *items))
        keep_model(model.module, record, predicted, origin, store.model(cell), store.keep)
    return record


def _train(
    model: Model,
    cell: Cell,
    collection: Collection,
    parts: Split,
    store: Store,
    device: torch.device,
    say: Say,
    stop: StopSignals | None,
) -> tuple[Training, dict[str, Any]]:
    """Train a model, or take over the training of an equal cell; with its facts for the record."""
    saved = None
    if stop is not None and store.save_s and model.trainable:
        key = state_key(cell, device)
        saved = SavedTraining(store.training(cell), key, store.save_s, say, stop)
    twin = trained_before(cell, store, str(device)) if model.trainable else None
    if twin is not None:
        return take_over(model, twin), {"trained_as": twin.stem}
    training = train_model(model, cell, collection, parts, say, saved)
    return training, {} if saved is None else saved.facts


def _evaluate(
    predictions: Iterator[Prediction],
    tested: Collection,
    number: int,
    folder: Path,
    give_way: Callable[[], None],
) -> Scoring:
    """The scores of all predictions, whose class maps are written to the folder as PNG."""
    scoring = Scoring(tested)
    for done, prediction in enumerate(predictions, start=1):
        give_way()
        scoring.add(prediction)
        path = folder / f"{prediction.item.name}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(prediction.classes).save(path)
        except OSError as error:
            raise write_error(path, error) from error
        tell("evaluating images", done, number)
    return scoring


def _predict(
    cell: Cell, parts: Split, device: str, predictor: CostPredictor, say: Say
) -> PredictedCost:
    say(PhaseStarted("predict"))
    images = training_size(cell, parts)
    available = predictor.free.get(device) or available_bytes(device)
    predicted = predictor.predict(cell, images, device, available)
    say(CostPredicted(predicted, images, predictor))
    return predicted


def _count(cell: Cell, model: Model) -> Cost:
    """The counted costs; equal cells are counted once, unless their weights are a file."""
    if cell.task.weights not in ("pretrained", "random"):
        return count_cost(model)
    recipe = replace(cell.recipe, lr=0.0)
    settings = (cell.method, sorted(cell.options.items()), cell.task, recipe)
    counts = remembered(
        "counts", get_method(cell.method), settings, lambda: asdict(count_cost(model))
    )
    return Cost(**counts)


def _in_domain(predictions: Iterator[Prediction], collection: Collection) -> dict[str, Any]:
    """Scores of the test part of the dataset that was trained on, where another one is tested.

    Their names are those of all metrics behind `in_domain_`.
    """
    scoring = Scoring(collection)
    for prediction in predictions:
        scoring.add(prediction)
    if not scoring.images:
        return {}
    return {f"in_domain_{name}": value for name, value in scoring.summary().items()}


def _image_facts(collection: Collection, tested: Collection) -> dict[str, Any]:
    """What was read of the images, and of those that are tested."""
    facts = CollectionFacts.of(collection).to_dict()
    if tested is not collection:
        facts["tested_on"] = f"{tested.name}: {CollectionFacts.of(tested).summary}"
    return facts


def _describe(parts: Split) -> dict[str, Any]:
    sizes = {part: len(getattr(parts, part)) for part in ("train", "val", "test")}
    return {**sizes, "notes": list(parts.notes)}


def work(
    cell: Cell,
    device_name: str,
    threads: int,
    store: Store,
    say: Say,
    predictor: CostPredictor | None = None,
    jobs: int = 1,
) -> None:
    """Run a cell and write its record, whatever its outcome; the body of a cell's process.

    An error of the cell is in the record and not raised. The process keeps the number of threads,
    and rounds tiny numbers to 0. The state of the training is removed after the record is written,
    unless a file could not be read or written.

    Args:
        cell: what to run.
        device_name: name of a torch device.
        threads: number of CPU threads of torch in this process.
        store: an open results folder.
        say: called with each event of progress.
        predictor: as for `run_cell`.
        jobs: number of cells that run at the same time, for the record.

    Raises:
        UserError: the record cannot be written, or the method of a cell that failed is unknown.
        ValueError: a number of the record is NaN or infinite.
        StopRequested: SIGTERM or SIGUSR1 came; there is no record, and the state of the training is
            saved, unless `store` says never.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # vanishing gradients would slow the CPU down
    device = torch.device(device_name)
    stop, heartbeat, unfinished = StopSignals(), Heartbeat(say), False
    speeds = SpeedLock(hurry=lambda: heartbeat.must_hurry(stop))
    try:
        with stop, speeds as lock, listening(heartbeat):

            def say_and_give_way(progress: CellProgress) -> None:
                with lock.away():  # the scheduler may let the cell wait
                    say(progress)

            record = run_cell(cell, device, store, say_and_give_way, predictor, lock, stop)
            record = replace(record, env={**record.env, "jobs": jobs})
    except (torch.OutOfMemoryError, MemoryError) as error:
        record = failure(cell, "oom", str(error) or "out of memory", device_name)
    except DivergedError as error:
        record = failure(cell, "diverged", str(error), device_name)
    except UnsupportedError as error:
        record = failure(cell, "unsupported", str(error), device_name)
    except UserError as error:
        unfinished = isinstance(error, WriteError)  # later there may be space
        record = failure(cell, "failed", str(error), device_name)
    except Exception as error:  # a method's bug costs its own cell only, and is shown
        unfinished = isinstance(error, OSError)
        status: Status = "oom" if "can't allocate memory" in str(error) else "failed"
        record = failure(cell, status, f"{type(error).__name__}: {error}", device_name)
    store.write(record)
    if not unfinished:
        store.remove_training(cell)


def failure(cell: Cell, status: Status, reason: str, device_name: str) -> Record:
    """The record of a cell that did not succeed; it is not written.

    Args:
        cell: what was run.
        status: any but "ok".
        reason: only its first line is stored.
        device_name: name of a torch device.

    Raises:
        UserError: the method or the evaluation mode of the cell is unknown.
    """
    sentence = (reason.strip().splitlines() or ["no reason given"])[0]
    return Record(
        cell=cell,
        status=status,
        prompts=prompt_origin(cell),
        error=sentence,
        env=environment(device_name),
    )
