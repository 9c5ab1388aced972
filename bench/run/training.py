"""The training of one cell, the same for every method."""

import time
from dataclasses import dataclass
from typing import Any

from bench.data.items import Collection
from bench.data.split import Split
from bench.data.stacks import stacks
from bench.data.validation import validation_stacks
from bench.evaluate.whole import validation_dice
from bench.learn.images import LabelledImages, image_views, training_images
from bench.learn.loop import fit
from bench.learn.model import Model
from bench.run.events import Say, TrainingProgress
from bench.run.saved_training import SavedTraining
from bench.spec import Cell


@dataclass(frozen=True)
class Training:
    """What a training gives besides the trained model.

    Attributes:
        curve: see `bench.learn.loop.fit`.
        wall_s: seconds, making the views included; of a training that was continued, those of all
            its processes up to the states; None if nothing was trained.
        data_bytes: images in memory and output of frozen stages, as in
            `bench.run.events.TrainingProgress`; None if nothing was trained.
    """

    curve: tuple[dict[str, float], ...] = ()
    wall_s: float | None = None
    data_bytes: int | None = None


def train_model(
    model: Model,
    cell: Cell,
    collection: Collection,
    parts: Split,
    say: Say,
    saved: SavedTraining | None = None,
) -> Training:
    """Train the model on the training part; nothing is done if nothing is trainable.

    Args:
        model: of `build_model`; it is changed, and left in training mode.
        cell: gives recipe and seed.
        collection: the dataset.
        parts: of `split_of`.
        say: called with the progress.
        saved: the state that the training continues from, and where it is kept; None for neither.

    Returns:
        The curve and costs; empty if nothing is trainable. The Dice of the curve is that of
        `validation_stacks`; without a validation part there is none.

    Raises:
        DivergedError: a loss or a logit is not finite.
        UnsupportedError: the recipe needs SAM's decoder, and the model has none.
        UserError: an image cannot be read, or a volume has fewer slices than the depth.
        bench.run.stop.StopRequested: of `saved`.
    """
    if not model.trainable:
        return Training()
    began = time.perf_counter()
    if saved is not None:
        saved.begin()
    recipe, depth = cell.recipe, cell.task.depth
    rule = model.object_rule if model.object_rule.channels else None
    prompted = model.prompt_rule is not None
    settings: dict[str, Any] = {
        "collection": collection,
        "size": cell.task.image_size,
        "seed": cell.seed,
        "fit": cell.task.fit,
    }
    shown = validation_stacks(parts.val, depth)
    validation = None
    if shown:
        bank = image_views(shown, views=0, kind="none", instances=prompted, **settings).draw()
        validation = LabelledImages.of(bank, model.device, depth).with_prompts(model.prompt_rule)
    views = image_views(
        stacks(parts.train, depth, step=1),
        # More views than the steps take would be made in vain.
        views=min(recipe.bank_views, recipe.steps * recipe.batch_size),
        kind=recipe.augmentation,
        instances=prompted or rule is not None,
        **settings,
    )
    shown_bytes = 0 if validation is None else validation.nbytes
    data_bytes = 0

    def report(row: dict[str, float]) -> None:
        nonlocal data_bytes
        data_bytes = int(row["data_bytes"]) + shown_bytes
        step, speed = int(row["step"]), row["images_per_s"]
        say(TrainingProgress(step, row["epoch"], row["loss"], speed, data_bytes))

    curve = fit(
        model,
        training_images(views, model.device, prompted or rule is not None, rule),
        seed=cell.seed,
        report=report,
        validate=lambda: None if validation is None else validation_dice(model, validation),
        keeper=saved,
    )
    wall_s = time.perf_counter() - began if saved is None else saved.end()
    return Training(tuple(curve), wall_s, data_bytes)
