"""The heart in short-axis cine MRI (ACDC).

    images    2,978 slices of 150 patients at end diastole and end systole, grey, of many sizes
    classes   background, right ventricle cavity, myocardium, left ventricle cavity
    groups    150 patients, of five kinds (healthy and four diseases)
    split     100 / 50 patients (1,902 / 1,076 slices) by the challenge; no validation part
    licence   CC BY-NC-SA 4.0

Slices without heart are kept. Levels are those of the scanner; each slice is stretched for itself.
Numbers of slices are those that users of the data report. Reading needs nibabel.

Layout: the folder database, that is

    training/patient001/patient001_frame01.nii.gz   training/patient001/patient001_frame01_gt.nii.gz
    testing/patient101/...                          (alike)

Bernard et al.: Deep learning techniques for automatic MRI cardiac multi-structures segmentation and
diagnosis: is the problem solved? IEEE Transactions on Medical Imaging 37, 2018.
doi:10.1109/TMI.2018.2837502
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import Item, register_dataset
from bench.data import nifti

Keep = Callable[[str, Sequence[Path], Callable[[], npt.NDArray[Any]]], Path]


@register_dataset(
    "acdc",
    classes=("background", "right ventricle cavity", "myocardium", "left ventricle cavity"),
    source="https://www.creatis.insa-lyon.fr/Challenge/acdc/databases.html",
    licence="CC BY-NC-SA 4.0",
)
def acdc(root: Path, keep: Keep) -> dict[str, list[Item]]:
    """The heart in cine MRI (ACDC); 2,978 slices of 150 patients, grey, of many sizes."""
    return {
        part: [
            item
            for truth in sorted((root / folder).glob("patient*/*_gt.nii*"))
            for item in _slices(truth, keep)
        ]
        for part, folder in {"train": "training", "test": "testing"}.items()
    }


def _slices(truth: Path, keep: Keep) -> list[Item]:
    image = truth.with_name(truth.name.replace("_gt", ""))
    frame = truth.name.split("_gt")[0]
    spacing, patient = nifti.spacing_mm(truth), frame.split("_")[0]
    items = []
    for number in range(nifti.depth(truth)):
        name = f"{frame}_slice{number:02}"
        shown = keep(f"{name}_image", [image], partial(_slice, image, number, np.uint16))
        mask = keep(f"{name}_mask", [truth], partial(_slice, truth, number, np.uint8))
        items.append(Item(name, shown, mask, patient, volume=frame, spacing_mm=spacing))
    return items


def _slice(file: Path, number: int, kind: Any) -> npt.NDArray[Any]:
    return np.round(nifti.read_slice(file, number)).clip(0, 65535).astype(kind)
