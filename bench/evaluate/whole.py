"""Predictions of a trained model, at the resolution of the masks."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.bank import resize_image, resize_mask
from bench.data.decode import decode, instance_numbers
from bench.data.items import Collection, Item
from bench.data.stacks import stacks
from bench.evaluate.scoring import Map, Prediction
from bench.evaluate.tiles import refuse_prompts, tile_bands
from bench.learn.loop import Reused, Views
from bench.metrics import confusion_matrix, dice_per_class
from bench.metrics.overlap import mean_defined
from bench.sam.prompts import PromptRule, Prompts, nearest


def predict(model: nn.Module, views: Views, precision: str, batch: int = 8) -> Iterator[Tensor]:
    """Class logits (K, S, S) of every view, in order."""
    model.eval()
    view = Reused(model, precision, reuse=False)
    batch = views.depth * max(1, batch // views.depth)
    for start in range(0, len(views), batch):
        part = slice(start, start + batch)
        prompts = Prompts.join(list(views.prompts[part])) if views.prompts else None
        with torch.no_grad():
            yield from view.logits(views.images[part], prompts)


def validation_dice(
    model: nn.Module, views: Views, num_classes: int, precision: str
) -> float | None:
    """Mean foreground Dice over all views together, at the model's own resolution."""
    confusion = np.zeros((num_classes, num_classes), np.int64)
    for logits, mask in zip(predict(model, views, precision), views.masks, strict=True):
        confusion += confusion_matrix(_labels(logits), mask.cpu().numpy(), num_classes)
    return mean_defined(dice_per_class(confusion)[1:])


def evaluate(
    model: nn.Module,
    items: Sequence[Item],
    collection: Collection,
    *,
    size: int,
    precision: str,
    device: torch.device,
    tiles: bool = False,
    depth: int = 1,
) -> Iterator[Prediction]:
    """Predict every item, at the mask's own size.

    The whole image is resized to (size, size) and its logits back, bilinearly; then the largest
    wins. A model with a `prompt_rule` is given prompts made from the ground truth by that rule.

    Args:
        model: images to logits; as it is when the items are asked for.
        items: the test part.
        collection: what the items belong to.
        size: side of the model's input in pixels.
        precision: "fp32" or "bf16".
        device: where the model lies.
        tiles: windows of (size, size) at the image's own resolution instead, see
            `bench.evaluate.tiles`.
        depth: consecutive slices of a volume that are given to the model at once. Where the last
            stack of a volume overlaps the one before, each slice is predicted where it comes first.

    Raises:
        UnsupportedError: tiles for a model that takes prompts; at once, not at the first item.
    """
    if tiles:
        refuse_prompts(model)
    view = Reused(model, precision, reuse=False)

    def logits(windows: Tensor, prompts: Prompts | None = None) -> Tensor:
        model.eval()  # not sooner: it may be trained between this call and the first item
        with torch.no_grad():
            return view.logits(windows.to(device), prompts)

    def whole(stack: tuple[Item, ...]) -> Iterator[Prediction]:
        pairs = [decode(item, collection) for item in stack]
        rule: PromptRule | None = getattr(model, "prompt_rule", None)
        seen = zip(stack, pairs, strict=True)
        made = [make_prompts(item, mask, size, rule) for item, (_, mask) in seen] if rule else []
        prompts = Prompts.join(made).to(device) if made else None
        small = np.stack([resize_image(image, size) for image, _ in pairs])
        found = logits(torch.from_numpy(small).permute(0, 3, 1, 2).contiguous(), prompts)
        for item, (_, mask), one in zip(stack, pairs, found, strict=True):
            full = F.interpolate(one[None], mask.shape, mode="bilinear", align_corners=False)
            yield Prediction(item, mask, *_decide(full[0]))

    def by_windows(stack: tuple[Item, ...]) -> Iterator[Prediction]:
        (item,) = stack
        image, mask = decode(item, collection)
        bands = [_decide(band) for _, band in tile_bands(logits, image, size)]
        classes, foreground = (np.concatenate(part) for part in zip(*bands, strict=True))
        yield Prediction(item, mask, classes, foreground)

    predictions = chain.from_iterable(map(by_windows if tiles else whole, stacks(items, depth)))
    return _first_of_each(predictions)


def _first_of_each(predictions: Iterator[Prediction]) -> Iterator[Prediction]:
    seen: set[str] = set()
    for prediction in predictions:
        if prediction.item.name not in seen:
            seen.add(prediction.item.name)
            yield prediction


def _decide(logits: Tensor) -> tuple[Map, npt.NDArray[np.float32]]:
    """Class indices (H, W) of logits (K, H, W), and the probability of not being class 0."""
    foreground = 1 - logits.float().softmax(0)[0]
    return _labels(logits), foreground.cpu().numpy()


def make_prompts(item: Item, mask: Map, size: int, rule: PromptRule) -> Prompts:
    """Oracle prompts of one item at the model's input size."""
    instances = nearest(instance_numbers(item, mask.shape), size)
    return rule.for_evaluation(resize_mask(mask, size), instances)


def _labels(logits: Tensor) -> Map:
    labels: Map = logits.argmax(0).to(torch.uint8).cpu().numpy()
    return labels
