"""What is predicted: image files, folders of them, stacks and volumes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from bench.data import nifti
from bench.data.decode import Levels, show
from bench.data.raster import LARGEST_PX, SUFFIXES, Raster, describe, load, orientation, size_of
from bench.data.tiff import open_tiff
from bench.data.traits import ImageTraits, kind_of_raster
from bench.errors import UserError
from bench.evaluate.tiles import ImageRows
from bench.files import check_regular, is_text, quote
from bench.predict.tiff_rows import DAMAGED, TiffRows

VOLUMES = (".nii", ".nii.gz")
TIFF = (".tif", ".tiff")
LARGE_PX = 25_000_000  # larger TIFF images are read in rows


@dataclass(frozen=True, eq=False)
class Pixels8:
    """An image that a model can take.

    Attributes:
        rows: (H, W, 3) uint8, an array or read row by row.
        kind: type of the stored values, such as "uint8", and "grey", "colour" or, for example,
            "5-channel", as in `kind_of_raster`.
    """

    rows: ImageRows
    kind: tuple[str, str]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rows.shape[0], self.rows.shape[1]

    def close(self) -> None:
        """Close the file that rows are read from; does nothing for an array."""
        if isinstance(self.rows, TiffRows):
            self.rows.close()


@dataclass(frozen=True)
class Picture:
    """A file to predict: one image, or a volume of several slices.

    Attributes:
        name: unique among the files of a command; names its outputs.
        path: of the file.
        slices: number of slices; 1 for a single image.
        size: height and width in pixels.
        error: why the file cannot be opened, in one sentence; None where it can. Slices and size
            are 0 then.
    """

    name: str
    path: Path
    slices: int
    size: tuple[int, int]
    error: str | None = None

    def read(self, index: int = 0, levels: Levels | None = None, channels: str = "") -> Pixels8:
        """One slice, or the image; close it after use (`Pixels8.close`).

        Args:
            index: of the slice, from 0; not used for a single image.
            levels: values that become 0 and 255; None: as for the images of a training, from the
                values of this slice or image alone.
            channels: that the model was trained on, as in `bench.data.selection.Selection`.

        Raises:
            UserError: the file is damaged or gone, or its values cannot be shown.
        """
        try:
            return self._read(index, levels, channels)
        except UserError:
            raise
        except DAMAGED as error:
            raise _unreadable(self.path, error) from error

    def _read(self, index: int, levels: Levels | None, channels: str) -> Pixels8:
        if is_volume(self.path):
            return as_pixels(nifti.read_slice(self.path, index), levels, channels)
        if self.slices > 1:
            return as_pixels(_read_page(self.path, index), levels, channels)
        large = self.size[0] * self.size[1] > LARGE_PX
        if self.path.suffix.lower() in TIFF and large and not channels and _has_rows(self.path):
            rows = TiffRows(self.path, levels)
            return Pixels8(rows, rows.kind)
        return as_pixels(self.path, levels, channels)


def as_pixels(
    pixels: Path | npt.NDArray[Any], levels: Levels | None = None, channels: str = ""
) -> Pixels8:
    """Read a file or an array as the images of a training are read.

    Args:
        pixels: file, or array (H, W) or (H, W, C) with C from 1 to 4; the last of 2 or 4 channels
            is alpha, which is dropped.
        levels: values that become 0 and 255; None: as for the images of a training, see
            `bench.data.decode`.
        channels: as of `Picture.read`.

    Raises:
        UserError: the file cannot be read or lacks a channel, the array has another shape or holds
            no numbers, or a value is NaN or infinite.
    """
    if isinstance(pixels, Path):
        raster = load(pixels)
    else:
        if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (1,), (2,), (3,), (4,)):
            raise UserError(
                f"an array of shape {pixels.shape} is not an image: give (H, W), (H, W, 1) or"
                " (H, W, 3)"
            )
        if 0 in pixels.shape or pixels.dtype.kind not in "buif":
            raise UserError(
                f"an array of shape {pixels.shape} and type {pixels.dtype} is not an image: give"
                " numbers, at least one pixel"
            )
        raster = Raster(pixels)
    return Pixels8(show(raster, describe(pixels), levels, channels), kind_of_raster(raster))


def open_pictures(paths: Iterable[Path]) -> list[Picture]:
    """The images in files and folders, in the order given; those of a folder by path.

    Only headers are read. A folder is searched with its subfolders. A file that is named twice is
    opened once. A file has an `error` if it is damaged, an image that is not TIFF is too large, or
    a file has further axes than those of a stack.

    Raises:
        UserError: a path does not exist, a folder holds no images, a file has another ending than
            those of images, two files cannot get different names, or no path is given.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if _is_image(file))
            if not inside:
                raise UserError(
                    f"the folder {path} holds no images: give files of the types"
                    f" {', '.join(sorted({*SUFFIXES, *VOLUMES}))}"
                )
            files += inside
        elif not path.exists():
            raise UserError(f"there is no file {path}: give images, volumes, or folders of them")
        elif not _is_image(path):
            raise UserError(
                f"{path} is not an image file: give {', '.join(sorted({*SUFFIXES, *VOLUMES}))}"
            )
        else:
            files.append(path)
    if not files:
        raise UserError("no images are given: give files or folders")
    for path in files:
        if not is_text(str(path)):
            raise UserError(f"the name of {quote(path)} is not UTF-8: rename the file or folder")
    files = list({path.resolve(): path for path in files}.values())
    return [_open(path, name) for path, name in zip(files, _unique_names(files), strict=True)]


def _open(path: Path, name: str) -> Picture:
    try:
        check_regular(path)
        slices, height, width = _shape(path)
    except UserError as error:
        return Picture(name, path, 0, (0, 0), str(error))
    except (*DAMAGED, tifffile.TiffFileError) as error:
        return Picture(name, path, 0, (0, 0), str(_unreadable(path, error)))
    return Picture(name, path, slices, (height, width))


def _shape(path: Path) -> tuple[int, int, int]:
    """Number of slices, and height and width, from the header of a file."""
    if is_volume(path):
        return nifti.shape(path)
    if path.suffix.lower() in TIFF:
        with open_tiff(path) as file:
            return _series_shape(path, file.series[0])
    height, width = size_of(path)
    if height * width > LARGEST_PX:
        raise UserError(
            f"{path} has more than {LARGEST_PX / 1e6:.0f} million pixels: save it as TIFF, which is"
            " read in parts"
        )
    return 1, height, width


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"cannot read {path} as an image ({reason}): replace or remove it")


def _series_shape(path: Path, series: Any) -> tuple[int, int, int]:
    """Number of slices, and height and width, of a series of a TIFF file."""
    lengths = dict(zip(series.axes, series.shape, strict=True))
    extra = [axis for axis, length in lengths.items() if axis not in "YXS" and length > 1]
    if extra == ["C"] and "S" not in series.axes:
        extra = []
    if len(extra) > 1:
        raise UserError(
            f"{path} has the axes {series.axes} of lengths {series.shape}: save one image, or one"
            " stack of slices, without further channels or times"
        )
    slices = lengths[extra[0]] if extra else 1
    size = lengths["Y"], lengths["X"]
    return slices, *(size[::-1] if slices == 1 and orientation(series.keyframe) > 4 else size)


def _has_rows(path: Path) -> bool:
    """Whether the rows of a TIFF file are those of the image: upright, without further channels."""
    with open_tiff(path) as file:
        page = file.series[0].keyframe
        return orientation(page) == 1 and "C" not in file.series[0].axes


def _read_page(path: Path, index: int) -> npt.NDArray[Any]:
    """Slice (H, W) or (H, W, C) of a stack."""
    with open_tiff(path) as file:
        series = file.series[0]
        slices, height, width = _series_shape(path, series)
        samples = series.shape[-1:] if series.axes.endswith("S") else ()
        if series.dataoffset is not None:  # one block, which need not have one page per slice
            mapped = tifffile.memmap(path, series=0, mode="r")
            return np.array(mapped.reshape(slices, height, width, *samples)[index])
        page: Any = series.pages[index]
        return np.asarray(page.asarray())


def is_volume(path: Path) -> bool:
    """Whether a file is a NIfTI volume, by its name."""
    return path.name.lower().endswith(VOLUMES)


def _is_image(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() in SUFFIXES or is_volume(path))


def _unique_names(files: Sequence[Path]) -> list[str]:
    """The shortest of stem, file name, and names with folders that no other file has."""
    choices = [
        (
            path.name.removesuffix(".gz").rpartition(".")[0],
            path.name,
            *("_".join(parts[-depth:]) for depth in range(2, 9)),
        )
        for path, parts in ((path, path.resolve().parts) for path in files)
    ]
    counts = [Counter(words) for words in zip(*choices, strict=True)]
    names = []
    for options in choices:
        unique = [word for word, count in zip(options, counts, strict=True) if count[word] == 1]
        if not unique:
            raise UserError(f"two files have the name {options[0]}: give them different names")
        names.append(unique[0])
    if len(set(names)) < len(names):  # a stem of one is the file name of another
        return [options[-1].replace("/", "_").lstrip("_") for options in choices]
    return names


def check_kind(pixels: Pixels8, traits: ImageTraits, levels: Levels | None, name: str) -> None:
    """Refuse an image of another type or colour than those of the training.

    Args:
        pixels: the image.
        traits: of the images of the training.
        levels: of the user; with them the type does not matter, the colour does.
        name: of the image, for the message.

    Raises:
        UserError: the image is of another kind.
    """
    kind, colour = pixels.kind
    if levels is None and kind not in traits.types:
        raise UserError(
            f"{name} holds values of type {kind}, but this model was trained on"
            f" {' and '.join(traits.types)}: give --levels LOW,HIGH, the values that become"
            " black and white, or --allow-other-images"
        )
    if colour not in traits.colours:
        raise UserError(
            f"{name} is a {colour} image, but this model was trained on"
            f" {' and '.join(traits.colours)} images: convert it, or give --allow-other-images"
        )
