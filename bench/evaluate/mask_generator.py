"""Predictions of objects by SAM's automatic mask generator, before and after adaptation.

A grid of clicks gives masks all over the image; masks of low predicted quality or stability, and
duplicates, are dropped (Kirillov et al., 2023, section 5 and appendix B, arXiv 2304.02643). The
generator is that of `segment_anything`; here its masks become one map of objects, to be scored.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.amg import MaskData, rle_to_mask
from torch import Tensor, nn

from bench.data.components import label_components
from bench.data.decode import decode
from bench.data.items import IGNORE, Collection, Item
from bench.data.parallel import tell
from bench.errors import UnsupportedError, UserError
from bench.evaluate.scoring import Prediction
from bench.learn.model import Model, check_finite
from bench.sam.build import load_sam
from bench.sam.segmenter import PromptedDecoder, SamSegmenter
from bench.spec import Task

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class GeneratorSettings:
    """Settings of the mask generator; the defaults are those of a report on particle images.

    The other settings are SAM's own: duplicates have boxes with an IoU above 0.7, crops overlap by
    512 / 1500 of the image, stability is the IoU of the masks at logits of -1 and 1.

    Attributes:
        points_per_side: clicks along either side of the whole image; 100 for 10,000. The clicks in
            crops come on top.
        pred_iou: masks whose IoU, as SAM predicts it, is not higher are dropped; 0 drops none.
        stability: masks of a lower stability, the IoU that is described above, are dropped.
        crop_layers: number of layers beyond the whole image; layer i, from 1, repeats the search in
            2^i x 2^i overlapping crops.
        crop_points_factor: clicks along a side of a crop are divided by factor^i in layer i.
        min_area_px: of the original image; holes below it are filled, regions and objects below it
            are dropped.
        points_per_batch: clicks decoded at once; three fp32 maps of the image's size each.

    Raises:
        UserError: a value is out of range, or a crop of the last layer gets no click.
    """

    points_per_side: int = 100
    pred_iou: float = 0.90
    stability: float = 0.92
    crop_layers: int = 1
    crop_points_factor: int = 2
    min_area_px: int = 100
    points_per_batch: int = 64

    def __post_init__(self) -> None:
        """Check the ranges; UserError for the first value outside."""
        for name in ("points_per_side", "points_per_batch", "crop_points_factor"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)} is too small: give 1 or more")
        for name in ("pred_iou", "stability"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)} is out of range: give 0 to 1")
        for name in ("crop_layers", "min_area_px"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} {getattr(self, name)} is negative: give 0 or more")
        least = self.crop_points_factor**self.crop_layers
        if self.points_per_side < least:
            raise UserError(
                f"points_per_side {self.points_per_side} leaves no click in a crop of the last"
                f" layer: give crop_points_factor**crop_layers = {least} or more"
            )


# sam_nano never predicts an IoU above 0.9 for its masks, so the report's settings would drop all of
# them; these were chosen by eye on three images, and make a 35th of the clicks.
NANO = GeneratorSettings(24, pred_iou=0.6, stability=0.8, crop_layers=0, min_area_px=16)
SETTINGS = {"sam_nano": NANO}  # of backbones for which those of the report do not work


def adapted_sam(model: nn.Module, task: Task) -> Sam:
    """Put SAM together from a trained model, for the mask generator; it shares the model's tensors.

    The encoder is that of the trained model, with the modules of its method and its normalisation
    of pixels. SAM's promptable decoder is used too, if it is the head. A class head has no clicks:
    prompt encoder and mask decoder are then those of the task's foundation model. The encoder was
    not trained together with them, so its embeddings may no longer fit them.

    Args:
        model: as the method built it, trained or with a kept model loaded. A merged copy does not
            mark its trainable parameters: with a class head it can be refused.
        task: what it was built for.

    Raises:
        UnsupportedError: the model has no SAM encoder, or trains a class head only.
        UserError: as `load_sam`, for a model with a class head.
    """
    if not isinstance(model, SamSegmenter):
        raise UnsupportedError(
            "the mask generator needs SAM's image encoder, and this model has none"
        )
    prompts = model.head if isinstance(model.head, PromptedDecoder) else None
    encoder = [p for stage in model.stages() for p in stage.parameters]
    if prompts is None and not any(parameter.requires_grad for parameter in encoder):
        raise UnsupportedError(
            "this model trains a class head alone, which takes no clicks: the mask generator would"
            " be that of SAM before adaptation"
        )
    source = load_sam(task) if prompts is None else prompts
    sam = _AdaptedSam(_AdaptedEncoder(model), source.prompt_encoder, source.mask_decoder)
    return sam.to(model.pixel_mean.device)


def generate_instances(
    sam: Sam, image: npt.NDArray[np.uint8], settings: GeneratorSettings
) -> npt.NDArray[np.int32]:
    """Find objects in one image with the mask generator.

    Args:
        sam: a foundation model, or one of `adapted_sam`; it is put into evaluation mode, as is the
            model that it was made from.
        image: (H, W, 3) uint8 RGB. Its longer side is resized to the model's, the rest padded, as
            in SAM; crops likewise.
        settings: of the mask generator.

    Returns:
        (H, W) numbers 1..n, 0 where there is no object; see `paint` for overlaps.

    Raises:
        DivergedError: a logit or a predicted IoU is not finite.
    """
    generator = _Generator(
        sam.eval(),
        points_per_side=settings.points_per_side,
        points_per_batch=settings.points_per_batch,
        pred_iou_thresh=settings.pred_iou,
        stability_score_thresh=settings.stability,
        crop_n_layers=settings.crop_layers,
        crop_n_points_downscale_factor=settings.crop_points_factor,
        output_mode="uncompressed_rle",  # masks of the image's size only one at a time
    )
    with torch.device(sam.device):  # the generator makes some tensors without naming a device
        found = generator.generate(np.ascontiguousarray(image))
    found.sort(key=lambda mask: -mask["predicted_iou"])
    masks = (rle_to_mask(mask["segmentation"]) for mask in found)
    return paint(masks, image.shape[:2], settings.min_area_px)


def paint(
    masks: Iterable[Mask], shape: tuple[int, ...], min_area_px: int = 0
) -> npt.NDArray[np.int32]:
    """One map of objects from masks that may overlap: a shared pixel goes to the earlier mask.

    First each mask is cleaned as in SAM: holes of fewer than `min_area_px` pixels are filled, then
    regions of fewer pixels are dropped (8-neighbourhood). Unlike in SAM, a mask that has only small
    regions is dropped. A mask is also dropped if earlier masks leave it fewer than `min_area_px`
    pixels or less than half of its area: the rest of a second mask of one object is only a rim.

    Args:
        masks: (H, W) each, in falling order of predicted quality.
        shape: (H, W).
        min_area_px: with 0 or 1 no hole is filled, and no region dropped for its size.

    Returns:
        (H, W) numbers 1..n in the order of the masks, 0 where there is no object.
    """
    return paint_some(masks, shape, min_area_px)[0]


def paint_some(
    masks: Iterable[Mask], shape: tuple[int, ...], min_area_px: int = 0
) -> tuple[npt.NDArray[np.int32], list[int]]:
    """As `paint`, and the index of the mask of each object, from 0, in the order of the numbers."""
    numbers = np.zeros(shape, np.int32)
    kept: list[int] = []
    for index, mask in enumerate(masks):
        cleaned = _clean(mask, min_area_px) if min_area_px > 1 else mask
        free = cleaned & (numbers == 0)
        if free.sum() >= max(min_area_px, cleaned.sum() / 2, 1):
            kept.append(index)
            numbers[free] = len(kept)
    return numbers, kept


def predict_objects(
    model: Model, items: Sequence[Item], collection: Collection
) -> Iterator[Prediction]:
    """Predict every item by the mask generator, with the settings of the backbone.

    SAM is put together at once. It shares the model's tensors, so the model may be trained before
    the first prediction is taken. Each prediction puts the module into evaluation mode.

    Args:
        model: its module as for `adapted_sam`.
        items: usually the test part.
        collection: the collection of the items.

    Returns:
        One prediction per item, made when it is taken from the iterator, with the errors of
        `generate_predictions`.

    Raises:
        UnsupportedError: the model has no SAM encoder or trains a class head only, the collection
            does not have one foreground class, or an item has no labelled instances.
        UserError: as `adapted_sam`.
    """
    if collection.num_classes != 2 or any(item.instances is None for item in items):
        raise UnsupportedError(
            "the mask generator finds objects without a class: give a collection of one class whose"
            " objects are labelled one by one"
        )
    sam = adapted_sam(model.module, model.task).to(model.device)
    settings = SETTINGS.get(model.task.backbone, GeneratorSettings())
    return generate_predictions(sam, items, collection, settings)


def generate_predictions(
    sam: Sam, items: Sequence[Item], collection: Collection, settings: GeneratorSettings
) -> Iterator[Prediction]:
    """Predict every item; unlabelled pixels become neither object nor foreground.

    Args:
        sam: a foundation model, or one of `adapted_sam`.
        items: the images.
        collection: the collection of the items, with one foreground class.
        settings: of the mask generator.

    Yields:
        One prediction per item: objects, and classes and foreground 1 inside any object.

    Raises:
        DivergedError: a logit or a predicted IoU is not finite.
        UserError: a file cannot be read, or image and mask do not fit.
    """
    for item in items:
        image, truth = decode(item, collection)
        objects = np.where(truth == IGNORE, 0, generate_instances(sam, image, settings))
        inside = objects > 0
        yield Prediction(item, truth, inside.astype(np.uint8), inside.astype(np.float32), objects)


def _clean(mask: Mask, min_area_px: int) -> Mask:
    for inside in (False, True):
        parts = label_components(mask == inside, diagonal=True)
        small = np.bincount(parts.ravel()) < min_area_px
        small[0] = False  # the pixels outside these parts
        mask = mask ^ small[parts]
    return mask


class _Generator(SamAutomaticMaskGenerator):  # type: ignore[misc]  # segment_anything has no types
    def __init__(self, model: Sam, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.predictor = _Predictor(model)

    def _process_crop(self, *crop: Any) -> MaskData:
        data = super()._process_crop(*crop)
        # A crop without masks gives (0,), and if all do, the generator fails at their areas.
        data["crop_boxes"] = data["crop_boxes"].reshape(-1, 4)
        return data


class _Predictor(SamPredictor):  # type: ignore[misc]
    def predict_torch(self, *clicks: Any, **how: Any) -> Any:
        masks, quality, small = super().predict_torch(*clicks, **how)
        check_finite(masks)  # the generator drops masks of NaN without a word
        check_finite(quality)
        tell("predicting objects of clicks", len(masks))
        return masks, quality, small


class _AdaptedEncoder(nn.Module):
    """The encoder of a trained model: images (B, 3, S, S) in [0, 1] to (B, C, s, s)."""

    def __init__(self, model: SamSegmenter) -> None:
        super().__init__()
        self.model = model
        self.img_size = model.image_encoder.img_size

    def forward(self, images: Tensor) -> Tensor:
        for stage in self.model.stages():
            images = stage.run(images)
        return images


class _AdaptedSam(Sam):  # type: ignore[misc]
    def preprocess(self, x: Tensor) -> Tensor:
        """Images (3, h, w) or (B, 3, h, w) in 0..255 to squares in [0, 1], as the suite trains.

        The padding is SAM's mean colour, which SAM's normalisation makes zero, as SAM pads.
        """
        side = self.image_encoder.img_size
        padding = (0, side - x.shape[-1], 0, side - x.shape[-2])
        padded: Tensor = F.pad(x - self.pixel_mean, padding) + self.pixel_mean
        return padded / 255
