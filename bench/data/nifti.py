"""Read volumes in NIfTI files slice by slice; for the readers of public collections.

A file's axes are x to the left or right, y to the front or back, z along the body; a slice is
(H, W) = (y, x) at one z, as viewers show it. Reading needs nibabel, the extra `volumes`.
"""

import gzip
import importlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import UserError

BRIGHTEST = 99.8  # percentile of the values above 0 that becomes white


def depth(file: Path) -> int:
    """Number of slices.

    Raises:
        UserError: nibabel is missing, or the file is not a NIfTI volume of three axes. This and the
            next hold for all functions here.
        OSError, EOFError or zlib.error: the file is missing or damaged.
    """
    return shape(file)[0]


def shape(file: Path) -> tuple[int, int, int]:
    """Number of slices, and height and width of each; only the header is read."""
    across, down, along = _open(file).shape
    return along, down, across


def spacing_mm(file: Path) -> tuple[float, float, float]:
    """Distance of slices, and height and width of a pixel, in mm.

    The numbers of the header are taken as mm, whatever unit it states.
    """
    across, down, along = map(float, _open(file).header.get_zooms()[:3])
    return along, down, across


def read_slice(file: Path, number: int) -> npt.NDArray[Any]:
    """Values (H, W) of slice `number`, counted from 0, scaled as the file says.

    It shares the memory of the volume, which is kept, so it cannot be written to.
    """
    return _voxels(file)[..., number].T


def read_levels(file: Path, number: int) -> npt.NDArray[np.uint8]:
    """Grey levels (H, W) of slice `number`, from 0.

    The value 0 becomes 0, and percentile `BRIGHTEST` of the values above 0 of the whole volume
    becomes 255; values outside are clipped. The array shares the memory of the volume, which is
    kept, so it cannot be written to.
    """
    return _levels(file)[..., number].T


def read_colours(files: Sequence[Path], number: int) -> npt.NDArray[np.uint8]:
    """Grey levels of slice `number`, from 0, in three scans, as red, green and blue.

    Args:
        files: three files of the same shape.
        number: of the slice.

    Returns:
        (H, W, 3) uint8, see `read_levels`.
    """
    return np.stack([read_levels(file, number) for file in files], axis=-1)


def read_labels(file: Path, number: int) -> npt.NDArray[np.uint8]:
    """Labels (H, W) uint8 of slice `number`, counted from 0.

    Stored values must be whole numbers in 0..255, which is not checked.
    """
    return read_slice(file, number).astype(np.uint8)


@lru_cache(maxsize=4)  # images and labels of one patient
def _voxels(file: Path) -> npt.NDArray[Any]:
    return _locked(np.asarray(_checked(file).dataobj))


@lru_cache(maxsize=4)
def _levels(file: Path) -> npt.NDArray[np.uint8]:
    values = np.asarray(_checked(file).dataobj, np.float32)
    body = values[values > 0]
    top = float(np.percentile(body, BRIGHTEST)) if body.size else 1.0
    return _locked(np.asarray((values / top * 255).clip(0, 255).round(), np.uint8))


def _locked(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, made read-only: all slices share it."""
    values.flags.writeable = False
    return values


def _checked(file: Path) -> Any:
    """As `_open`; a compressed file is read to its end first.

    Its checksum is there, and nibabel stops before it.
    """
    if file.suffix == ".gz":
        with gzip.open(file) as stream:
            while stream.read(1 << 20):
                pass
    return _open(file)


def _open(file: Path) -> Any:
    try:
        nibabel = importlib.import_module("nibabel")
    except ImportError as error:
        raise UserError(f"reading '{file}' needs nibabel: pip install nibabel") from error
    try:
        volume = nibabel.load(file)
    except (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
    ) as error:
        raise UserError(f"'{file}' is not a NIfTI volume; get it again") from error
    if len(volume.shape) != 3:
        raise UserError(
            f"'{file}' has the shape {volume.shape}, and a volume has three axes: save one volume"
            " in each file"
        )
    return volume
