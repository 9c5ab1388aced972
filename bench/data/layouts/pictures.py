"""Read image and mask files of all formats: single images, stacks, channels, volumes.

A file that `bench.data.decode` reads as it is, is passed on as a path and later copied. Everything
else becomes one array for each plane: pages, slices and time points are planes, in this order of
axes; OME, ImageJ and NIfTI files name their axes.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageOps, ImageSequence

from bench.data.layouts import matlab
from bench.data.layouts.draft import Report
from bench.data.layouts.source import Source
from bench.data.libraries import import_optional
from bench.data.raster import LARGEST_PX, SUFFIXES, UNREADABLE, UInt8, load
from bench.data.raster import size_of as header_size
from bench.data.tiff import open_tiff
from bench.errors import UserError

_OBJECTS = ("inst_map", "instance_map")  # names of arrays in MATLAB files
_PLAIN_AXES = ("YX", "YXS", "SYX")


@dataclass(frozen=True, eq=False)
class Stack:
    """The content of a file.

    Attributes:
        planes: (N, H, W) or (N, H, W, C), as stored.
        file: set where the file is a single image that needs no conversion.
        orientation: directions of the axes of a NIfTI file, such as "RAS"; "" for others.
        palette: colours (256 or 65536, 3) of the values; None if they are grey levels or colours.
        inverted: whether 0 is shown white.
    """

    planes: npt.NDArray[Any]
    file: Path | None = None
    orientation: str = ""
    palette: UInt8 | None = None
    inverted: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a plane."""
        return self.planes.shape[1], self.planes.shape[2]


def read_stack(source: Source, name: str, report: Report) -> Stack:
    """Read a file of any format in `bench.data.layouts.source.PICTURES`.

    Args:
        source: the folder.
        name: path of the file in it.
        report: gets a note on axes that are not certain.

    Raises:
        UserError: the file is damaged or has axes that are not an image or a stack of images.
    """
    file = source.files[name]
    lower = name.lower()
    try:
        if lower.endswith((".nii", ".nii.gz")):
            return _read_nifti(file)
        if lower.endswith(".npy"):
            return Stack(as_planes(np.load(file, allow_pickle=False), name, report))
        if lower.endswith(matlab.SUFFIX):
            return _read_matlab(file, name, report)
        if lower.endswith((".tif", ".tiff")) and (stack := _read_tiff(file, name, report)):
            return stack
        if file.suffix.lower() in SUFFIXES:
            raster = load(file)
            return Stack(raster.values[None], file, "", raster.palette, raster.inverted)
        return _read_pillow(file)
    except UserError:
        raise
    except (*UNREADABLE, EOFError) as error:
        raise UserError(
            f"cannot read '{file}' ({str(error).splitlines()[0] if str(error) else error!r}); "
            "replace or remove the file"
        ) from error


def is_stack(file: Path) -> bool:
    """Whether a TIFF file holds several planes or channels that are not colours."""
    if file.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with open_tiff(file) as tiff:
            return _used_axes(tiff.series[0]) not in _PLAIN_AXES
    except UNREADABLE:
        return False


def _used_axes(series: Any) -> str:
    """Names of the axes, without those of length 1 other than height and width."""
    pairs = zip(series.axes, series.shape, strict=True)
    return "".join(axis for axis, length in pairs if axis in "YX" or length > 1)


def as_planes(values: npt.NDArray[Any], name: str, report: Report) -> npt.NDArray[Any]:
    """An array of 2 to 4 axes as planes; a last axis of at most 4 is that of channels.

    Raises:
        UserError: it has other axes, or does not hold numbers.
    """
    if values.dtype.kind not in "buif":
        raise UserError(f"'{name}' holds {values.dtype} and not numbers; save an array of numbers")
    if values.ndim == 2:
        return values[None]
    if values.ndim == 3 and values.shape[-1] <= 4:
        return values[None]
    if values.ndim == 3 or (values.ndim == 4 and values.shape[-1] <= 4):
        report.note("arrays: the first axis counts images or slices, a last one of 1 to 4 channels")
        return values
    raise UserError(
        f"'{name}' has the shape {values.shape}; save images as (H, W), (H, W, channels), or a "
        "stack (N, H, W) or (N, H, W, channels)"
    )


def size_of(source: Source, name: str, report: Report) -> tuple[int, int] | None:
    """Height and width of a single image, as it will be shown; None for a faulty one.

    Raises:
        UserError: it cannot be read or is a stack, unless the report leaves it out.
    """
    file = source.files[name]
    try:
        if file.suffix.lower() in SUFFIXES and not is_stack(file):
            return header_size(file)
        stack = read_stack(source, name, report)
    except (UserError, *UNREADABLE) as error:
        report.fault(name, f"cannot be read ({error})", "replace the file")
        return None
    if len(stack.planes) > 1:
        reason = f"is a stack of {len(stack.planes)} images, but its labels are for one"
        report.fault(name, reason, "save one image in each file")
        return None
    return stack.size


def _read_nifti(file: Path) -> Stack:
    nibabel = import_optional("nibabel", f"reading '{file}'", "import")
    errors = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError)
    try:
        volume = nibabel.load(file)
        values = np.asarray(volume.dataobj)
    except errors as error:
        raise UserError(f"'{file}' is not a NIfTI volume; get it again") from error
    if values.ndim == 5 and values.shape[3] == 1:  # vectors
        values = values[:, :, :, 0]
    if values.ndim not in (2, 3, 4):
        raise UserError(f"'{file}' has the shape {values.shape}; save volumes of three axes")
    values = values[:, :, None] if values.ndim == 2 else values
    planes = np.moveaxis(values, (2, 1, 0), (0, 1, 2))  # (z, y, x[, channel])
    return Stack(planes, None, "".join(nibabel.aff2axcodes(volume.affine)))


def _read_matlab(file: Path, name: str, report: Report) -> Stack:
    arrays = matlab.read_arrays(file)
    chosen = matlab.pick_array(arrays, file)
    if len(arrays) > 1:
        report.note(
            f"of {len(arrays)} arrays of '{name}', '{chosen}' is read, and likewise of other files",
            f"MATLAB {matlab.last_word(chosen)}",
        )
    return Stack(as_planes(matlab.as_first_axis(arrays[chosen]), name, report))


def read_objects(source: Source, name: str) -> Stack | None:
    """Numbers of objects that lie in the file of a mask: inst_map next to type_map; else None.

    Raises:
        UserError: the file is damaged.
    """
    if not name.lower().endswith(matlab.SUFFIX):
        return None
    arrays = matlab.read_arrays(source.files[name])
    numbers = next((n for n in arrays if matlab.last_word(n) in _OBJECTS), None)
    if numbers is None or matlab.pick_array(arrays, source.files[name]) == numbers:
        return None
    return Stack(arrays[numbers][None])


def _read_tiff(file: Path, name: str, report: Report) -> Stack | None:
    """Planes by the named axes; None for a single image, which the folder reader reads."""
    with open_tiff(file) as tiff:
        series = tiff.series[0]
        if len(tiff.series) > 1:
            report.note(f"of the {len(tiff.series)} series of '{name}' the first is used")
        axes, shape = series.axes, series.shape
        inverted = series.keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        used = _used_axes(series)
        if used in _PLAIN_AXES:
            return None
        try:
            values = series.asarray()
        except ValueError:  # a compression that needs imagecodecs
            with Image.open(file) as image:
                pages = np.stack([np.array(page) for page in ImageSequence.Iterator(image)])
            values = pages.reshape(shape)
            if inverted and values.dtype.itemsize == 1:
                values = np.invert(values)  # Pillow inverts one and 8 bits: back, as stored
        if inverted and values.dtype == bool:
            values, inverted = ~values, False
        colours = series.keyframe.colormap
        palette = None if colours is None else (colours.T >> 8).astype(np.uint8)
    values = values.reshape([n for axis, n in zip(axes, shape, strict=True) if axis in used])
    kept = "".join(axis for axis in axes if axis in used)
    if "Y" not in kept or "X" not in kept or values.size > 8 * LARGEST_PX:
        raise UserError(f"'{name}' has the axes {axes} of {shape}; save images or a stack of them")
    channels = [place for place, axis in enumerate(kept) if axis in "CS"]
    planes = [place for place, axis in enumerate(kept) if axis not in "CSYX"]
    values = values.transpose([*planes, kept.index("Y"), kept.index("X"), *channels])
    height, width = series.shape[axes.index("Y")], series.shape[axes.index("X")]
    report.note(
        f"TIFF axes {axes} (such as '{name}'): "
        + ("each plane is an image" if planes else "one image of several channels"),
        f"TIFF axes {axes}",
    )
    count = [math.prod(values.shape[len(planes) + 2 :])] if channels else []
    palette = None if channels else palette
    return Stack(values.reshape(-1, height, width, *count), None, "", palette, inverted)


def _read_pillow(file: Path) -> Stack:
    with Image.open(file) as image:
        if image.width * image.height > LARGEST_PX:
            raise UserError(f"'{file}' has more than {LARGEST_PX / 1e6:.0f} million pixels; cut it")
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise UserError(f"'{file}' is an animation of {frames} images; save them one by one")
        shown = ImageOps.exif_transpose(image)
        if shown.mode == "P" and file.suffix.lower() != ".gif":
            return Stack(np.array(shown)[None])
        if shown.mode not in ("L", "I", "I;16", "F", "RGB", "RGBA", "1"):
            shown = shown.convert("RGB")
        return Stack(np.array(shown)[None])
