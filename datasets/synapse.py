"""Abdominal organs in CT: the Synapse set of TransUNet, from BTCV's training volumes.

    images    3,779 axial slices of 30 volumes, 512 x 512 px, grey
    classes   background and eight organs in TransUNet's order; BTCV's oesophagus, vessels and
              adrenal glands count as background
    groups    30 patients
    split     18 / 12 patients (2,211 / 1,568 slices) as in TransUNet's lists; no validation part
    licence   terms of the challenge

Hounsfield units from -125 to 275 become grey levels from 0 to 255. TransUNet's files do not tell
the spacing, so distances are scored on the challenge's volumes only. The slices take 2 GB in the
cache. Others hand out files of the same names with the organs in another order, which cannot be
seen from them: use TransUNet's, or the volumes. Reading them needs h5py or nibabel.

Layout: the challenge's volumes, or TransUNet's files, that is

    RawData/Training/img/img0001.nii.gz   RawData/Training/label/label0001.nii.gz
    train_npz/case0005_slice000.npz (image 0 to 1, label)   test_vol_h5/case0001.npy.h5 (the same)

Landman et al.: 2015 MICCAI multi-atlas labeling beyond the cranial vault - workshop and challenge.
Chen et al.: TransUNet: transformers make strong encoders for medical image segmentation. 2021.
arXiv:2102.04306
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import Item, UserError, register_dataset
from bench.data import nifti

Pixels = npt.NDArray[np.uint8]
Keep = Callable[[str, Sequence[Path], Callable[[], Pixels]], Path]
TEST = {1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38}  # numbers of the cases
WINDOW = (-125, 275)  # Hounsfield units
ORGANS = np.zeros(14, np.uint8)  # class of each label of BTCV
ORGANS[[8, 4, 3, 2, 6, 11, 1, 7]] = range(1, 9)


@register_dataset(
    "synapse",
    classes=(
        "background",
        "aorta",
        "gallbladder",
        "left kidney",
        "right kidney",
        "liver",
        "pancreas",
        "spleen",
        "stomach",
    ),
    source="https://www.synapse.org/#!Synapse:syn3193805/wiki/217789",
    licence="terms of the challenge",
)
def synapse(root: Path, keep: Keep) -> dict[str, list[Item]]:
    """Eight abdominal organs in CT (Synapse, BTCV); 3,779 slices of 30 volumes, 512 x 512 grey."""
    parts: dict[str, list[Item]] = {"train": [], "test": []}
    for case, number, files, make in _slices(root):
        name = f"{case}_slice{number:03}"
        image = keep(f"{name}_image", files, partial(make, 0))
        mask = keep(f"{name}_mask", files, partial(make, 1))
        item = Item(name, image, mask, case, volume=case, spacing_mm=_spacing(files[-1]))
        parts["test" if int(case[-4:]) in TEST else "train"].append(item)
    return parts


def _spacing(file: Path) -> tuple[float, float, float] | None:
    """Of the challenge's volumes; TransUNet's files do not tell."""
    return nifti.spacing_mm(file) if "label" in file.name else None


def _slices(root: Path) -> Iterator[tuple[str, int, list[Path], Callable[[int], Pixels]]]:
    """Case, number, files, and what makes the image (0) or the mask (1) of each slice."""
    for file in sorted((root / "train_npz").glob("*.npz")):
        case, _, digits = file.stem.partition("_slice")
        yield case, int(digits), [file], partial(_packed_slice, file)
    for file in sorted((root / "test_vol_h5").glob("*.h5")):
        with _h5py().File(file) as volume:
            depth = len(volume["image"])
        for number in range(depth):
            yield file.name[:8], number, [file], partial(_stored_slice, file, number)
    for label in sorted((root / "RawData" / "Training" / "label").glob("label*.nii*")):
        image = label.parents[1] / "img" / label.name.replace("label", "img")
        for number in range(nifti.depth(label)):
            make = partial(_scanned_slice, image, label, number)
            yield f"case{label.name[5:9]}", number, [image, label], make


def _packed_slice(file: Path, which: int) -> Pixels:
    with np.load(file) as arrays:
        return _finish(arrays[("image", "label")[which]], which)


def _stored_slice(file: Path, number: int, which: int) -> Pixels:
    with _h5py().File(file) as volume:
        return _finish(volume[("image", "label")[which]][number], which)


def _scanned_slice(image: Path, label: Path, number: int, which: int) -> Pixels:
    if which:
        return ORGANS[nifti.read_slice(label, number).astype(int)]
    low, high = WINDOW
    return _finish((nifti.read_slice(image, number) - low) / (high - low), 0)


def _finish(values: npt.NDArray[Any], which: int) -> Pixels:
    scaled = values if which else np.clip(values, 0, 1) * 255
    return np.asarray(np.round(scaled), np.uint8)


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise UserError("reading these files needs h5py: pip install h5py") from error
