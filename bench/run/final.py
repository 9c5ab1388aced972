"""Train the final model: on all images that the comparison did not test on, or on all images."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.data.items import Item
from bench.data.split import Split
from bench.data.traits import ImageTraits
from bench.errors import DivergedError, UnsupportedError, UserError
from bench.files import check_writable, remove_leftovers_of
from bench.keep.header import ModelHeader, Score, without_paths
from bench.keep.model_card import write_card
from bench.keep.model_file import save_model
from bench.plugins.registry import load_collection
from bench.run.environment import environment
from bench.run.events import PhaseStarted, Say
from bench.run.record_images import selection_of
from bench.run.saved_training import SavedTraining, state_key
from bench.run.setup import build_model, prompt_origin, split_of
from bench.run.stop import StopSignals
from bench.run.training import train_model
from bench.spec import Cell


@dataclass(frozen=True)
class FinalTraining:
    """What to train.

    Attributes:
        cell: settings of the model; its fold and label budget choose the parts as in a run.
        everything: also train on the test part.
        repeats: scores of the records that the model repeats on more images.
        zoom: with `--zoom auto`, what those records chose, see `chosen_zoom`.
    """

    cell: Cell
    everything: bool = False
    repeats: tuple[Score, ...] = ()
    zoom: int | None = None


def train_final(
    training: FinalTraining, device: str, path: Path, say: Say, save_s: float = 0.0
) -> ModelHeader:
    """Train a model on the train and validation parts, or on all, and write it with its card.

    The recipe is that of the cell: as many steps, on more images. Nothing is validated or tested.
    The seed of torch's generator is changed. A training that was killed or stopped continues from
    its state, which is in a folder next to the model until this is written.

    Args:
        training: what to train.
        device: name of a torch device.
        path: of the model file; the card is next to it, with the ending .md. Both are replaced.
        say: called with the progress.
        save_s: seconds after which the state of the training is saved; 0 for never.

    Returns:
        The header of the file.

    Raises:
        UserError: the dataset or the method cannot be used, nothing is trainable, the loss is not
            finite, or a file cannot be written.
        torch.OutOfMemoryError, MemoryError: the memory does not suffice.
        bench.run.stop.StopRequested: a signal came; the state is saved first, if `save_s` is not 0.
    """
    cell, zoom = training.cell, training.zoom
    for file in (path, path.with_suffix(".md")):
        check_writable(file)
        remove_leftovers_of(file)
    say(PhaseStarted("data"))
    collection = load_collection(cell.dataset, selection_of(cell))
    parts = split_of(cell, collection)
    used = training_parts(parts, training.everything)
    items = tuple(item for some in used.values() for item in some)
    order = {item.name: number for number, item in enumerate(collection.items)}
    items = tuple(sorted(items, key=lambda item: order[item.name]))  # slices stay together
    try:
        model = build_model(cell, torch.device(device))
        if not model.trainable:
            raise UserError(f"{cell.label} has nothing to train: choose a method that trains")
        with StopSignals() as stop:
            saved = None
            if save_s:
                state = state_folder(path) / "state.safetensors"
                key = state_key(cell, model.device) | {"images of the training": _hash(items)}
                saved = SavedTraining(state, key, save_s, say, stop)
            trained = train_model(model, cell, collection, Split(items, (), ()), say, saved)
    except (UnsupportedError, DivergedError) as error:
        raise UserError(f"{cell.label} cannot be trained here: {error}") from error
    header = ModelHeader(
        cell=without_paths(cell),
        base=(0.0, 0.0),
        classes=collection.classes,
        prompts=prompt_origin(cell),
        rule="final",
        images=ImageTraits.of(items, parts.test),
        trained_on={part: tuple(item.name for item in some) for part, some in used.items()},
        origin={"source": collection.source, "licence": collection.licence},
        repeats=training.repeats,
        history=trained.curve,
        fit=cell.task.fit,
        env=environment(device)
        | ({} if zoom is None else {"zoom": {"chosen": zoom}})
        | (saved.facts if saved is not None else {}),
    )
    header = save_model(model.module, path, header)
    write_card(path, header)
    shutil.rmtree(state_folder(path), ignore_errors=True)
    return header


def state_folder(path: Path) -> Path:
    """The folder of the state of a training, next to its model file; it need not exist."""
    return path.with_name(f"{path.name}.training")


def _hash(items: Sequence[Item]) -> str:
    return hashlib.sha256("\n".join(item.name for item in items).encode()).hexdigest()[:16]


def training_parts(parts: Split, everything: bool) -> Mapping[str, tuple[Item, ...]]:
    """The items that a final model is trained on, by part: "train", "val" and perhaps "test".

    A label budget has limited "train" already; "val" has no limit.

    Args:
        parts: of the split.
        everything: include the test part.
    """
    used = {"train": parts.train, "val": parts.val}
    return used | {"test": parts.test} if everything else used
