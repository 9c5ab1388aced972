"""Objects that one model proposes and another one, which takes prompts, segments.

The proposer has learned distances (`bench.objects`): it finds the objects and their classes. Each
object becomes a box or a click for the prompted model. No ground truth is used, so these prompts
are automatic, like those of SAM's mask generator, whose work the proposer does.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from bench.data.decode import decode
from bench.data.fit import fitted_size, resize_image
from bench.data.items import IGNORE, Collection, Item
from bench.errors import UnsupportedError
from bench.evaluate.mask_generator import Mask, paint_some
from bench.evaluate.scoring import Map, Prediction
from bench.evaluate.whole import decide, full_logits, resize_logits
from bench.learn.model import Model
from bench.sam.prompts import Prompts
from bench.sam.segmenter import PromptedDecoder, SamSegmenter

Numbers = npt.NDArray[np.int32]
MARGIN = 0.05  # of the width and height of an object, which its box is enlarged by on each side


def predict_proposals(
    model: Model, items: Sequence[Item], collection: Collection, proposer: Model | None
) -> Iterator[Prediction]:
    """Predict the objects of every item: found by the proposer, segmented by the model.

    Args:
        model: takes boxes or single clicks of objects.
        items: usually the test part.
        collection: the collection of the items.
        proposer: has learned distances, for the same classes.

    Returns:
        One prediction per item, made when it is taken from the iterator: objects, and the class map
        and foreground that follow from them. Unlabelled pixels are in no object.

    Raises:
        UnsupportedError: the model does not take boxes or single clicks of objects.
        ValueError: there is no proposer, or it has not learned distances.
    """
    check_prompted(model)
    if proposer is None or not proposer.object_rule.channels:
        raise ValueError("proposals need a model that has learned distances")
    return _predict(model, items, collection, proposer)


def _predict(
    model: Model, items: Sequence[Item], collection: Collection, proposer: Model
) -> Iterator[Prediction]:
    for item in items:
        image, truth = decode(item, collection)
        objects, classes = find_objects(model, proposer, image)
        objects[truth == IGNORE] = 0
        classes = np.where(objects > 0, classes, 0).astype(np.uint8)
        yield Prediction(item, truth, classes, (objects > 0).astype(np.float32), objects)


def find_objects(model: Model, proposer: Model, image: Map) -> tuple[Numbers, Map]:
    """Find the objects of one image.

    The masks of the model (logits above 0, SAM's threshold) are taken in falling order of the IoU
    that SAM predicts for them, and a pixel belongs to the first mask that has it. A mask that keeps
    less than half of its pixels is dropped, as in `paint`.

    Args:
        model: takes prompts.
        proposer: has learned distances.
        image: (H, W, 3) uint8.

    Returns:
        Numbers of the objects (H, W) from 1 on, 0 is none, and class indices (H, W).

    Raises:
        DivergedError: an output of a model is not finite.
    """
    prompts = propose(proposer, image)
    if not len(prompts.classes[0]):
        return np.zeros(image.shape[:2], np.int32), np.zeros(image.shape[:2], np.uint8)
    side, fit = model.task.image_size, model.task.fit
    pixels = torch.from_numpy(resize_image(image, side, fit)).permute(2, 0, 1)[None]
    scaled = at_side(prompts, image.shape, side, fit).to(model.device)
    masks, scores = model.scored_masks(pixels.contiguous().to(model.device), scaled)
    order = scores.argsort(descending=True, stable=True).tolist()
    full = (_full_mask(masks[index], model, image.shape[:2]) for index in order)
    numbers, kept = paint_some(full, image.shape[:2])
    classes = prompts.classes[0].numpy()[[order[index] for index in kept]]
    return numbers, np.concatenate([[0], classes]).astype(np.uint8)[numbers]


def propose(proposer: Model, image: Map) -> Prompts:
    """Prompts for the objects that a model finds in one image, without the ground truth.

    The box is that of the object, larger by `MARGIN` on each side but not beyond the image. The
    click is the centre of the pixel in which the distance to the border minus that to the centre
    is largest, which is the seed that the object was flooded from.

    Args:
        proposer: has learned distances.
        image: (H, W, 3) uint8.

    Returns:
        A batch of one image, in pixels of the image and on the CPU, with one click per object; in
        the order of the numbers of the objects.
    """
    (logits,) = full_logits(proposer, [image])
    outputs, shares = proposer.split(logits)
    assert shares is not None, "the proposer has learned distances"
    classes, _ = decide(outputs)
    distances = shares.cpu().numpy()
    numbers = proposer.object_rule.separate(classes, distances)
    assert numbers is not None, "rules with maps separate objects"
    centre = 0 if proposer.object_rule.rays else distances[1]
    return prompts_of(numbers, classes, distances[0] - centre)


def prompts_of(numbers: Numbers, classes: Map, heights: npt.NDArray[np.float32]) -> Prompts:
    """One box and one click for each object, as of `propose`.

    Args:
        numbers: (H, W) of the objects from 1 on, 0 is none; numbers may be missing.
        classes: (H, W) class indices; an object has one class.
        heights: (H, W), largest at the place of the click.
    """
    boxes, clicks, kinds = [], [], []
    for number, window in enumerate(ndimage.find_objects(numbers), start=1):
        if window is None:
            continue
        rows, columns = window
        inside = np.where(numbers[window] == number, heights[window], -np.inf)
        row, column = np.unravel_index(int(inside.argmax()), inside.shape)
        row, column = row + rows.start, column + columns.start
        down = MARGIN * (rows.stop - rows.start)
        across = MARGIN * (columns.stop - columns.start)
        boxes.append(
            (
                max(columns.start - across, 0),
                max(rows.start - down, 0),
                min(columns.stop + across, numbers.shape[1]),
                min(rows.stop + down, numbers.shape[0]),
            )
        )
        clicks.append(((column + 0.5, row + 0.5),))
        kinds.append(int(classes[row, column]))
    return Prompts(
        (torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),),
        (torch.tensor(clicks, dtype=torch.float32).reshape(-1, 1, 2),),
        (torch.tensor(kinds, dtype=torch.int64),),
    )


def at_side(prompts: Prompts, shape: tuple[int, ...], side: int, fit: str) -> Prompts:
    """Prompts of one image in pixels of the model's input.

    Args:
        prompts: in pixels of the image.
        shape: of the image, height first.
        side: of the input.
        fit: how the image becomes a square, in `bench.data.fit.FITS`.
    """
    height, width = fitted_size(shape, side, fit)
    scale = torch.tensor([width / shape[1], height / shape[0]])
    boxes = prompts.boxes[0] * scale.repeat(2)
    return Prompts((boxes,), (prompts.clicks[0] * scale,), prompts.classes)


def _full_mask(logits: Tensor, model: Model, size: tuple[int, ...]) -> Mask:
    """The mask (H, W) of logits (4s, 4s), by way of the model's side, as class maps are made."""
    side = model.task.image_size
    height, width = fitted_size(size, side, model.task.fit)
    whole = resize_logits(logits[None, None], (side, side))[..., :height, :width]
    return (resize_logits(whole, size)[0, 0] > 0).cpu().numpy()


def check_prompted(model: Model) -> None:
    """Check that a model can segment proposed objects.

    Raises:
        UnsupportedError: it does not take boxes or single clicks of objects.
    """
    rule, module = model.prompt_rule, model.module
    if rule is None or not isinstance(module, SamSegmenter):
        raise UnsupportedError(
            "--evaluation proposals prompts a model with the objects that another one finds, and"
            " this one takes no prompts: give a method such as sam_lora, or --evaluation whole"
        )
    assert isinstance(module.head, PromptedDecoder), "a model with a prompt rule decodes prompts"
    if model.task.depth > 1:
        raise UnsupportedError("stacks of slices are evaluated on whole images only")
    if rule.kind == "image":
        raise UnsupportedError("prompt=image takes no proposals: give prompt=box or prompt=point")
    if rule.unit == "class":
        raise UnsupportedError(
            "unit=class learns one box around all objects of a class, and proposals are single"
            " objects: give unit=object"
        )
    if rule.kind == "point" and rule.clicks > 1:
        raise UnsupportedError(
            f"a proposal has one click, and this model learns from {rule.clicks}: give clicks=1"
        )
