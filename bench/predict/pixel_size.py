"""The side of a pixel, as the file of an image states it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from bench.data import nifti
from bench.data.tiff import open_tiff
from bench.errors import UserError
from bench.predict.tiff_rows import DAMAGED

FROM_FILE = "file"
# Micrometres of the units in OME, ImageJ and the metadata of microscopes.
MICROMETRES = {
    **{"pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25_400.0},
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer"), 1.0),
}
UNEQUAL = 1e-3  # relative difference of height and width from which a pixel is not square


def pixel_size_in_file(path: Path) -> float:
    """Side of a pixel in micrometres.

    Read from NIfTI headers (whose numbers are taken as mm), and in TIFF from OME, from ImageJ and
    from the metadata of Zeiss and FEI/Thermo Fisher electron microscopes. The resolution of other
    TIFF, PNG and JPEG files is for printing and is not used.

    Raises:
        UserError: the file states no size, another unit, or pixels that are not square.
    """
    if path.name.lower().endswith((".nii", ".nii.gz")):
        _, *sides = (side * 1e3 for side in nifti.spacing_mm(path))
    else:
        try:
            sides = _tiff_sides(path)
        except DAMAGED as error:
            raise UserError(f"cannot read {path} ({error}): replace or remove it") from error
    if not sides or not min(sides) > 0:
        raise UserError(f"{path} states no pixel size: give --pixel-size X")
    if max(sides) > min(sides) * (1 + UNEQUAL):
        shape = " x ".join(f"{side:g}" for side in sides)
        raise UserError(f"the pixels of {path} are not square ({shape} µm): give --pixel-size X")
    return sides[0]


def _tiff_sides(path: Path) -> list[float]:
    """Height and width, or one side, in micrometres; empty where the file does not say."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return []
    with open_tiff(path) as file:
        stated = _ome(file.ome_metadata) if file.ome_metadata else list(_others(file))
    for _, unit in stated:
        if unit not in MICROMETRES:
            raise UserError(f"{path} has pixels in the unit '{unit}': give --pixel-size X")
    return [size * MICROMETRES[unit] for size, unit in stated]


def _ome(text: str) -> list[tuple[float, str]]:
    """Sizes and units of the first image with both."""
    for pixels in ElementTree.fromstring(text).iter():
        sizes = [pixels.get(f"PhysicalSize{axis}") for axis in "YX"]
        if None not in sizes:
            units = [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YX"]
            return [(float(size or 0), unit) for size, unit in zip(sizes, units, strict=True)]
    return []


def _others(file: tifffile.TiffFile) -> Iterator[tuple[float, str]]:
    """Sizes and units in the metadata of ImageJ and of electron microscopes."""
    if file.imagej_metadata and file.imagej_metadata.get("unit", "pixel") not in ("", "pixel"):
        for name in ("YResolution", "XResolution"):
            pixels, units = file.pages.first.tags[name].value
            yield units / max(pixels, 1), file.imagej_metadata["unit"]
    elif file.sem_metadata:
        entry: Any = file.sem_metadata.get("ap_image_pixel_size")
        yield from [] if entry is None else [(float(entry[1]), str(entry[2]))]
    elif file.fei_metadata:
        scan = file.fei_metadata.get("Scan", {})
        for name in ("PixelHeight", "PixelWidth"):
            if name in scan:
                yield float(scan[name]), "m"
