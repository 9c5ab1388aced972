"""The model of one cell: a method's module with everything that training and evaluation need.

All differences between methods (prompts, stages, a loss of their own) are found here, once, when
the model is made. Training, evaluation and cost measurement only use the result.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.parallel import tell
from bench.errors import DivergedError, UnsupportedError
from bench.learn.distance_loss import distance_loss
from bench.learn.losses import Loss, get_loss
from bench.learn.rays import scale_rays
from bench.objects.rules import get_rule
from bench.sam.precision import emulate_bf16
from bench.sam.prompts import PromptRule, Prompts
from bench.sam.stages import Refined, Stage, Staged
from bench.spec import AUTO, Recipe, Task


@runtime_checkable
class HasTrainingLoss(Protocol):
    """A module whose training loss uses more than its logits, as with deep supervision."""

    def training_loss(self, images: Tensor, masks: Tensor, loss: Loss) -> Tensor:
        """Return the value to minimise, a scalar.

        Args:
            images: (B, 3, S, S) float in [0, 1].
            masks: class indices (B, S, S).
            loss: the recipe's loss, from logits and class indices.
        """


@dataclass(frozen=True)
class ModelInput:
    """Input of a model: images, or the output of its frozen stages for these images.

    Attributes:
        rows: images (B, 3, S, S) uint8, or features (B, ...) float if `encoded` is true.
        encoded: whether the frozen stages have already run, see `bench.learn.frozen`.
        images: (B, 3, S, S) uint8 beside features, for a model that decodes with them; else None.
    """

    rows: Tensor
    encoded: bool = False
    images: Tensor | None = None

    def __getitem__(self, index: list[int] | slice | Tensor) -> "ModelInput":
        """Some of the rows."""
        images = None if self.images is None else self.images[index]
        return ModelInput(self.rows[index], self.encoded, images)

    @property
    def tensors(self) -> list[Tensor]:
        """Rows, and images beside them if there are any."""
        return [self.rows] if self.images is None else [self.rows, self.images]


class Model:
    """A method's module, the task it was built for, and the recipe it is trained with.

    The parameters that require a gradient are the trainable ones; they are set when the module is
    built and do not change afterwards.

    Args:
        module: from images (B, 3, S, S) in [0, 1], and prompts if it takes them, to logits
            (B, K, S, S), or (B, K + 2, S, S) where the recipe's rule for objects has two maps.
        task: its K is that of the classes; the module is built for `object_rule.built_task(task)`.
        recipe: gives precision, loss and optimiser settings.

    Attributes:
        trainable: the parameters that training changes.
        loss_function: the recipe's loss, from logits (B, K, S, S) and class indices (B, S, S).
        object_rule: how objects are found in a class map; it can need outputs behind the K logits.
        prompt_rule: how prompts are made from the ground truth; None if it takes no prompts.
        stages: the steps of its encoder, in order; empty if the module has no stages.
        zoom: times that windows of images are enlarged in an evaluation by tiles; of the recipe, or
            1 until it is chosen on validation images.
        frozen_stages: number of stages before the first one with a trainable parameter; all of them
            if there is no such stage. 0 if training uses the module's own loss, which needs images.

    Raises:
        UserError: the recipe names an unknown loss or rule for objects.
        UnsupportedError: the rule for objects needs outputs of a model that takes prompts.
    """

    def __init__(self, module: nn.Module, task: Task, recipe: Recipe) -> None:
        self.module, self.task, self.recipe = module, task, recipe
        if recipe.precision == "bf16":
            emulate_bf16()
        self.trainable = [p for p in module.parameters() if p.requires_grad]
        self.loss_function = get_loss(recipe.loss)
        self.prompt_rule: PromptRule | None = getattr(module, "prompt_rule", None)
        self.object_rule = get_rule(recipe.objects)
        self.zoom = 1 if recipe.zoom == AUTO else int(recipe.zoom)
        if self.object_rule.channels and self.prompt_rule is not None:
            raise UnsupportedError(
                f"a model that takes prompts has no outputs for --objects {recipe.objects}: give"
                " --objects watershed"
            )
        self.stages: list[Stage] = module.stages() if isinstance(module, Staged) else []
        self._staged = module if isinstance(module, Staged) else None
        self._refined: Refined | None = None
        if isinstance(module, Refined) and module.refiner is not None:
            self._refined = module
        self._own_loss = module if isinstance(module, HasTrainingLoss) else None
        self.frozen_stages = 0
        for stage in () if self._trains_with_own_loss else self.stages:
            if any(parameter.requires_grad for parameter in stage.parameters):
                break
            self.frozen_stages += 1

    @property
    def device(self) -> torch.device:
        """Device of the parameters; the CPU for a module without parameters."""
        first = next(self.module.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    def forward(self, images: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Return the outputs (B, K or K + 2, S, S) fp32, computed in the recipe's precision.

        The mode of the module is not changed. The first K are class logits, see `split`.

        Args:
            images: (B, 3, S, S) uint8, on the device of the model.
            prompts: one entry per image, for a model that takes prompts.
        """
        return self.logits(ModelInput(images), prompts)

    def predict(self, images: Tensor, prompts: Prompts | None = None) -> Tensor:
        """As `forward`, in evaluation mode, which stays set, and without gradients.

        Raises:
            DivergedError: a logit is not finite.
        """
        self.module.eval()
        with torch.no_grad():
            logits = self.forward(images, prompts)
        check_finite(logits)
        tell("predicting images or windows", len(images))
        return logits

    def logits(
        self, inputs: ModelInput, prompts: Prompts | None = None, small: bool = False
    ) -> Tensor:
        """Return the outputs (B, K or K + 2, S, S) fp32, computed in the recipe's precision.

        Args:
            inputs: images, or the output of the frozen stages.
            prompts: one entry per row, for a model that takes prompts.
            small: return (B, K, s, s) as SAM's decoder gives them; s is four times the side of the
                embedding. Another head resizes its logits to this side; a refiner has no smaller
                ones than (B, K, S, S).

        Raises:
            UnsupportedError: `small` is true, and the module does not run in stages.
        """
        if small and self._staged is None:
            raise UnsupportedError(
                "the recipe takes the loss at four times the side of SAM's image embedding"
                " (loss_at='decoder'), and this model does not run in stages that give one:"
                " give a recipe with loss_at='image'"
            )
        with self._autocast():
            if self._staged is None:
                others = () if prompts is None else (prompts,)
                logits: Tensor = self.module(to_unit(inputs.rows), *others)
                return logits.float()
            features = inputs.rows if inputs.encoded else self.encode_frozen(inputs.rows)
            for stage in self.stages[self.frozen_stages :]:
                features = stage.run(features)
            if self._refined is None:
                return self._staged.decode(features, prompts, small).float()
            images = inputs.rows if inputs.images is None else inputs.images
            return self._refined.decode(features, prompts, small, to_unit(images)).float()

    def encoded(self, features: Tensor, images: Tensor) -> ModelInput:
        """Return the output of the frozen stages as input, with the images if it decodes with them.

        Args:
            features: of `encode_frozen` for the images.
            images: (B, 3, S, S) uint8.
        """
        return ModelInput(features, True, None if self._refined is None else images)

    def scored_masks(self, image: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Return the mask of each prompt of one image, in evaluation mode and without gradients.

        Args:
            image: (1, 3, S, S) uint8, on the device of the model.
            prompts: of this image, on the device of the model; at least one.

        Returns:
            As `PromptedDecoder.scored_masks`.

        Raises:
            DivergedError: a logit or a predicted IoU is not finite.
        """
        self.module.eval()
        head: Any = self.module.head
        with torch.no_grad(), self._autocast():
            features = self.encode_frozen(image)
            for stage in self.stages[self.frozen_stages :]:
                features = stage.run(features)
            masks, scores = head.scored_masks(features, prompts)
        check_finite(masks)
        check_finite(scores)
        return masks, scores

    def encode_frozen(self, images: Tensor) -> Tensor:
        """Return the output of the frozen stages for images (B, 3, S, S) uint8; no gradients.

        Without frozen stages, these are the images as float in [0, 1].
        """
        features = to_unit(images)
        with torch.no_grad(), self._autocast():
            for stage in self.stages[: self.frozen_stages]:
                features = stage.run(features)
        return features

    def split(self, logits: Tensor, dim: int = 0) -> tuple[Tensor, Tensor | None]:
        """Divide the outputs of the module into class logits and maps of distances.

        Args:
            logits: with K, or K and the channels of `object_rule`, outputs.
            dim: dimension of the outputs.

        Returns:
            The first K; and the others as shares in [0, 1], None if there are none.
        """
        if not self.object_rule.channels:
            return logits, None
        parts = [self.task.num_classes, self.object_rule.channels]
        classes, distances = logits.split(parts, dim)
        return classes, distances.float().sigmoid()

    def in_pixels(self, logits: Tensor, scale: tuple[float, float]) -> Tensor:
        """Return the outputs of an image that was resized, in pixels of the image.

        Only maps of lengths change, as those of the rule "rays".

        Args:
            logits: (..., K or more, H, W) outputs, at the size of the image.
            scale: rows and columns of the image for one of the model's input.
        """
        rays = self.object_rule.rays
        if not rays or scale == (1.0, 1.0):
            return logits
        others, lengths = logits.split([logits.shape[-3] - rays, rays], -3)
        return torch.cat([others, scale_rays(lengths, scale)], -3)

    def loss(self, logits: Tensor, masks: Tensor, distances: Tensor | None = None) -> Tensor:
        """Return the recipe's loss of the outputs of the module, with that of its distances.

        If the logits are smaller than the masks, these are resized by nearest neighbour.

        Args:
            logits: (B, K, s, s), or (B, K + 2, s, s).
            masks: class indices (B, S, S).
            distances: (B, 2, S, S) uint8, see `LabelledImages.distances`. None where the rule for
                objects needs none, or where only costs are measured: then no pixel is in an object.
        """
        masks = _shrink(masks, logits.shape[-1])
        if not self.object_rule.channels:
            return self.loss_function(logits, masks)
        if distances is None:
            count, *size = masks.shape
            distances = masks.new_zeros(count, self.object_rule.channels, *size)
        parts = [self.task.num_classes, self.object_rule.channels]
        classes, predicted = logits.split(parts, 1)
        distances = _shrink(distances.flatten(0, 1), logits.shape[-1]).view_as(predicted)
        return self.loss_function(classes, masks) + distance_loss(
            predicted, distances, self.object_rule.weights
        )

    def own_loss(
        self, images: Tensor, masks: Tensor, distances: Tensor | None = None
    ) -> Tensor | None:
        """Return the module's own training loss; None if training uses only its logits.

        That is so for a module without such a loss, and for `loss_at` other than "image". The
        layers are computed in the recipe's precision, the recipe's loss in fp32.

        Args:
            images: (B, 3, S, S) uint8.
            masks: class indices (B, S, S).
            distances: as of `loss`.
        """
        if self._own_loss is None or not self._trains_with_own_loss:
            return None
        with self._autocast():
            return self._own_loss.training_loss(
                to_unit(images), masks, partial(self._loss_in_fp32, distances=distances)
            )

    def exact_loss(self, images: Tensor, masks: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Return the training loss in fp32 at the resolution of the images, whatever `loss_at` is.

        It is the module's own loss if it has one. Operations are counted on this function, because
        it runs on the meta device, which has no autocast.

        Args:
            images: (B, 3, S, S) float in [0, 1].
            masks: class indices (B, S, S).
            prompts: one entry per image, for a model that takes prompts.
        """
        if self._own_loss is not None:
            return self._own_loss.training_loss(images, masks, self.loss)
        others = () if prompts is None else (prompts,)
        return self.loss(self.module(images, *others), masks)

    @property
    def _trains_with_own_loss(self) -> bool:
        return self._own_loss is not None and self.recipe.loss_at == "image"

    def _autocast(self) -> torch.autocast:
        enabled = self.recipe.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _loss_in_fp32(
        self, logits: Tensor, masks: Tensor, distances: Tensor | None = None
    ) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            return self.loss(logits.float(), masks, distances)


def check_finite(logits: Tensor) -> None:
    """Check the logits of an evaluation, of a trained model or an untrained one.

    Raises:
        DivergedError: one is infinite or not a number: its class and all scores would be wrong.
    """
    count = int((~logits.isfinite()).sum())
    if count:
        raise DivergedError(
            f"{count} of {logits.numel()} logits of the evaluation are not finite (NaN or"
            " infinity): try --precision fp32, a lower learning rate, or other weights"
        )


def to_unit(images: Tensor) -> Tensor:
    """Return uint8 images as float in [0, 1]."""
    return images.float() / 255


def _shrink(masks: Tensor, side: int) -> Tensor:
    """Return masks (B, S, S) as (B, side, side), by nearest neighbour."""
    if masks.shape[-1] == side:
        return masks
    return F.interpolate(masks[:, None], (side, side), mode="nearest-exact")[:, 0]
