"""Pascal VOC: JPEGImages, SegmentationClass, SegmentationObject, lists of names in ImageSets."""

import posixpath
from collections import defaultdict
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np

from bench.data.layouts.draft import Draft, Options, Report, Sample
from bench.data.layouts.source import Source, stem
from bench.data.masks import COLOUR, read_instances, read_mask
from bench.errors import UserError

_MASKS = ("SegmentationClassPNG", "SegmentationClass")
_VOID = 255
_VOID_COLOUR = COLOUR + 0xE0E0C0  # of 255 in the palette of VOC
NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)


def recognise(source: Source) -> str | None:
    """Why the folder looks like VOC: class masks in SegmentationClass, and images elsewhere."""
    masks = _masks(source)
    return f"'{posixpath.dirname(masks[0])}/' holds class masks" if masks else None


def convert(source: Source, options: Options, report: Report) -> Draft:
    """The masks as they are; 255 is unlabelled, also in SegmentationObject.

    Names of classes are those of `labelmap.txt` or `class_names.txt`; those of Pascal VOC where
    Annotations/*.xml name its objects; otherwise the folder has none.

    Raises:
        UserError: a list of names is malformed.
    """
    return Draft(_classes(source, report), _samples(source, report))


def _masks(source: Source) -> list[str]:
    for folder in _MASKS:
        names = [n for n in source.pictures if posixpath.basename(posixpath.dirname(n)) == folder]
        if names := [name for name in names if not name.endswith(".npy")]:
            return names
    return []


def _classes(source: Source, report: Report) -> dict[str, int | str] | None:
    for name in source.with_suffix(".txt"):
        lines = [line.strip() for line in source.text(name).splitlines() if line.strip()]
        if posixpath.basename(name) == "labelmap.txt":
            table = _labelmap(name, lines)
            return table if _VOID in table.values() else {**table, "ignore": _VOID}
        if posixpath.basename(name) == "class_names.txt":
            names = [line for line in lines if line != "__ignore__"]
            named: dict[str, int | str] = {label: k for k, label in enumerate(names)}
            return {**named, "ignore": _VOID}
    objects: set[str] = set()
    for name in source.with_suffix(".xml")[:200]:
        try:
            objects |= {str(e.text) for e in ElementTree.fromstring(source.text(name)).iter("name")}
        except ElementTree.ParseError:
            report.leave_out(name, "not valid XML")
    parts = {"head", "hand", "foot"}  # of persons
    if objects and objects <= {*NAMES, *parts}:
        report.note("Annotations/*.xml name classes of Pascal VOC: its 20 names are used")
        return {**{label: k for k, label in enumerate(NAMES)}, "ignore": _VOID}
    return None


def _labelmap(name: str, lines: list[str]) -> dict[str, int | str]:
    """Classes and colours of lines such as "crack:255,0,0::"; the background becomes the first."""
    table: dict[str, int | str] = {}
    for line in lines:
        if line.startswith("#"):
            continue
        label, _, rest = line.partition(":")
        try:
            red, green, blue = (int(value) for value in rest.split(":")[0].split(","))
        except ValueError as error:
            raise UserError(
                f"'{name}' has the line '{line}'; write lines such as 'crack:255,0,0::'"
            ) from error
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        table[label] = red if red == green == blue else colour
    first = [label for label in table if label == "background"]
    return {label: table[label] for label in [*first, *(n for n in table if n not in first)]}


def _samples(source: Source, report: Report) -> Iterator[Sample]:
    masks = _masks(source)
    folder = posixpath.dirname(masks[0])
    root = posixpath.dirname(folder)
    images = f"{root}/JPEGImages" if root else "JPEGImages"
    parts = _parts(source, report)
    objects = {
        stem(name): name
        for name in source.pictures
        if posixpath.basename(posixpath.dirname(name)).startswith("SegmentationObject")
        and not name.endswith(".npy")
    }
    used = set()
    pictures: dict[str, list[str]] = defaultdict(list)
    for name in source.pictures:
        if "Segmentation" not in name:
            pictures[stem(name)].append(name)
    for mask in masks:
        files = pictures[stem(mask)]
        file = next(
            (n for n in files if posixpath.dirname(n) == images), files[0] if files else None
        )
        if file is None:
            report.fault(mask, "has no image in JPEGImages", "add the image")
            continue
        used.add(file)
        numbers = None
        if stem(mask) in objects:
            try:
                numbers = read_mask(source.files[objects[stem(mask)]])
                void = np.isin(numbers, (_VOID, _VOID_COLOUR))
                numbers = read_instances(np.where(void, 0, numbers))
            except UserError as error:
                report.fault(objects[stem(mask)], f"cannot be read: {error}", "replace the file")
                continue
            report.counts["object"] += int(np.unique(numbers[numbers > 0]).size)
        name = stem(mask)
        yield Sample(
            name, file, source.files[file], source.files[mask], numbers, "", parts.get(name, "")
        )
    for name in source.pictures:
        if name not in used and "Segmentation" not in name:
            report.leave_out(name, "no mask in SegmentationClass")


def _parts(source: Source, report: Report) -> dict[str, str]:
    """Part of each name in ImageSets/Segmentation (else ImageSets, or the root)."""
    lists = [n for n in source.with_suffix(".txt") if stem(n) in ("train", "val", "test")]
    close = [n for n in lists if "ImageSets/Segmentation/" in n] or lists
    parts: dict[str, str] = {}
    for name in close:
        for line in source.text(name).split():
            label = stem(line) if "/" in line or "." in line else line
            if parts.setdefault(label, stem(name)) != stem(name):
                raise UserError(
                    f"'{label}' is in the lists {parts[label]}.txt and {stem(name)}.txt; keep it "
                    "in one"
                )
    if close:
        report.note(f"parts as in {', '.join(close)}")
    return parts
