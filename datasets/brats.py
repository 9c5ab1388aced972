"""Brain tumours in MRI: the BraTS 2020 training volumes, some slices of each or whole.

    images    `brats`: 4,059, of each of 369 volumes the slices 25, 35, ... 125 of 155;
              `brats_volumes`: all 57,195 slices; 240 x 240 px, 1 mm in each direction, with
              FLAIR as red, T1 with contrast agent as green and T2 as blue
    classes   rest, necrotic and non-enhancing core, oedema, enhancing tumour (labels 0, 1, 2, 4);
              `brats_whole_tumour`: the volumes with rest and whole tumour (labels 1, 2, 4)
    groups    369 patients
    split     none: the challenge keeps the labels of its other volumes
    licence   terms of the challenge

Each volume is scaled from 0 to the 99.8th percentile of its brain. Slices without tumour are kept.
T1 without contrast agent is not read. One patient's labels have another name (*_Segm.nii). The
slices take 0.9 or 13 GB in the cache, and all volumes are opened to make them. Needs nibabel.

Layout: the folder MICCAI_BraTS2020_TrainingData, that is

    BraTS20_Training_001/BraTS20_Training_001_{flair,t1ce,t2,seg}.nii (or .nii.gz)

Menze et al.: The multimodal brain tumor image segmentation benchmark (BRATS). IEEE Transactions on
Medical Imaging 34, 2015. doi:10.1109/TMI.2014.2377694
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import Item, UserError, register_dataset
from bench.data import nifti

Pixels = npt.NDArray[np.uint8]
Keep = Callable[[str, Sequence[Path], Callable[[], Pixels]], Path]
SLICES = range(25, 126, 10)
CONTRASTS = ("flair", "t1ce", "t2")  # red, green, blue


_register = partial(
    register_dataset,
    source="https://www.med.upenn.edu/cbica/brats2020/data.html",
    licence="terms of the challenge",
)
_register_regions = partial(
    _register,
    classes=("rest", "necrotic core", "oedema", "enhancing tumour"),
    mask_values={0: 0, 1: 1, 2: 2, 4: 3},
)


@_register_regions("brats")
def brats(root: Path, keep: Keep) -> list[Item]:
    """Brain tumours in MRI (BraTS 2020); 4,059 slices of 369 patients, 240 x 240, 3 contrasts."""
    return _slices(root, keep, SLICES)


@_register_regions("brats_volumes")
def brats_volumes(root: Path, keep: Keep) -> list[Item]:
    """Brain tumours in MRI (BraTS 2020); 369 volumes of 155 slices, 240 x 240, 3 contrasts."""
    return _slices(root, keep)


@_register(
    "brats_whole_tumour",
    classes=("rest", "whole tumour"),
    mask_values={0: 0, 1: 1, 2: 1, 4: 1},
)
def brats_whole_tumour(root: Path, keep: Keep) -> list[Item]:
    """Whole brain tumours in MRI (BraTS 2020); 369 volumes of 155 slices, 3 contrasts."""
    return _slices(root, keep)


def _slices(root: Path, keep: Keep, numbers: Sequence[int] | None = None) -> list[Item]:
    """These slices of every volume, each an image of its own; None for the volumes whole."""
    items = []
    for folder in sorted(root.glob("BraTS20_Training_*")):
        scans = [_find(folder, f"{folder.name}_{contrast}.nii*") for contrast in CONTRASTS]
        labels = _find(folder, "*_[sS]eg*.nii*")
        volume, spacing = "", None
        if numbers is None:
            volume, spacing = folder.name, nifti.spacing_mm(labels)
        for number in range(nifti.depth(labels)) if numbers is None else numbers:
            name = f"{folder.name}_slice{number:03}"
            image = keep(f"{name}_image", scans, partial(nifti.read_colours, scans, number))
            mask = keep(f"{name}_mask", [labels], partial(nifti.read_labels, labels, number))
            items.append(Item(name, image, mask, folder.name, volume=volume, spacing_mm=spacing))
    return items


def _find(folder: Path, pattern: str) -> Path:
    file = next(iter(sorted(folder.glob(pattern))), None)
    if file is None:
        raise UserError(f"'{folder}' holds no {pattern}; get it again")
    return file
