"""Write the predictions of a folder in formats of viewers and annotation tools.

Label maps are read, and files are written, in parts: the memory holds one slice, or some rows and
the runs of the objects of a large one.
"""

import gzip
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.errors import UserError
from bench.export.libraries import import_library
from bench.export.regions import Region, regions_of
from bench.export.stored_maps import Rows, stored_slices
from bench.files import atomic_path
from bench.predict.outputs import COLOURS, write_tiff
from bench.predict.pictures import Picture, is_volume
from bench.predict.pixel_size import FROM_FILE
from bench.predict.settings import PredictionSettings

PLAIN = PredictionSettings()


@dataclass(frozen=True, eq=False)
class PredictedPicture:
    """The predictions of one picture, as `predict_files` stored them.

    Attributes:
        picture: what was predicted.
        out: folder of the predictions.
        class_names: of the K classes, the background first.
        settings: gives the side of a pixel, in micrometres for OME-TIFF (1: not given) and, unless
            it is read from the file, in millimetres for NIfTI (not used where the picture is
            NIfTI). Objects smaller than its `min_area` are left out of `slices`; `classes` still
            has them.
        separated: whether the model separates objects, and `out` holds their numbers.
    """

    picture: Picture
    out: Path
    class_names: tuple[str, ...]
    settings: PredictionSettings
    separated: bool

    def classes(self) -> Iterator[Iterator[Rows]]:
        """For each slice, or the image, rows (h, W) of class indices from top to bottom."""
        return stored_slices(self.out / "labels", self.picture)

    def slices(self) -> Iterator[tuple[int | None, list[Region]]]:
        """Number of each slice, from 0 (None for a single image), and its objects.

        Raises:
            UserError: a stored map cannot be read, or it is too fragmented (see `regions_of`).
        """
        numbers = stored_slices(self.out / "objects", self.picture) if self.separated else None
        for index, bands in enumerate(self.classes()):
            number = index if self.picture.slices > 1 else None
            regions = regions_of(
                bands, None if numbers is None else next(numbers), self.settings.min_area
            )
            yield number, regions


def write_formats(
    pictures: Sequence[Picture],
    out: Path,
    formats: Sequence[str],
    class_names: tuple[str, ...],
    settings: PredictionSettings = PLAIN,
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
        settings: of the prediction; places in COCO, GeoJSON and ImageJ are in pixels. The class
            maps of OME-TIFF and NIfTI have objects of any size.
        separated: whether the model separates objects, and `out` holds their numbers.

    Returns:
        The written files.

    Raises:
        UserError: a format is unknown, its library is missing, or it cannot hold a picture or one
            of its objects; or a label map in `out` is missing or damaged.
        WriteError: a file cannot be written.
    """
    check_formats(formats, pictures)
    paths, entries = [], []
    for picture in pictures:
        predicted = PredictedPicture(picture, out, class_names, settings, separated)
        for name in formats:
            if name == "coco":
                entries.append(predicted)
            else:
                suffix, write = FORMATS[name]
                paths.append(write(predicted, out / name / f"{picture.name}{suffix}"))
    if entries:
        paths.append(_write_coco(entries, out / "coco.json"))
    return paths


def check_formats(formats: Sequence[str], pictures: Sequence[Picture] = ()) -> None:
    """Check the names of formats, their libraries, and whether they can hold the pictures.

    Raises:
        UserError: a format is unknown, a library of it is not installed, or a picture has a side
            above `LARGEST_SIDE`, the largest number that `imagej` and `nifti` can store.
    """
    for name in formats:
        if name not in LIBRARIES:
            raise UserError(f"--format cannot be '{name}': give {', '.join(LIBRARIES)}")
        for library in LIBRARIES[name]:
            import_library(library, f"--format {name}")
        for picture in pictures:
            if name in ("imagej", "nifti") and max(picture.size) > LARGEST_SIDE:
                raise UserError(
                    f"{picture.path} has {picture.size[1]} x {picture.size[0]} pixels, and {name}"
                    f" files hold up to {LARGEST_SIDE} on each side: give --format coco, geojson or"
                    " ome-tiff"
                )


def _write_coco(entries: Sequence[PredictedPicture], path: Path) -> Path:
    """COCO JSON with compressed run lengths; each slice of a volume is an image of its own."""
    images: list[dict[str, Any]] = []
    categories = [
        {"id": index, "name": name}
        for index, name in enumerate(entries[0].class_names)
        if index > 0
    ]

    def annotations() -> Iterator[dict[str, Any]]:
        count = 0
        for entry in entries:
            height, width = entry.picture.size
            for number, regions in entry.slices():
                name = entry.picture.path.name + ("" if number is None else f"#{number}")
                image = {"id": len(images) + 1, "file_name": name}
                images.append(image | {"height": height, "width": width})
                for region in regions:
                    count += 1
                    yield {"id": count, "image_id": len(images), **_coco_object(region, entry)}

    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"annotations": ')
        _write_list(file, annotations())
        file.write(f', "images": {json.dumps(images)}, "categories": {json.dumps(categories)}}}')
    return path


def _write_list(file: IO[str], entries: Iterator[dict[str, Any]]) -> None:
    """Write a JSON list one entry at a time, each in its line."""
    file.write("[")
    for number, entry in enumerate(entries):
        file.write(",\n" if number else "\n")
        json.dump(entry, file)
    file.write("\n]")


def _coco_object(region: Region, entry: PredictedPicture) -> dict[str, Any]:
    """An annotation without its numbers."""
    masks = import_library("pycocotools.mask", "--format coco")
    height, width = entry.picture.size
    counts = _coco_counts(region, height, width)
    code = masks.frPyObjects({"counts": counts, "size": [height, width]}, height, width)
    return {
        "category_id": region.class_index,
        "segmentation": {**code, "counts": code["counts"].decode()},
        "area": region.area,
        "bbox": list(region.box),
        "iscrowd": 0,
    }


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

    def features() -> Iterator[dict[str, Any]]:
        count = 0
        for number, regions in entry.slices():
            for region in regions:
                geometry = shapely.geometry.mapping(region.outline())
                if number is not None:
                    geometry["plane"] = {"c": -1, "z": number, "t": 0}
                name = entry.class_names[region.class_index]
                colour = COLOURS[(region.class_index - 1) % len(COLOURS)].tolist()
                yield {
                    "type": "Feature",
                    "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{path.name}/{count}")),
                    "geometry": geometry,
                    "properties": {
                        "objectType": "annotation",
                        "classification": {"name": name, "color": colour},
                    },
                }
                count += 1

    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": ')
        _write_list(file, features())
        file.write("}")
    return path


def _write_imagej(entry: PredictedPicture, path: Path) -> Path:
    """A zip file of regions for ImageJ's ROI manager."""
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for number, regions in entry.slices():
            for count, region in enumerate(regions, start=1):
                place = "" if number is None else f"{number + 1:04d}-"
                name = f"{place}{entry.class_names[region.class_index]}-{count}"
                roi = _imagej_region(region, name)
                roi.position = 0 if number is None else number + 1
                archive.writestr(f"{name.replace('/', '_')}.roi", roi.tobytes())
    return path


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
    """The class map as OME-TIFF, with the size of a pixel in micrometres."""
    picture = entry.picture
    axes = "ZYX" if picture.slices > 1 else "YX"
    metadata: dict[str, Any] = {"axes": axes, "Name": picture.name}
    if (side := entry.settings.side_of_pixel(picture)) != 1:
        metadata |= {"PhysicalSizeX": side, "PhysicalSizeY": side}

    def strips(tall: int) -> Iterator[Rows]:
        for bands in entry.classes():
            yield from _of_height(bands, tall)

    with atomic_path(path) as temporary:
        shape = (picture.slices, *picture.size)
        write_tiff(temporary, strips, shape, np.dtype(np.uint8), ome=True, metadata=metadata)
    return path


def _of_height(bands: Iterator[Rows], tall: int) -> Iterator[Rows]:
    """The same rows of a slice, `tall` at once; the last ones may be fewer."""
    waiting: list[Rows] = []
    count = 0
    for band in bands:
        while count + len(band) >= tall:
            yield np.concatenate([*waiting, band[: tall - count]])
            band, waiting, count = band[tall - count :], [], 0
        waiting.append(band)
        count += len(band)
    if count:
        yield np.concatenate(waiting)


def _write_nifti(entry: PredictedPicture, path: Path) -> Path:
    """The class map as NIfTI with the axes x, y, z; on the grid of the source if that is NIfTI."""
    nibabel = import_library("nibabel", "--format nifti")
    picture = entry.picture
    size = entry.settings.side_of_pixel(picture)
    if entry.settings.pixel_size == FROM_FILE:
        size /= 1e3  # micrometres to millimetres
    affine = np.diag([size, size, size, 1.0])
    if is_volume(picture.path):
        affine = nibabel.load(picture.path).affine
    shape = (picture.size[1], picture.size[0], picture.slices)
    empty = np.broadcast_to(np.uint8(0), shape)  # without memory
    header = nibabel.Nifti1Image(empty, affine).header
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as packed,
        gzip.GzipFile("", "wb", fileobj=packed, mtime=0) as file,
    ):
        header.write_to(file)
        file.write(bytes(int(header.get_data_offset()) - file.tell()))
        for bands in entry.classes():  # x is the fastest axis in the file, as in the rows
            for rows in bands:
                file.write(np.ascontiguousarray(rows).data)
    return path


LARGEST_SIDE = 32_767  # signed 16-bit numbers
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
