"""Write the predictions of a folder in formats of viewers and annotation tools."""

import gzip
import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from bench.errors import UserError
from bench.export.libraries import import_library
from bench.export.regions import Region, regions_of
from bench.files import atomic_path, write_atomic
from bench.predict.outputs import COLOURS
from bench.predict.pictures import Picture, is_volume

Map = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class PredictedPicture:
    """The predictions of one picture, as `predict_files` stored them.

    Attributes:
        picture: what was predicted.
        classes: (D, H, W) class indices of its D slices; D is 1 for an image.
        numbers: (D, H, W) numbers of objects where the model separates them, else None.
        class_names: of the K classes, the background first.
        pixel_size: side of a pixel, in micrometres for OME-TIFF (1: not given) and in millimetres
            for NIfTI (not used where the picture is NIfTI).
        min_area: smaller objects, in pixels, are left out of `slices`; `classes` still has them.
    """

    picture: Picture
    classes: Map
    numbers: Map | None
    class_names: tuple[str, ...]
    pixel_size: float
    min_area: int

    def slices(self) -> Iterator[tuple[int | None, list[Region]]]:
        """Number of each slice, from 0 (None for a single image), and its objects."""
        for index, classes in enumerate(self.classes):
            numbers = None if self.numbers is None else self.numbers[index]
            number = index if self.picture.slices > 1 else None
            yield number, regions_of(classes, numbers, self.min_area)


def write_formats(
    pictures: Sequence[Picture],
    out: Path,
    formats: Sequence[str],
    class_names: tuple[str, ...],
    pixel_size: float = 1.0,
    min_area: int = 1,
    separated: bool = False,
) -> list[Path]:
    """Write the predictions of `predict_files` in other formats, into `out`.

    Each format has a folder with one file per picture; "coco" is one file for all pictures,
    `coco.json`. Existing files are replaced.

    Args:
        pictures: those that were predicted without an error.
        out: folder of the predictions.
        formats: names in `LIBRARIES`.
        class_names: of the K classes.
        pixel_size: as in `PredictedPicture`; places in COCO, GeoJSON and ImageJ are in pixels.
        min_area: smaller objects, in pixels, are left out; the class maps of OME-TIFF and NIfTI
            still have them.
        separated: whether the model separates objects, and `out` holds their numbers.

    Returns:
        The written files.

    Raises:
        UserError: a format is unknown, its library is missing, or a file cannot be written.
        OSError: `out` does not hold the label map of a picture.
    """
    check_formats(formats)
    paths, entries = [], []
    for picture in pictures:
        predicted = PredictedPicture(
            picture,
            _stored(out / "labels", picture),
            _stored(out / "objects", picture) if separated else None,
            class_names,
            pixel_size,
            min_area,
        )
        for name in formats:
            if name == "coco":
                entries.append(predicted)
            else:
                suffix, write = FORMATS[name]
                paths.append(write(predicted, out / name / f"{picture.name}{suffix}"))
    if entries:
        paths.append(_write_coco(entries, out / "coco.json"))
    return paths


def check_formats(formats: Sequence[str]) -> None:
    """Check the names of formats, and that their libraries are installed.

    Raises:
        UserError: a format is unknown, or a library of it is not installed.
    """
    for name in formats:
        if name not in LIBRARIES:
            raise UserError(f"--format cannot be '{name}': give {', '.join(LIBRARIES)}")
        for library in LIBRARIES[name]:
            import_library(library, f"--format {name}")


def _stored(folder: Path, picture: Picture) -> Map:
    """A stored map of a picture as (D, H, W)."""
    path = folder / f"{picture.name}.png"
    if path.exists():
        values = np.asarray(Image.open(path))
    else:
        values = np.asarray(tifffile.imread(path.with_suffix(".tif")))
    return values.reshape(picture.slices, *picture.size)


def _write_coco(entries: Sequence[PredictedPicture], path: Path) -> Path:
    """COCO JSON with compressed run lengths; each slice of a volume is an image of its own."""
    masks = import_library("pycocotools.mask", "--format coco")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for entry in entries:
        height, width = entry.picture.size
        for number, regions in entry.slices():
            name = entry.picture.path.name + ("" if number is None else f"#{number}")
            images.append(
                {"id": len(images) + 1, "file_name": name, "height": height, "width": width}
            )
            for region in regions:
                counts = _coco_counts(region, height, width)
                code = masks.frPyObjects({"counts": counts, "size": [height, width]}, height, width)
                tall, wide = region.inside.shape
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": len(images),
                        "category_id": region.class_index,
                        "segmentation": {**code, "counts": code["counts"].decode()},
                        "area": region.area,
                        "bbox": [region.left, region.top, wide, tall],
                        "iscrowd": 0,
                    }
                )
    categories = [
        {"id": index, "name": name}
        for index, name in enumerate(entries[0].class_names)
        if index > 0
    ]
    document = {"images": images, "annotations": annotations, "categories": categories}
    return write_atomic(path, json.dumps(document))


def _coco_counts(region: Region, height: int, width: int) -> list[int]:
    """Lengths of the runs outside and inside by turns, down the columns."""
    counts, end = [], 0
    for start, length in region.run_lengths(height):
        counts += [start - end, length]
        end = start + length
    return [*counts, height * width - end]


def _write_geojson(entry: PredictedPicture, path: Path) -> Path:
    """A FeatureCollection of annotations for QuPath, in pixels, y down."""
    shapely = import_library("shapely", "--format geojson")
    features: list[dict[str, Any]] = []
    for number, regions in entry.slices():
        for region in regions:
            geometry = shapely.geometry.mapping(region.outline())
            if number is not None:
                geometry["plane"] = {"c": -1, "z": number, "t": 0}
            name = entry.class_names[region.class_index]
            colour = COLOURS[(region.class_index - 1) % len(COLOURS)].tolist()
            features.append(
                {
                    "type": "Feature",
                    "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path.name}/{len(features)}")),
                    "geometry": geometry,
                    "properties": {
                        "objectType": "annotation",
                        "classification": {"name": name, "color": colour},
                    },
                }
            )
    return write_atomic(path, json.dumps({"type": "FeatureCollection", "features": features}))


def _write_imagej(entry: PredictedPicture, path: Path) -> Path:
    """A zip file of regions for ImageJ's ROI manager."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, regions in entry.slices():
            for count, region in enumerate(regions, start=1):
                place = "" if number is None else f"{number + 1:04d}-"
                name = f"{place}{entry.class_names[region.class_index]}-{count}"
                roi = _imagej_region(region, name)
                roi.position = 0 if number is None else number + 1
                archive.writestr(f"{name.replace('/', '_')}.roi", roi.tobytes())
    return write_atomic(path, content.getvalue())


def _imagej_region(region: Region, name: str) -> Any:
    """A polygon, or a composite region where it has holes or several parts."""
    roifile = import_library("roifile", "--format imagej")
    outline = region.outline()
    parts = list(getattr(outline, "geoms", [outline]))
    rings = [ring for part in parts for ring in (part.exterior, *part.interiors)]
    points = [np.asarray(ring.coords[:-1]).astype(int) for ring in rings]
    roi = roifile.ImagejRoi.frompoints(np.concatenate(points), name=name)
    roi.roitype = roifile.ROI_TYPE.POLYGON
    if len(points) > 1:
        path: list[float] = []
        for ring in points:
            for number, (x, y) in enumerate(ring.tolist()):
                path += [1.0 if number else 0.0, x, y]  # a line, or the start of a ring
            path.append(4.0)  # back to the start
        roi.roitype = roifile.ROI_TYPE.RECT
        roi.integer_coordinates, roi.n_coordinates = None, 0
        roi.multi_coordinates = np.array(path, np.float32)
        roi.shape_roi_size = len(path)
        roi.right, roi.bottom = roi.right - 1, roi.bottom - 1
    return roi


def _write_ome_tiff(entry: PredictedPicture, path: Path) -> Path:
    """The class map as OME-TIFF (axes ZYX), with the size of a pixel in micrometres."""
    metadata: dict[str, Any] = {"axes": "ZYX", "Name": entry.picture.name}
    if entry.pixel_size != 1:
        metadata |= {"PhysicalSizeX": entry.pixel_size, "PhysicalSizeY": entry.pixel_size}
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            entry.classes,
            ome=True,
            compression="zlib",
            photometric="minisblack",
            metadata=metadata,
        )
    return path


def _write_nifti(entry: PredictedPicture, path: Path) -> Path:
    """The class map as NIfTI with the axes x, y, z; on the grid of the source if that is NIfTI."""
    nibabel = import_library("nibabel", "--format nifti")
    size = entry.pixel_size
    affine = np.diag([size, size, size, 1.0])
    if is_volume(entry.picture.path):
        affine = nibabel.load(entry.picture.path).affine
    image = nibabel.Nifti1Image(np.ascontiguousarray(entry.classes.transpose(2, 1, 0)), affine)
    return write_atomic(path, gzip.compress(image.to_bytes(), mtime=0))


Write = Callable[[PredictedPicture, Path], Path]
FORMATS: dict[str, tuple[str, Write]] = {
    "geojson": (".geojson", _write_geojson),
    "imagej": (".zip", _write_imagej),
    "ome-tiff": (".ome.tif", _write_ome_tiff),
    "nifti": (".nii.gz", _write_nifti),
}
LIBRARIES: dict[str, tuple[str, ...]] = {
    "coco": ("pycocotools.mask",),
    "geojson": ("shapely",),
    "imagej": ("shapely", "roifile"),
    "ome-tiff": (),
    "nifti": ("nibabel",),
}
