"""Samples from an image file and its mask file, plane by plane.

Of several channels, three become red, green and blue. Values wider than 8 bits of a stack or of
chosen channels become 0 to 255 by percentiles 0.1 and 99.9 of each channel of the whole file, so
that the slices of a scan stay comparable.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.decode import STRETCH, scale
from bench.data.items import Pixels
from bench.data.layouts.draft import Options, Report, Sample
from bench.data.layouts.pictures import Stack
from bench.data.masks import mask_codes, read_instances
from bench.data.raster import Raster, UInt8
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


def image_planes(stack: Stack, name: str, options: Options, report: Report) -> list[Pixels]:
    """The images of a file: its path, or arrays (H, W) or (H, W, 3).

    Args:
        stack: content of the file.
        name: path in the source, for messages.
        options: channels and levels.
        report: gets a note on how values and channels were changed.

    Raises:
        UserError: a channel is named that the file does not have.
    """
    if stack.file and not options.channels and not options.levels:
        return [stack.file]
    planes = stack.planes if stack.palette is None else stack.palette[stack.planes]
    shown = _shown(planes, name, options, report)
    return [_invert(plane) for plane in shown] if stack.inverted else list(shown)


def _invert(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return -plane if plane.dtype.kind == "f" else np.invert(plane)


def _shown(
    planes: npt.NDArray[Any], name: str, options: Options, report: Report
) -> npt.NDArray[Any]:
    """The chosen channels; of a stack, or with fixed levels, as 8 bits."""
    if planes.ndim == 4:
        planes = _choose(planes, name, options, report)
    elif options.channels and options.channels != (0,):
        raise UserError(
            f"--channels {','.join(map(str, options.channels))}: '{name}' has one channel; leave "
            "the option out"
        )
    if planes.dtype == np.uint8 and not options.levels:
        return planes
    if planes.dtype == bool:
        return planes.astype(np.uint8) * np.uint8(255)
    if not options.levels and len(planes) == 1 and planes.ndim == 3:
        return planes  # stored as it is: the reader stretches single images
    if not np.isfinite(planes).all():
        raise UserError(f"'{name}' holds NaN or infinite values; replace them")
    return _to_uint8(planes, options, report)


def mask_planes(stack: Stack, name: str) -> list[Pixels]:
    """The masks of a file: its path, or arrays (H, W) as stored.

    Raises:
        UserError: the file has several channels that are not colours.
    """
    if stack.file:
        return [stack.file]
    planes = stack.planes
    if planes.ndim == 3 and (stack.inverted or stack.palette is not None):
        flat = Raster(planes.reshape(-1, planes.shape[2]), stack.palette, stack.inverted)
        planes = mask_codes(flat, flat.values).reshape(planes.shape)
    if planes.ndim == 4:
        if planes.shape[-1] == 1:
            planes = planes[..., 0]
        elif planes.shape[-1] not in (3, 4) or planes.dtype != np.uint8:
            raise UserError(
                f"mask '{name}' has {planes.shape[-1]} channels; save one value for each pixel"
            )
    return list(planes)


def _choose(
    planes: npt.NDArray[Any], name: str, options: Options, report: Report
) -> npt.NDArray[Any]:
    """Channels (N, H, W) or (N, H, W, 3) as the options say, else the first three."""
    count = planes.shape[-1]
    chosen = options.channels or tuple(range(min(count, 3)))
    if outside := [channel for channel in chosen if channel >= count]:
        raise UserError(
            f"--channels names channel {outside[0]}, but '{name}' has {count} (0 to {count - 1}); "
            "choose among these"
        )
    if count > 3 or options.channels:
        shown = ", ".join(map(str, chosen))
        report.note(f"channels {shown} of {count} are used (others: --channels 0,2,1)")
    if len(chosen) == 1:
        return planes[..., chosen[0]]
    if len(chosen) == 2:
        report.note("two channels became red and green; blue is zero")
        third = np.zeros_like(planes[..., 0])
        return np.stack([planes[..., chosen[0]], planes[..., chosen[1]], third], -1)
    return planes[..., list(chosen)]


def _to_uint8(planes: npt.NDArray[Any], options: Options, report: Report) -> UInt8:
    """Grey levels by the options, else by percentiles of each channel of all planes."""
    channels = planes[..., None] if planes.ndim == 3 else planes
    shown = np.empty(channels.shape, np.uint8)
    for channel in range(channels.shape[-1]):
        values = channels[..., channel]
        low, high = options.levels or np.percentile(values, STRETCH)
        if high <= low:
            low, high = float(values.min()), float(values.max())
        for plane, target in zip(values, shown, strict=True):
            target[..., channel] = scale(plane, (float(low), float(high)))
    if options.levels:
        report.note(f"values {options.levels[0]:g} to {options.levels[1]:g} became 0 to 255")
    else:
        report.note(
            "values wider than 8 bits became 0 to 255 by percentiles 0.1 and 99.9 of each channel "
            "of a file (fixed values: --levels LOW,HIGH)"
        )
    return shown[..., 0] if planes.ndim == 3 else shown
