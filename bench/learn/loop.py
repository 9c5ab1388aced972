"""The training loop, the same for every method."""

import functools
import itertools
import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bench.errors import DivergedError
from bench.learn.frozen import run_frozen_stages
from bench.learn.images import LabelledImages, TrainingImages
from bench.learn.model import Model, ModelInput
from bench.learn.position import Position
from bench.learn.training_state import StateKeeper, TrainingState
from bench.sam.prompts import Prompts
from bench.spec import Recipe

Report = Callable[[dict[str, float]], None]
OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def make_optimizer(model: Model) -> torch.optim.Optimizer:
    """Return the recipe's optimiser for the trainable parameters.

    Args:
        model: its recipe names the optimiser, a key of `OPTIMIZERS`, with peak learning rate and
            weight decay.

    Raises:
        KeyError: the optimiser is unknown.
        ValueError: nothing is trainable.
    """
    recipe = model.recipe
    kind = OPTIMIZERS[recipe.optimizer]
    return kind(model.trainable, recipe.lr, weight_decay=recipe.weight_decay)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of a step: a linear warm-up, then the schedule of the recipe.

    The warm-up takes at most half of the training. For "poly", the number of steps after the
    warm-up is divided by the length of the whole training, warm-up included, as in SAMed's code.

    Args:
        recipe: gives `warmup_steps`, `schedule` and the other settings.
        step: number of the step, from 0.

    Raises:
        KeyError: the schedule is not "constant", "cosine" or "poly", and the warm-up is over.
    """
    warmup = min(recipe.warmup_steps, recipe.steps // 2)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    length = round(recipe.horizon * recipe.steps)
    total = max(1, length if recipe.schedule == "poly" else length - warmup)
    done = (step - warmup) / total
    if recipe.rate_levels is not None:  # in whole numbers: a quotient may be just below a level
        done = (step - warmup) * recipe.rate_levels // total / recipe.rate_levels
    left = {
        "constant": 1.0,
        "cosine": 0.5 + 0.5 * math.cos(math.pi * done),
        "poly": (1 - done) ** recipe.power,
    }[recipe.schedule]
    return recipe.final_lr + (recipe.lr - recipe.final_lr) * left


def train_step(
    model: Model,
    optimizer: torch.optim.Optimizer,
    inputs: ModelInput,
    masks: Tensor,
    prompts: Prompts | None = None,
    distances: Tensor | None = None,
) -> Tensor:
    """Do forward pass, loss, backward pass and update for one batch; return the detached loss.

    The learning rate is that of the optimiser's groups. Gradients are clipped as the recipe says.

    With `recipe.accumulate` above 1, the batch is passed in that many parts of whole stacks, and
    their gradients are added with the share of each part in the batch as its weight.

    A model that only decodes prompts has no gradient for images without an object; if no image of a
    batch has one, the step changes nothing.

    Args:
        model: its module is in training mode.
        optimizer: result of `make_optimizer`.
        inputs: images of the batch (a module with a training loss of its own needs these), or the
            output of the frozen stages.
        masks: class indices (B, S, S) uint8, on the device of the model.
        prompts: one entry per row, for a model that takes prompts.
        distances: (B, 2, S, S), for a model that learns them; as of `Model.loss`.

    Returns:
        A scalar on the device of `masks`; it is not checked to be finite.

    Raises:
        UnsupportedError: `loss_at` is "decoder", and the module does not run in stages.
        UserError: of the loss, as for images that are too small for it.
    """
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=masks.device)
    for rows in _parts(model, len(masks)):
        targets = masks[rows], None if distances is None else distances[rows]
        loss, logits = _loss(model, inputs[rows], targets, prompts and prompts[rows])
        share = len(masks[rows]) / len(masks)
        if loss.requires_grad or not _without_prompts(prompts and prompts[rows]):
            (loss if share == 1 else share * loss).backward()
        total = loss.detach() if share == 1 else total + share * loss.detach()
    if model.recipe.clip_norm > 0:
        torch.nn.utils.clip_grad_norm_(model.trainable, model.recipe.clip_norm)
    optimizer.step()
    del logits  # kept in memory until here, as in all recorded memory peaks
    return total


def _loss(
    model: Model,
    inputs: ModelInput,
    targets: tuple[Tensor, Tensor | None],
    prompts: Prompts | None,
) -> tuple[Tensor, Tensor | None]:
    """Return the loss of some rows, and the logits that it was computed from, if any.

    Args:
        model: as of `train_step`.
        inputs: of the rows.
        targets: masks and distances of the rows.
        prompts: of the rows.
    """
    loss = model.own_loss(inputs.rows, *targets)
    if loss is not None:
        return loss, None
    logits = model.logits(inputs, prompts, small=model.recipe.loss_at == "decoder")
    return model.loss(logits, *targets), logits


def _without_prompts(prompts: Prompts | None) -> bool:
    """Return whether the model takes prompts, and there is none for any image."""
    return prompts is not None and not any(len(boxes) for boxes in prompts.boxes)


def _parts(model: Model, rows: int) -> list[slice]:
    """Return the rows of each of the `accumulate` parts of a batch; whole stacks of slices."""
    depth, parts = model.task.depth, model.recipe.accumulate
    samples = rows // depth
    ends = [depth * round(samples * part / parts) for part in range(parts + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(ends) if end > start]


def fit(
    model: Model,
    bank: TrainingImages,
    *,
    seed: int,
    report: Report,
    validate: Callable[[], float | None],
    points: int = 6,
    keep_frozen: bool = True,
    keeper: StateKeeper | None = None,
) -> list[dict[str, float]]:
    """Train for `recipe.steps` steps on random batches; each pass uses every view once.

    The module is put into training mode, and stays in it. An epoch has `recipe.epoch_images`
    images or stacks, or else those of the bank.

    Args:
        model: its recipe has the settings of the training.
        bank: the augmented views; their batches are on the device of the model.
        seed: seed of the order of the batches and of the training prompts.
        report: called about twice per second, and at each point of the curve, with step, epoch
            (images so far, divided by those of an epoch), loss, images_per_s and data_bytes (the
            images in memory, with the output of frozen stages).
        validate: returns the mean Dice on the validation part, or None; it is recorded, and the
            training does not depend on it. It may change the mode of the module.
        points: number of points of the curve; fewer steps give as many points as steps.
        keep_frozen: run frozen stages once per view and keep their output, if the views are in
            memory and the output fits, see `run_frozen_stages`.
        keeper: gives the state that the training continues from, and takes its states.

    Returns:
        The learning curve: for each point step, epoch, mean loss since the previous point, and
        val_dice if it is defined.

    Raises:
        DivergedError: the loss, which is checked at each report, or a logit of the validation part,
            is infinite or not a number.
        UserError, UnsupportedError: as `train_step`.
        ValueError: nothing is trainable.
        SystemExit: of the keeper.
    """
    model.module.train()
    recipe, optimizer = model.recipe, make_optimizer(model)
    encoded = _encoded(model, bank) if keep_frozen else None
    data_bytes = bank.nbytes + (0 if encoded is None else encoded.rows.nbytes)
    position = Position(np.random.default_rng(seed))
    marks = {round(recipe.steps * (i + 1) / points) for i in range(points)}
    epoch_images = (recipe.epoch_images or 0) * bank.depth or len(bank)

    def tell(loss: float) -> dict[str, float]:
        done, images = float(position.step), position.images
        row = {"step": done, "epoch": images / epoch_images, "loss": loss}
        speed = images / position.seconds
        report({**row, "images_per_s": speed, "data_bytes": float(data_bytes)})
        return row

    # Only now, because the frozen stages have run with the state of step 0.
    if keeper is not None and (earlier := keeper.restore(model, optimizer)) is not None:
        position = earlier
        tell(position.mean_loss())
    began = reported = time.perf_counter()
    earlier_s = position.seconds
    while position.step < recipe.steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, position.step)
        rows = position.next_batch(recipe, bank)
        batch = bank.batch(rows)
        masks, prompts = batch.masks, None
        if model.prompt_rule is not None:
            prompts, masks = model.prompt_rule.for_training(masks, position.rng, batch.instances)
        inputs = ModelInput(batch.images) if encoded is None else encoded[rows]
        loss = train_step(model, optimizer, inputs, masks, prompts, batch.distances)
        position.losses.append(loss)
        position.images += len(rows)
        position.step += 1
        now = time.perf_counter()
        position.seconds = earlier_s + now - began
        if position.step in marks or now - reported > 0.5:
            reported = now
            row = tell(_finite_loss(position))
            if position.step in marks:
                position.losses = []
                dice = validate()
                model.module.train()
                position.curve.append(row if dice is None else {**row, "val_dice": dice})
        if keeper is not None:
            take = functools.partial(TrainingState.of, model, optimizer, position)
            keeper.after_step(take, last=position.step == recipe.steps)
    return position.curve


def _encoded(model: Model, bank: TrainingImages) -> ModelInput | None:
    """Return the output of the frozen stages for all views; None if it is not kept."""
    if not isinstance(bank, LabelledImages):  # drawn for each batch: perhaps more than are used
        return None
    inputs = run_frozen_stages(model, bank.images)
    return inputs if inputs.encoded else None


def _finite_loss(position: Position) -> float:
    loss = position.mean_loss()
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss became {loss} at step {position.step}: try a lower learning rate"
        )
    return loss
