"""Predictions from whole images, resized to the side of the model."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.decode import decode, instance_numbers
from bench.data.fit import fitted_size, resize_image, resize_mask
from bench.data.items import Collection, Item
from bench.data.stacks import stacks
from bench.evaluate.scoring import Map, Prediction
from bench.learn.images import LabelledImages
from bench.learn.model import Model
from bench.metrics.overlap import confusion_matrix, dice_per_class, mean_defined
from bench.sam.prompts import Prompts, nearest


def predict_whole(
    model: Model, items: Sequence[Item], collection: Collection
) -> Iterator[Prediction]:
    """Predict every item at the size of its mask.

    The whole image is resized to the model's side, or padded as the task says, and its logits back,
    bilinearly; then the class with the largest logit wins. A model that takes prompts gets them
    from the ground truth, by its rule. With a task of depth D, a model gets D consecutive slices of
    a volume at once; where the last stack of a volume overlaps the one before, each slice is
    predicted in its first stack.

    Args:
        model: as it is when the items are taken; its module is put into evaluation mode.
        items: usually the test part; names differ.
        collection: the collection of the items.

    Yields:
        One prediction per item.

    Raises:
        DivergedError: a logit is not finite.
        UserError: a file cannot be read, or with a depth above 1 an image is not a slice or a
            volume has fewer slices. Like DivergedError, it is raised when predictions are taken.
    """
    names: set[str] = set()
    for stack in stacks(items, model.task.depth):
        for prediction in _predict_stack(model, stack, collection):
            if prediction.item.name not in names:
                names.add(prediction.item.name)
                yield prediction


def predict_logits(model: Model, images: LabelledImages, batch: int = 8) -> Iterator[Tensor]:
    """Outputs (K or K + 2, S, S) of each image, in order; puts the module into evaluation mode.

    Args:
        model: on the device of the images.
        images: with prompts, where the model takes them.
        batch: images at once, rounded down to whole stacks, but at least one stack.

    Raises:
        DivergedError: a logit is not finite.
    """
    batch = images.depth * max(1, batch // images.depth)
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        yield from model.predict(images.images[rows], images.joined_prompts(rows))


def validation_dice(model: Model, images: LabelledImages) -> float | None:
    """Mean Dice of the foreground classes, pixels of all images together, at the model's side.

    Classes that are in neither truth nor prediction are left out.

    Args:
        model: on the device of the images; its module is put into evaluation mode.
        images: with prompts, where the model takes them.

    Returns:
        A value in [0, 1]; None if no image has a foreground class in truth or prediction.
        Unlabelled pixels do not count.

    Raises:
        DivergedError: a logit is not finite.
    """
    count = model.task.num_classes
    confusion = np.zeros((count, count), np.int64)
    for logits, mask in zip(predict_logits(model, images), images.masks, strict=True):
        classes, _ = model.split(logits)
        confusion += confusion_matrix(_class_map(classes), mask.cpu().numpy(), count)
    return mean_defined(dice_per_class(confusion)[1:])


def decide(logits: Tensor) -> tuple[Map, npt.NDArray[np.float32]]:
    """Turn logits into a class map and the probability of the foreground.

    Args:
        logits: (K, H, W) float.

    Returns:
        Class indices (H, W) uint8, and the probability (H, W) float32 of not being class 0.
    """
    foreground = 1 - logits.float().softmax(0)[0]
    return _class_map(logits), foreground.cpu().numpy()


def _predict_stack(
    model: Model, stack: tuple[Item, ...], collection: Collection
) -> Iterator[Prediction]:
    pairs = [decode(item, collection) for item in stack]
    prompts = None
    if model.prompt_rule is not None:
        masks = [mask for _, mask in pairs]
        prompts = _oracle_prompts(stack, masks, model).to(model.device)
    logits = full_logits(model, [image for image, _ in pairs], prompts)
    for item, (_, mask) in zip(stack, pairs, strict=True):
        outputs, shares = model.split(next(logits))
        classes, foreground = decide(outputs)
        distances = None if shares is None else shares.cpu().numpy()
        objects = model.object_rule.separate(classes, distances)
        del outputs, shares, distances  # at the size of the image they need more than its scores
        yield Prediction(item, mask, classes, foreground, objects)


def full_logits(
    model: Model, images: Sequence[Map], prompts: Prompts | None = None
) -> Iterator[Tensor]:
    """Outputs (K or K + 2, H, W) of each image of one batch, at its own size.

    Args:
        model: its module is put into evaluation mode.
        images: (H, W, 3) uint8 each; resized to the side of the model, and the logits back.
        prompts: one entry per image in pixels of the model's input, on the device of the model;
            None for a model that takes none.

    Yields:
        Logits fp32, on the device of the model.

    Raises:
        DivergedError: a logit is not finite.
    """
    side, fit = model.task.image_size, model.task.fit
    resized = np.stack([resize_image(image, side, fit) for image in images])
    batch = torch.from_numpy(resized).permute(0, 3, 1, 2).contiguous()
    logits = model.predict(batch.to(model.device), prompts)
    for image, small in zip(images, logits, strict=True):
        height, width = fitted_size(image.shape, side, fit)
        unpadded = small[None, :, :height, :width]
        scale = (image.shape[0] / height, image.shape[1] / width)
        yield model.in_pixels(resize_logits(unpadded, image.shape[:2])[0], scale)


def resize_logits(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize logits bilinearly.

    Args:
        logits: (B, K, h, w).
        size: H and W.

    Returns:
        (B, K, H, W).
    """
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _oracle_prompts(stack: tuple[Item, ...], masks: Sequence[Map], model: Model) -> Prompts:
    """Prompts of each item from its ground truth, in pixels of the model's input."""
    rule, size, fit = model.prompt_rule, model.task.image_size, model.task.fit
    assert rule is not None, "the model takes prompts"
    prompts = []
    for item, mask in zip(stack, masks, strict=True):
        instances = nearest(instance_numbers(item, mask.shape), size, fit)
        prompts.append(rule.for_evaluation(resize_mask(mask, size, fit), instances))
    return Prompts.join(prompts)


def _class_map(logits: Tensor) -> Map:
    labels: Map = logits.argmax(0).to(torch.uint8).cpu().numpy()
    return labels
