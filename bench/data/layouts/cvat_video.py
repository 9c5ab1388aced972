"""CVAT for video 1.1: objects as tracks over the frames of a video.

CVAT writes each frame in which an object is, and one more with outside="1" after its last one.
Other programs write key frames only: boxes, ellipses, and polygons of as many points are then
interpolated linearly, as CVAT does for boxes. The frames are image files.
"""

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree.ElementTree import Element

from bench.data.layouts.draft import Report
from bench.data.layouts.source import Source, stem
from bench.errors import UserError

_NUMBERS = {
    "box": ("xtl", "ytl", "xbr", "ybr", "rotation"),
    "ellipse": ("cx", "cy", "rx", "ry", "rotation"),
    "polygon": (),
}
_OWN_NAME = re.compile(r"frame_(\d+)")  # of the images that CVAT exports with a video


class Record(NamedTuple):
    """An image with its objects.

    Attributes:
        file: path of the XML file.
        image: element <image> with its shapes, as in CVAT for images; its name is that of a file.
        group: the video; "" for single images.
    """

    file: str
    image: Element
    group: str = ""


def records_of_tracks(source: Source, name: str, root: Element, report: Report) -> list[Record]:
    """The frames of a video, each as an image; frames without an object, too.

    Args:
        source: the folder.
        name: path of the XML file.
        root: its root.
        report: gets notes on frames that were numbered by their order or interpolated.

    Raises:
        UserError: the frames are not there, or a track lacks frames that cannot be interpolated.
    """
    frames = _frames(source, name, root, report)
    attributes = {
        key: size.text.strip()
        for key in ("width", "height")
        if (size := root.find(f"meta//original_size/{key}")) is not None and size.text
    }
    group = posixpath.dirname(name) or stem(name)
    images = {
        number: Element("image", {"name": file, **attributes}) for number, file in frames.items()
    }
    for track in root.iterfind("track"):
        for number, shape in _shapes(name, track, report):
            if number not in images:
                report.fault(
                    f"frame {number}",
                    f"of '{name}' is not there",
                    "export the task with its images",
                )
                continue
            shape.set("label", track.get("label", ""))
            images[number].append(shape)
    report.note("each video is one specimen, because its frames look alike")
    return [Record(name, image, group) for image in images.values()]


def _frames(source: Source, name: str, root: Element, report: Report) -> dict[int, str]:
    """Number of each frame to its file, in ascending order."""
    folder = posixpath.dirname(name)
    inside = [file for file in source.pictures if not folder or file.startswith(f"{folder}/")]
    files = inside or source.pictures
    if not files:
        raise UserError(
            f"'{name}' holds tracks of a video, but its frames are not there; export the task with"
            " its images"
        )
    own = [_OWN_NAME.fullmatch(stem(file)) for file in files]
    numbers = [int(match[1]) for match in own if match]
    if len(numbers) == len(files) == len(set(numbers)):
        return dict(sorted(zip(numbers, files, strict=True)))
    size = root.findtext("meta//size")
    if size is None or int(size) != len(files):
        raise UserError(
            f"'{name}' is of a video with {size or 'an unknown number of'} frames, but there are"
            f" {len(files)} images; export the task with its images (frame_000000.png, ...)"
        )
    report.note(
        f"frames of '{name}' are the images in the order of their names: '{files[0]}' is frame 0"
    )
    return dict(enumerate(files))


def _shapes(name: str, track: Element, report: Report) -> Iterator[tuple[int, Element]]:
    """Frame and shape of an object wherever it is to be seen."""
    shapes = sorted(
        ((int(str(shape.get("frame"))), shape) for shape in track if shape.get("frame")),
        key=lambda entry: entry[0],
    )
    for place, (number, shape) in enumerate(shapes):
        if shape.get("outside", "0").lower() in ("1", "true"):
            continue
        yield number, Element(shape.tag, dict(shape.attrib))
        if place + 1 == len(shapes):
            break
        after, following = shapes[place + 1]
        for between in range(number + 1, after):
            made = _between(shape, following, (between - number) / (after - number))
            if made is None:
                raise UserError(
                    f"'{name}' lacks frames {number + 1} to {after - 1} of track"
                    f" {track.get('id', '')} ({track.get('label', '')}), and its {shape.tag} cannot"
                    " be interpolated; export it from CVAT, which writes every frame"
                )
            report.counts["object, interpolated between key frames"] += 1
            yield between, made


def _between(first: Element, last: Element, share: float) -> Element | None:
    """A shape between two key frames; None where it cannot be said.

    Args:
        first: the key frame before.
        last: the key frame after; where the object has left, it is still as in the first.
        share: of the way from the first to the last, in (0, 1).
    """
    made = Element(first.tag, dict(first.attrib))
    if last.get("outside", "0").lower() in ("1", "true"):
        return made
    if first.tag not in _NUMBERS or first.tag != last.tag:
        return None
    for key in _NUMBERS[first.tag]:
        if first.get(key) is not None or last.get(key) is not None:
            start, end = float(first.get(key, "0")), float(last.get(key, "0"))
            made.set(key, str(start + share * (end - start)))
    if first.tag == "polygon":
        ends = [
            [tuple(map(float, pair.split(","))) for pair in str(shape.get("points")).split(";")]
            for shape in (first, last)
        ]
        if len(ends[0]) != len(ends[1]):
            return None
        points = [
            ",".join(str(a + share * (b - a)) for a, b in zip(*pairs, strict=True))
            for pairs in zip(*ends, strict=True)
        ]
        made.set("points", ";".join(points))
    return made
