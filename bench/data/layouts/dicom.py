"""DICOM series with masks as DICOM SEG, as contours (RTSTRUCT), or as picture files.

Slices are sorted by position. Values are those of the modality (Hounsfield units for CT), scaled
over the whole series. Patients are numbered: no name or id of a patient is written.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.folder.mask_names import is_mask_folder
from bench.data.layouts.draft import Draft, Options, Report, Sample, class_table
from bench.data.layouts.pictures import Stack
from bench.data.layouts.planes import Place, samples_of
from bench.data.layouts.shapes import Canvas, Shape
from bench.data.layouts.source import Source, natural, part_of, stem
from bench.data.libraries import import_optional
from bench.data.masks import read_mask
from bench.errors import UserError

_LABELS = ("SEG", "RTSTRUCT")


@dataclass(eq=False)
class _Series:
    """The files of one series, as (path, header), in the order of their positions."""

    files: list[tuple[str, Any]]
    name: str = ""
    group: str = ""

    @property
    def uids(self) -> list[str]:
        return [str(header.SOPInstanceUID) for _, header in self.files]


def recognise(source: Source) -> str | None:
    """Why the folder looks like DICOM: a file with the mark DICM, and masks of some kind."""
    names = _candidates(source)
    return f"'{names[0]}' is a DICOM file" if names else None


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Slices of all series that have masks.

    Raises:
        UserError: pydicom is missing, there are no masks, or a file is damaged.
    """
    series, labels = _read_headers(source, report)
    names = _class_names(labels)
    pictures = [name for name in source.pictures if _in_mask_folder(name)]
    if not names and not pictures:
        raise UserError(
            f"'{source.root}' holds {len(series)} DICOM series but no masks; add DICOM SEG or "
            "RTSTRUCT files, or a folder masks/ of one picture for each slice"
        )
    table = class_table(names, "the DICOM files") if names else None
    return Draft(table, _samples(source, series, labels, names, pictures, options, report))


def _candidates(source: Source) -> list[str]:
    """DICOM files by suffix, and files without one that carry the mark of DICOM."""
    names = []
    for name, file in source.files.items():
        base = posixpath.basename(name).lower()
        if base.endswith((".dcm", ".ima", ".dicom")):
            names.append(name)
        elif "." not in base and base != "dicomdir":
            with file.open("rb") as opened:
                if opened.read(132)[128:] == b"DICM":
                    names.append(name)
    return names


def _in_mask_folder(name: str) -> bool:
    folders = name.split("/")[:-1]
    return any(map(is_mask_folder, folders)) or any(f.lower() == "ground" for f in folders)


def _read_headers(source: Source, report: Report) -> tuple[list[_Series], list[tuple[str, Any]]]:
    pydicom = import_optional("pydicom", "reading DICOM", "import")
    by_uid: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    labels: list[tuple[str, Any]] = []
    for name in _candidates(source):
        try:
            header = pydicom.dcmread(source.files[name], stop_before_pixels=True)
            modality, uid = str(header.Modality), str(header.SeriesInstanceUID)
        except (pydicom.errors.InvalidDicomError, AttributeError, OSError, EOFError) as error:
            report.fault(name, f"is not a readable DICOM file ({error})", "get it again")
            continue
        if modality in _LABELS:
            labels.append((name, header))
        elif "Rows" in header:
            by_uid[uid].append((name, header))
        else:
            report.leave_out(name, f"a DICOM file of modality {modality} without an image")
    patients = list(dict.fromkeys(str(f[0][1].get("PatientID", "")) for f in by_uid.values()))
    series: list[_Series] = []
    for files in by_uid.values():
        files.sort(key=_position)
        number = patients.index(str(files[0][1].get("PatientID", ""))) + 1
        group = f"patient{number:03d}"
        count = sum(other.group == group for other in series) + 1
        series.append(_Series(files, f"{group}_{count}", group))
    if series:
        report.note(f"patients are numbered 1 to {len(patients)}; no name or id of one is written")
    return series, labels


def _position(entry: tuple[str, Any]) -> tuple[float, float]:
    """Where a slice lies along the normal of its plane; without positions, its number."""
    header = entry[1]
    number = float(header.get("InstanceNumber") or 0)
    place, axes = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if not place or not axes:
        return number, number
    normal = np.cross([float(v) for v in axes[:3]], [float(v) for v in axes[3:]])
    return float(np.dot(normal, [float(v) for v in place])), number


def _class_names(labels: list[tuple[str, Any]]) -> list[str]:
    """Names of the segments and regions of all files, each once."""
    names: dict[str, None] = {}
    for _, header in labels:
        for segment in header.get("SegmentSequence", []):
            names[str(segment.SegmentLabel)] = None
        for region in header.get("StructureSetROISequence", []):
            names[str(region.ROIName)] = None
    return list(names)


def _samples(
    source: Source,
    series: list[_Series],
    labels: list[tuple[str, Any]],
    names: list[str],
    pictures: list[str],
    options: Options,
    report: Report,
) -> Iterator[Sample]:
    shapes = _shapes_by_slice(source, series, labels, names, report) if labels else {}
    for one in series:
        first = one.files[0][0]
        try:
            stack = _pixels(source, one)
            if any(uid in shapes for uid in one.uids):
                canvas = Canvas(*stack.size, report)
                masks = [canvas.paint(shapes.get(uid, []))[0] for uid in one.uids]
            else:
                masks = _picture_masks(source, one, pictures, report)
        except UserError as error:
            report.fault(first, f"and its series cannot be converted: {error}", "get it again")
            continue
        if not masks:
            report.leave_out(first, "a series without masks")
            continue
        if any(mask.shape != stack.size for mask in masks):
            reason = f"has slices of {stack.size} (height, width) but masks of another size"
            report.fault(first, reason, "correct the masks")
            continue
        place = Place(one.name, first, first, one.group, part_of(posixpath.dirname(first)))
        yield from samples_of(place, stack, Stack(np.stack(masks)), options, report)


def _pixels(source: Source, series: _Series) -> Stack:
    """Values of all slices, in the unit of the modality."""
    pydicom = import_optional("pydicom", "reading DICOM", "import")
    pixels = import_optional("pydicom.pixels", "reading DICOM", "import")
    planes: list[Any] = []
    white_is_low = False
    for name, _ in series.files:
        try:
            data = pydicom.dcmread(source.files[name])
            values = pixels.apply_rescale(data.pixel_array, data)
        except (RuntimeError, ValueError, AttributeError, NotImplementedError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"'{name}' has pixels that cannot be decoded ({reason}); save it uncompressed"
            ) from error
        white_is_low |= str(data.get("PhotometricInterpretation", "")) == "MONOCHROME1"
        planes += list(values) if int(data.get("NumberOfFrames", 1)) > 1 else [values]
    if len({plane.shape for plane in planes}) > 1:
        raise UserError("its slices differ in size")
    stacked = np.stack(planes)
    return Stack(stacked.max() - stacked if white_is_low else stacked)


def _shapes_by_slice(
    source: Source,
    series: list[_Series],
    labels: list[tuple[str, Any]],
    names: list[str],
    report: Report,
) -> dict[str, list[Shape]]:
    """Objects of each slice, by its SOPInstanceUID."""
    headers = {str(h.SOPInstanceUID): h for one in series for _, h in one.files}
    shapes: dict[str, list[Shape]] = defaultdict(list)
    for name, header in labels:
        read = _segments if str(header.Modality) == "SEG" else _contours
        try:
            entries = list(read(source, name, header, headers, names))
        except (AttributeError, KeyError, IndexError, ValueError, NotImplementedError) as error:
            report.fault(name, f"is not a usable {header.Modality} ({error})", "export it again")
            continue
        if missing := [uid for uid, _ in entries if uid not in headers]:
            reason = f"refers to {len(missing)} slices that are not there"
            report.fault(name, reason, "add the series that it belongs to")
        for uid, shape in entries:
            shapes[uid].append(shape)
    return shapes


def _segments(
    source: Source, name: str, header: Any, headers: dict[str, Any], names: list[str]
) -> Iterator[tuple[str, Shape]]:
    """Frames of a DICOM SEG, each of one segment of one slice."""
    pydicom = import_optional("pydicom", "reading DICOM", "import")
    size = int(header.Rows), int(header.Columns)
    frames = pydicom.dcmread(source.files[name]).pixel_array.reshape(-1, *size)
    labels = {int(s.SegmentNumber): str(s.SegmentLabel) for s in header.SegmentSequence}
    for frame, groups in zip(frames, header.PerFrameFunctionalGroupsSequence, strict=True):
        number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        origin = groups.DerivationImageSequence[0].SourceImageSequence[0]
        uid, index = str(origin.ReferencedSOPInstanceUID), names.index(labels[number]) + 1
        if uid in headers and (int(headers[uid].Rows), int(headers[uid].Columns)) != size:
            raise ValueError("its frames differ in size from their slices")
        yield uid, Shape(index, 0, 0, frame > 0)


def _contours(
    source: Source, name: str, header: Any, headers: dict[str, Any], names: list[str]
) -> Iterator[tuple[str, Shape]]:
    """Closed contours of an RTSTRUCT; those of one region in one slice make holes (even-odd)."""
    labels = {int(r.ROINumber): str(r.ROIName) for r in header.StructureSetROISequence}
    for region in header.ROIContourSequence:
        index = names.index(labels[int(region.ReferencedROINumber)]) + 1
        rings: dict[str, list[Any]] = defaultdict(list)
        for contour in region.get("ContourSequence", []):
            if str(contour.ContourGeometricType) == "CLOSED_PLANAR":
                uid = str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
                rings[uid].append(np.array(contour.ContourData, float).reshape(-1, 3))
        for uid, contours in rings.items():
            if uid in headers:
                slice_ = headers[uid]
                flat = [_to_pixels(points, slice_) for points in contours]
                canvas = Canvas(int(slice_.Rows), int(slice_.Columns), Report())
                yield uid, canvas.polygon(index, flat)
            else:
                yield uid, Shape(index, 0, 0, np.zeros((0, 0), bool))


def _to_pixels(points: Any, header: Any) -> Any:
    """Points (x, y) in pixels of a slice, from millimetres in the patient."""
    axes = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    down, across = (float(value) for value in header.PixelSpacing)
    offset = points - np.array(header.ImagePositionPatient, float)
    # The position is that of the centre of the first pixel, which is (0.5, 0.5) here.
    return np.stack([offset @ axes[0] / across, offset @ axes[1] / down], 1) + 0.5


def _picture_masks(
    source: Source, series: _Series, pictures: list[str], report: Report
) -> list[Any]:
    """Masks of the slices: pictures of the same stems, else as many pictures in natural order.

    Only pictures under the folder above that of the series count, such as patient1/Ground.
    """
    folder = posixpath.dirname(series.files[0][0])
    above = posixpath.dirname(folder)
    near = [name for name in pictures if not above or name.startswith(f"{above}/")]
    by_stem = {stem(name): name for name in near}
    stems = [stem(name) for name, _ in series.files]
    if all(key in by_stem for key in stems):
        return [read_mask(source.files[by_stem[key]]) for key in stems]
    if len(near) != len(stems):
        return []
    report.note(
        f"masks in '{posixpath.dirname(near[0])}' have other names than the slices: they belong to "
        "the slices in the order of their names",
        "order",
    )
    names = sorted((name for name, _ in series.files), key=natural)
    in_order = dict(zip(names, near, strict=True))
    return [read_mask(source.files[in_order[name]]) for name, _ in series.files]
