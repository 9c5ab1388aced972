"""One training loop for every method."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.bank import Bank
from bench.errors import UnsupportedError
from bench.learn.losses import Loss, get_loss
from bench.sam.prompts import PromptRule, Prompts
from bench.sam.segmenter import Staged
from bench.spec import Recipe

Report = Callable[[dict[str, float]], None]
REUSED_BYTES = 8 << 30  # more than the output of frozen stages takes but at published bank sizes


class DivergedError(RuntimeError):
    """The loss is no longer a finite number."""


@runtime_checkable
class Supervised(Protocol):
    """A model that learns from more than its logits, as under deep supervision."""

    def training_loss(self, images: Tensor, masks: Tensor, loss: Loss) -> Tensor:
        """The value to lower, from images (B, 3, S, S) in [0, 1] and class indices (B, S, S)."""


@dataclass(frozen=True)
class Views:
    """Images ready for a model, and what is known of them.

    Attributes:
        images: (N, 3, S, S) uint8.
        masks: class indices (N, S, S) uint8.
        prompts: one entry an image, for models that take prompts.
        instances: instance numbers (N, S, S) int32, from which prompts are made; 0 is background,
            an image of zeros has none given.
        depth: D; every D rows in turn are slices of one stack, and stay together.
    """

    images: Tensor
    masks: Tensor
    prompts: tuple[Prompts, ...] | None = None
    instances: Tensor | None = None
    depth: int = 1

    @classmethod
    def of(
        cls,
        bank: Bank,
        device: torch.device,
        instances: Bank | None = None,
        depth: int = 1,
    ) -> "Views":
        """The views of a bank, on `device`; the same views of instance numbers stay on the CPU."""
        images = torch.from_numpy(bank.images).permute(0, 3, 1, 2).contiguous()
        numbered = None if instances is None else torch.from_numpy(instances.masks)
        masks = torch.from_numpy(bank.masks).to(device)
        return cls(images.to(device), masks, instances=numbered, depth=depth)

    def prompted(self, model: nn.Module) -> "Views":
        """With prompts as at evaluation, where the model takes prompts."""
        rule: PromptRule | None = getattr(model, "prompt_rule", None)
        if rule is None:
            return self
        numbered = [None] * len(self) if self.instances is None else self.instances.numpy()
        seen = zip(self.masks.cpu().numpy(), numbered, strict=True)
        made = (rule.for_evaluation(mask, instances) for mask, instances in seen)
        return replace(self, prompts=tuple(prompts.to(self.images.device) for prompts in made))

    def __len__(self) -> int:
        return len(self.images)


class Reused:
    """A model seen from its first trainable stage on; what lies before runs once an image.

    A model that is not `Staged`, or whose first stage already trains, is used whole. Frozen stages
    run as in evaluation and see the same batches whether their output is kept or not, so both ways
    give equal results.

    Args:
        model: images (B, 3, S, S) in [0, 1] to logits (B, K, S, S).
        precision: "fp32", or "bf16" for autocast.
        reuse: keep the output of the frozen stages, up to `REUSED_BYTES` of it; False recomputes
            it, for comparison.
    """

    def __init__(self, model: nn.Module, precision: str, reuse: bool = True) -> None:
        self.model, self.precision = model, precision
        self.staged = model if isinstance(model, Staged) else None
        self.stages = self.staged.stages() if self.staged else []
        self.frozen = 0
        while self.frozen < len(self.stages) and not any(
            p.requires_grad for p in self.stages[self.frozen].parameters
        ):
            self.frozen += 1
        self.reuse = reuse and self.frozen > 0

    def autocast(self, device: torch.device) -> torch.autocast:
        """The recipe's precision as a context."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def prepare(self, images: Tensor, batch: int = 8) -> Tensor:
        """What `logits` takes: the output of the frozen stages for every image, or the images."""
        if not self.reuse:
            return images
        first, *rest = images.split(batch)
        kept = [self._frozen_part(first)]
        if kept[0][0].nbytes * len(images) > REUSED_BYTES:
            self.reuse = False
            return images
        return torch.cat([*kept, *(self._frozen_part(part) for part in rest)])

    def logits(self, prepared: Tensor, prompts: Prompts | None = None, low: bool = False) -> Tensor:
        """Class logits (B, K, S, S) fp32 of rows of `prepare`'s result.

        Args:
            prepared: rows of `prepare`'s result.
            prompts: one entry a row, for models that take prompts.
            low: give logits as small as SAM's decoder makes them.

        Raises:
            UnsupportedError: `low` is asked of a model without SAM's decoder.
        """
        if low and self.staged is None:
            raise UnsupportedError("the recipe asks for the small logits of SAM's decoder")
        with self.autocast(prepared.device):
            if self.staged is None:
                beside = () if prompts is None else (prompts,)
                logits: Tensor = self.model(_unit(prepared), *beside)
                return logits.float()
            features = prepared if self.reuse else self._frozen_part(prepared)
            for stage in self.stages[self.frozen :]:
                features = stage.run(features)
            return self.staged.decode(features, prompts, low).float()

    def _frozen_part(self, images: Tensor) -> Tensor:
        features = _unit(images)
        with torch.no_grad(), self.autocast(images.device):
            for stage in self.stages[: self.frozen]:
                features = stage.run(features)
        return features


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the trainable parameters."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    return kinds[recipe.optimizer](trainable, recipe.lr, weight_decay=recipe.weight_decay)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Rate of 0-based `step`: linear rise over `warmup_steps`, then the schedule.

    The rise takes at most half the training. "poly" counts as SAMed does: what is done of the whole
    training, rise included, is reckoned from the end of the rise.
    """
    warmup = min(recipe.warmup_steps, recipe.steps // 2)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    length = round(recipe.horizon * recipe.steps)
    done = (step - warmup) / max(1, length if recipe.schedule == "poly" else length - warmup)
    if recipe.rate_levels is not None:
        done = math.floor(done * recipe.rate_levels) / recipe.rate_levels
    left = {
        "constant": 1.0,
        "cosine": 0.5 + 0.5 * math.cos(math.pi * done),
        "poly": (1 - done) ** recipe.power,
    }[recipe.schedule]
    return recipe.final_lr + (recipe.lr - recipe.final_lr) * left


def train_step(
    view: Reused,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    rows: Tensor,
    masks: Tensor,
    prompts: Prompts | None = None,
) -> Tensor:
    """Forward, loss, backward and update on one batch; returns the loss, detached."""
    if isinstance(view.model, Supervised) and recipe.loss_at == "image":
        loss = _supervised(view, view.model, _unit(rows), masks, get_loss(recipe.loss))
    else:
        logits = view.logits(rows, prompts, low=recipe.loss_at == "decoder")
        loss = get_loss(recipe.loss)(logits, _shrunk(masks, logits.shape[-1]))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if recipe.clip_norm > 0:
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
    optimizer.step()
    return loss.detach()


def fit(
    model: nn.Module,
    views: Views,
    recipe: Recipe,
    *,
    seed: int,
    report: Report,
    validate: Callable[[], float | None],
    points: int = 6,
    reuse: bool = True,
) -> list[dict[str, float]]:
    """Train for `recipe.steps` steps on random batches of whole passes over the bank.

    Args:
        model: its trainable parameters are those that require a gradient.
        views: the augmentation bank.
        recipe: what to do.
        seed: of the order of the batches.
        report: called now and then with step, epoch, loss and images_per_s.
        validate: mean Dice on the validation part; looked at for the curve, never for selection.
        points: how often the curve is taken.
        reuse: compute frozen stages once a view.

    Returns:
        The curve: step, epoch, mean loss since the last point, and val_dice where defined.

    Raises:
        DivergedError: the loss is infinite or not a number.
    """
    model.train()
    view, optimizer = Reused(model, recipe.precision, reuse), make_optimizer(model, recipe)
    rule: PromptRule | None = getattr(model, "prompt_rule", None)
    prepared = view.prepare(views.images)
    rng = np.random.default_rng(seed)
    curve: list[dict[str, float]] = []
    losses: list[Tensor] = []
    marks = {round(recipe.steps * (i + 1) / points) for i in range(points)}
    began = said = time.perf_counter()
    for step, batch in enumerate(_batches(recipe, views, rng)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        masks, prompts = views.masks[batch], None
        if rule is not None:
            numbered = None if views.instances is None else views.instances[batch]
            prompts, masks = rule.for_training(masks, rng, numbered)
        losses.append(train_step(view, optimizer, recipe, prepared[batch], masks, prompts))
        now, done = time.perf_counter(), step + 1
        if done in marks or now - said > 0.5:
            said = now
            epoch = done * recipe.batch_size * views.depth / len(views)
            row = {"step": float(done), "epoch": epoch, "loss": _mean_loss(losses, done)}
            images = done * recipe.batch_size * views.depth
            report({**row, "images_per_s": images / (now - began)})
            if done in marks:
                losses = []
                dice = validate()
                model.train()
                curve.append(row if dice is None else {**row, "val_dice": dice})
    return curve


def _batches(recipe: Recipe, views: Views, rng: np.random.Generator) -> Iterator[list[int]]:
    """Rows of the stacks of every step, pass after pass over all of them."""
    order: list[int] = []
    for _ in range(recipe.steps):
        while len(order) < recipe.batch_size:
            order += rng.permutation(len(views) // views.depth).tolist()
        batch, order = order[: recipe.batch_size], order[recipe.batch_size :]
        yield [stack * views.depth + row for stack in batch for row in range(views.depth)]


def _mean_loss(losses: list[Tensor], step: int) -> float:
    loss = torch.stack(losses).mean().item()
    if not math.isfinite(loss):
        raise DivergedError(f"the loss became {loss} at step {step}: try a lower learning rate")
    return loss


def _supervised(
    view: Reused, model: Supervised, images: Tensor, masks: Tensor, loss: Loss
) -> Tensor:
    """The model's own value, its layers in the recipe's precision, `loss` in fp32."""

    def exact(logits: Tensor, masks: Tensor) -> Tensor:
        with torch.autocast("cpu" if images.is_meta else images.device.type, enabled=False):
            return loss(logits.float(), masks)

    with view.autocast(images.device):
        return model.training_loss(images, masks, exact)


def _shrunk(masks: Tensor, side: int) -> Tensor:
    """Masks (B, S, S) as (B, side, side), by nearest neighbour."""
    if masks.shape[-1] == side:
        return masks
    return F.interpolate(masks[:, None], (side, side), mode="nearest-exact")[:, 0]


def _unit(images: Tensor) -> Tensor:
    return images.float() / 255
