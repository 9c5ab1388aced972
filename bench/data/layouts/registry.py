"""The layouts that an import knows, and which of them a folder has."""

from collections.abc import Callable
from typing import NamedTuple

from bench.data.layouts import (
    arrays,
    class_folders,
    coco,
    cvat,
    dicom,
    geojson,
    labelme,
    nnunet,
    object_masks,
    pairs,
    rle_csv,
    voc,
    yolo,
)
from bench.data.layouts.draft import Draft, Options, Report
from bench.data.layouts.source import Source
from bench.errors import UserError


class Layout(NamedTuple):
    """A foreign layout.

    Attributes:
        title: what it is, for the user.
        recognise: says in one clause why a folder has the layout, or None.
        convert: reads a folder of the layout.
    """

    title: str
    recognise: Callable[[Source], str | None]
    convert: Callable[[Source, Options, Report], Draft]


LAYOUTS = {
    "coco": Layout("COCO JSON", coco.recognise, coco.convert),
    "labelme": Layout("labelme JSON", labelme.recognise, labelme.convert),
    "voc": Layout("Pascal VOC", voc.recognise, voc.convert),
    "yolo": Layout("YOLO segmentation", yolo.recognise, yolo.convert),
    "rle-csv": Layout("Kaggle run lengths (CSV)", rle_csv.recognise, rle_csv.convert),
    "nnunet": Layout("nnU-Net, Medical Decathlon", nnunet.recognise, nnunet.convert),
    "object-masks": Layout(
        "one mask file for each object", object_masks.recognise, object_masks.convert
    ),
    "class-folders": Layout(
        "one folder of masks for each class", class_folders.recognise, class_folders.convert
    ),
    "cvat": Layout("CVAT for images or video (XML)", cvat.recognise, cvat.convert),
    "geojson": Layout("QuPath GeoJSON", geojson.recognise, geojson.convert),
    "dicom": Layout("DICOM series", dicom.recognise, dicom.convert),
    "arrays": Layout(
        "NumPy or MATLAB arrays of images and masks", arrays.recognise, arrays.convert
    ),
    "pairs": Layout("image and mask files of one name", pairs.recognise, pairs.convert),
}


def recognise(source: Source) -> dict[str, str]:
    """Names of all layouts that a folder has, with the reason for each.

    Raises:
        UserError: no layout fits, and one would if a file or a name were mended.
    """
    reasons: dict[str, str] = {}
    faults: list[UserError] = []
    for name, layout in LAYOUTS.items():
        try:
            reason = layout.recognise(source)
        except UserError as error:
            faults.append(error)
            continue
        if reason:
            reasons[name] = reason
    if faults and not reasons:
        raise faults[0]
    return reasons
