"""Small DICOM series with their masks, of the images of `foreign`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import foreign
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SPACING = 0.5  # mm


def series(root: Path) -> Iterator[tuple[int, Dataset]]:
    """Four patients of two slices each, saved in another order than their positions."""
    for patient in range(4):
        uid = generate_uid(entropy_srcs=[f"series {patient}"])
        for place in (1, 0):
            number = 2 * patient + place
            slice_ = _base("CT", f"slice {number}", uid, f"secret {patient}")
            slice_.InstanceNumber = place + 1
            slice_.ImagePositionPatient = [-10, -20, 5 * place]
            slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            slice_.PixelSpacing = [SPACING, SPACING]
            slice_.RescaleSlope, slice_.RescaleIntercept = 1, -1024
            _pixels(slice_, foreign.image(number).astype(np.uint16) * 4, 16)
            path = root / f"P{patient}" / "CT" / f"{7 + place}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            slice_.save_as(path, enforce_file_format=True)
            yield number, slice_


def dicom_seg(root: Path) -> dict[str, foreign.Mask]:
    """One DICOM SEG for each patient, with one frame for each segment of each slice."""
    slices = dict(series(root))
    for patient in range(4):
        seg = _base("SEG", f"seg {patient}", generate_uid(), f"secret {patient}")
        seg.SegmentationType = "BINARY"
        seg.SegmentSequence = Sequence([_segment(1, "grain"), _segment(2, "pore")])
        frames, groups = [], []
        for number in range(2 * patient, 2 * patient + 2):
            for index in (1, 2):
                frames.append(foreign.mask(number) == index)
                groups.append(_frame(index, slices[number]))
        seg.PerFrameFunctionalGroupsSequence = Sequence(groups)
        seg.NumberOfFrames = len(frames)
        packed = pack_bits(np.stack(frames).astype(np.uint8).ravel())
        _pixels(seg, np.zeros((foreign.HEIGHT, foreign.WIDTH), np.uint8), 1)
        seg.PixelData = packed
        seg.save_as(root / f"P{patient}" / "seg.dcm", enforce_file_format=True)
    return _truth()


def dicom_contours(root: Path) -> dict[str, foreign.Mask]:
    """One RTSTRUCT for each patient, of rectangles along the edges of pixels."""
    slices = dict(series(root))
    for patient in range(4):
        struct = _base("RTSTRUCT", f"rt {patient}", generate_uid(), f"secret {patient}")
        struct.StructureSetROISequence = Sequence()
        struct.ROIContourSequence = Sequence()
        for index, name in ((1, "grain"), (2, "pore")):
            region, contours = Dataset(), Dataset()
            region.ROINumber, region.ROIName = index, name
            contours.ReferencedROINumber, contours.ContourSequence = index, Sequence()
            for number in range(2 * patient, 2 * patient + 2):
                box = dict(foreign.boxes(number))[index]
                contours.ContourSequence.append(_contour(box, slices[number]))
            struct.StructureSetROISequence.append(region)
            struct.ROIContourSequence.append(contours)
        struct.save_as(root / f"P{patient}" / "struct.dcm", enforce_file_format=True)
    return _truth()


def dicom_pictures(root: Path) -> dict[str, foreign.Mask]:
    """One PNG for each slice in another folder, in the order of the names, as in CHAOS."""
    for number, _ in series(root):
        patient, place = divmod(number, 2)
        name = f"mask_{place:03d}.png"
        foreign.save(root / f"P{patient}" / "Ground" / name, foreign.mask(number))
    return _truth()


def _truth() -> dict[str, foreign.Mask]:
    return {
        f"patient{number // 2 + 1:03d}_1_s{number % 2:03d}": foreign.mask(number)
        for number in range(8)
    }


def _base(modality: str, entropy: str, series_uid: str, patient: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[entropy])
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SeriesInstanceUID, dataset.PatientID = series_uid, patient
    dataset.PatientName, dataset.Modality = patient, modality
    return dataset


def _pixels(dataset: Dataset, values: Any, bits: int) -> None:
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = values.tobytes()


def _segment(number: int, label: str) -> Dataset:
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = number, label
    return segment


def _frame(number: int, slice_: Dataset) -> Dataset:
    frame, segment, origin, derived = Dataset(), Dataset(), Dataset(), Dataset()
    segment.ReferencedSegmentNumber = number
    frame.SegmentIdentificationSequence = Sequence([segment])
    origin.ReferencedSOPInstanceUID = slice_.SOPInstanceUID
    derived.SourceImageSequence = Sequence([origin])
    frame.DerivationImageSequence = Sequence([derived])
    return frame


def _contour(box: foreign.Box, slice_: Dataset) -> Dataset:
    contour, image = Dataset(), Dataset()
    x, y, z = (float(value) for value in slice_.ImagePositionPatient)
    points = [
        (x + (column - 0.5) * SPACING, y + (row - 0.5) * SPACING, z)
        for column, row in foreign.corners(box)
    ]
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.ContourData = [value for point in points for value in point]
    image.ReferencedSOPInstanceUID = slice_.SOPInstanceUID
    contour.ContourImageSequence = Sequence([image])
    return contour
