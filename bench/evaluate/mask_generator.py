"""SAM's automatic mask generator, before and after adaptation, as a segmenter of objects.

A grid of clicks asks for masks all over the image; those that SAM finds poor or unstable, and
duplicates, are dropped (Kirillov et al., 2023, section 5 and appendix B, arXiv 2304.02643). The
generator is `segment_anything`'s own; here its masks become one map of objects, which is scored.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from segment_anything.utils.amg import MaskData, rle_to_mask
from torch import Tensor, nn

from bench.data.components import label_components
from bench.data.decode import decode
from bench.data.items import IGNORE, Collection, Item
from bench.errors import UnsupportedError, UserError
from bench.evaluate.scoring import Prediction
from bench.sam.build import load_sam
from bench.sam.segmenter import PromptedDecoder, SamSegmenter
from bench.spec import Task

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class GeneratorSettings:
    """How masks are asked for and chosen; the defaults are those of a report on particle images.

    The other settings are SAM's own: duplicates have boxes with an IoU above 0.7, crops overlap by
    512 / 1500 of the image, stability is the IoU of the masks at logits of -1 and 1.

    Attributes:
        points_per_side: clicks along either side of the image; 100 for 10,000 in all.
        pred_iou: masks that SAM itself gives a lower IoU are dropped.
        stability: masks of a lower stability are dropped.
        crop_layers: layer i looks again at 2^i x 2^i overlapping crops.
        crop_points_factor: layer i has this to the power of i times fewer clicks along a side.
        min_area_px: of the original image; holes below it are filled, regions and objects below it
            are dropped.
        points_per_batch: clicks decoded at once; three fp32 maps of the image's size each.
    """

    points_per_side: int = 100
    pred_iou: float = 0.90
    stability: float = 0.92
    crop_layers: int = 1
    crop_points_factor: int = 2
    min_area_px: int = 100
    points_per_batch: int = 64

    def __post_init__(self) -> None:
        """Refuse what cannot be asked for."""
        for name in ("points_per_side", "points_per_batch", "crop_points_factor"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)} is too small: give 1 or more")
        for name in ("pred_iou", "stability"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)} is out of range: give 0 to 1")
        for name in ("crop_layers", "min_area_px"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} {getattr(self, name)} is negative: give 0 or more")


# sam_nano never gives its own masks more than 0.9, so the report's settings leave it none; these
# were set by the look of three images, and make a 35th of the clicks.
NANO = GeneratorSettings(24, pred_iou=0.6, stability=0.8, crop_layers=0, min_area_px=16)
SETTINGS = {"sam_nano": NANO}  # of backbones for which those of the report do not do


def adapted_sam(model: nn.Module, task: Task) -> Sam:
    """SAM with what a method has trained, for the mask generator; it shares the model's tensors.

    The encoder is the trained model's own, with whatever its method put into it and the pixels it
    is used to. A head that is SAM's promptable decoder comes along, trained as it is. Where a
    method put a class head in the decoder's place, clicks mean nothing to that head: prompt
    encoder and mask decoder are then those of the task's foundation model, which the encoder was
    not trained with, and may have moved away from.

    Args:
        model: as the method built it, trained or with a checkpoint loaded (`load_trained`); a
            merged copy no longer tells what was trained.
        task: what it was built for.

    Raises:
        UnsupportedError: the model has no encoder of SAM's, or trains a class head alone.
        UserError: the foundation model's weights are not at hand.
    """
    if not isinstance(model, SamSegmenter):
        raise UnsupportedError(
            "the mask generator needs SAM's image encoder, which this model has not"
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
    """Every object that the mask generator finds.

    Args:
        sam: a foundation model, or one of `adapted_sam`; put into evaluation mode.
        image: (H, W, 3) uint8 RGB. Its longer side is resized to the model's, the rest padded, as
            in SAM; crops likewise.
        settings: how masks are asked for and chosen.

    Returns:
        (H, W) numbers 1..n, 0 where there is no object; see `paint` for overlaps.
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
    """One map of objects from masks that may overlap: the earlier mask keeps what both claim.

    Before that each mask is tidied as in SAM: holes of fewer than `min_area_px` pixels are filled,
    then regions of fewer are dropped (8-neighbourhood). Other than in SAM a mask of small regions
    alone is dropped whole. So is one of which earlier ones left fewer pixels, or less than half:
    what is left of a second mask of the same object is a rim, and no object.

    Args:
        masks: (H, W) each, in falling order of trust.
        shape: (H, W).
        min_area_px: 0 or 1 keeps everything.

    Returns:
        (H, W) numbers 1..n in the order of the masks, 0 where there is no object.
    """
    numbers = np.zeros(shape, np.int32)
    count = 0
    for mask in masks:
        tidied = _tidied(mask, min_area_px)
        free = tidied & (numbers == 0)
        if free.sum() >= max(min_area_px, tidied.sum() / 2, 1):
            count += 1
            numbers[free] = count
    return numbers


def predict_objects(
    model: nn.Module,
    items: Sequence[Item],
    collection: Collection,
    task: Task,
    device: torch.device,
) -> Iterator[Prediction]:
    """Predict every item by the mask generator, with the settings that fit the backbone.

    What cannot be done is refused at once; the model may be trained before the first prediction.

    Args:
        model: as for `adapted_sam`.
        items: the test part.
        collection: what the items belong to.
        task: what the model was built for.
        device: where to run.

    Raises:
        UnsupportedError: the model cannot be asked for masks, or the collection is not one of one
            class whose objects are labelled one by one.
    """
    if collection.num_classes != 2 or any(item.instances is None for item in items):
        raise UnsupportedError(
            "the mask generator finds objects without a class: give a collection of one class whose"
            " objects are labelled one by one"
        )
    sam = adapted_sam(model, task).to(device)
    return find_objects(sam, items, collection, SETTINGS.get(task.backbone, GeneratorSettings()))


def find_objects(
    sam: Sam, items: Sequence[Item], collection: Collection, settings: GeneratorSettings
) -> Iterator[Prediction]:
    """Predict every item; what it does not label is neither object nor foreground."""
    for item in items:
        image, truth = decode(item, collection)
        objects = np.where(truth == IGNORE, 0, generate_instances(sam, image, settings))
        found = objects > 0
        yield Prediction(item, truth, found.astype(np.uint8), found.astype(np.float32), objects)


def _tidied(mask: Mask, min_area_px: int) -> Mask:
    for inside in (False, True):
        parts = label_components(mask == inside, diagonal=True)
        small = np.bincount(parts.ravel()) < min_area_px
        small[0] = False  # all that lies outside these parts
        mask = mask ^ small[parts]
    return mask


class _Generator(SamAutomaticMaskGenerator):  # type: ignore[misc]  # segment_anything has no types
    def _process_crop(self, *crop: Any) -> MaskData:
        data = super()._process_crop(*crop)
        # A crop without masks gives (0,), and if all do, the generator fails at their areas.
        data["crop_boxes"] = data["crop_boxes"].reshape(-1, 4)
        return data


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
