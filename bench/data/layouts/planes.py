"""Samples from an image file and its mask file, plane by plane."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.data.items import Pixels
from bench.data.layouts.draft import Options, Report, Sample
from bench.data.layouts.pictures import Stack, image_planes, mask_planes
from bench.data.masks import read_instances
from bench.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where an image belongs.

    Attributes:
        name: of the image; planes of a stack get "_s000", "_s001", ... after it.
        origin: path in the source.
        mask: path of its mask in the source.
        group: as in `Sample`; planes of a stack without one have the name as their group.
        part: as in `Sample`.
        loose: whether the planes are single images, and not slices of one specimen.
    """

    name: str
    origin: str
    mask: str
    group: str = ""
    part: str = ""
    loose: bool = False


def samples_of(
    place: Place, image: Stack, mask: Stack, options: Options, report: Report
) -> Iterator[Sample]:
    """One sample for each plane of an image and of its mask.

    Args:
        place: name, group and part.
        image: content of the image file.
        mask: content of the mask file.
        options: channels, levels, and whether masks hold numbers of objects.
        report: gets faults and notes.

    Raises:
        UserError: sizes, numbers of planes or orientations differ, unless left out by the report.
    """
    remedy = "correct the files"
    if image.orientation != mask.orientation:
        reason = f"has the axes {image.orientation} but its mask {mask.orientation or 'none'}"
        return report.fault(place.origin, reason, remedy)
    try:
        images, masks = (
            image_planes(image, place.origin, options, report),
            mask_planes(mask, place.mask),
        )
    except UserError as error:
        if not report.skip:
            raise
        return report.leave_out(place.origin, str(error))
    if len(images) != len(masks):
        reason = f"has {len(images)} planes but its mask '{place.mask}' has {len(masks)}"
        return report.fault(place.origin, reason, remedy)
    single = len(images) == 1
    if not single and not place.loose:
        report.counts["stack of slices"] += 1
    for number, (shown, stored) in enumerate(zip(images, masks, strict=True)):
        name = place.name if single else f"{place.name}_s{number:03d}"
        group = place.group or ("" if single or place.loose else place.name)
        try:
            labels, objects = _objects(stored, report) if options.instances else (stored, None)
        except UserError as error:
            report.fault(place.mask, f"cannot be read: {error}", "correct the file")
            continue
        yield Sample(name, place.origin, shown, labels, objects, group, place.part)


def _objects(stored: Pixels, report: Report) -> tuple[Pixels, Pixels]:
    """Mask of 0 and 1, and the numbers of the objects."""
    numbers = read_instances(stored)
    report.counts["object"] += int(np.unique(numbers[numbers > 0]).size)
    return (numbers > 0).astype(np.uint8), numbers
