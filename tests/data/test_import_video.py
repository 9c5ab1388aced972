"""CVAT for video: tracks become the masks of single frames."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import foreign
import numpy as np
import pytest

from bench.data.decode import decode_mask, instance_numbers
from bench.data.folder.read import read_folder
from bench.data.layouts.importing import import_folder
from bench.errors import UserError


def shape(frame: int, box: foreign.Box, kind: str, **others: str) -> tuple[str, dict[str, str]]:
    """An element of a track."""
    corners = zip(("xtl", "ytl", "xbr", "ybr"), map(str, box), strict=True)
    points = ";".join(f"{x},{y}" for x, y in foreign.corners(box))
    own = dict(corners) if kind == "box" else {"points": points}
    return kind, {"frame": str(frame), "outside": "0", "z_order": "0"} | own | others


def video(
    root: Path,
    tracks: dict[str, list[tuple[str, dict[str, str]]]],
    *,
    frames: str = "images/frame_{:06d}.png",
    size: int = foreign.COUNT,
) -> Path:
    """A video of `foreign.COUNT` frames with one track for each label."""
    top = ElementTree.Element("annotations")
    task = ElementTree.SubElement(ElementTree.SubElement(top, "meta"), "task")
    ElementTree.SubElement(task, "size").text = str(size)
    original = ElementTree.SubElement(task, "original_size")
    ElementTree.SubElement(original, "width").text = str(foreign.WIDTH)
    ElementTree.SubElement(original, "height").text = str(foreign.HEIGHT)
    labels = ElementTree.SubElement(task, "labels")
    for number, (label, shapes) in enumerate(tracks.items()):
        entry = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(entry, "name").text = label
        track = ElementTree.SubElement(top, "track", {"id": str(number), "label": label})
        for kind, attributes in shapes:
            ElementTree.SubElement(track, kind, attributes)
    for number in range(foreign.COUNT):
        foreign.save(root / frames.format(number), foreign.image(number))
    ElementTree.ElementTree(top).write(root / "annotations.xml")
    return root


def whole_tracks(until: int = foreign.COUNT) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Both objects in every frame, the second only before the frame `until`."""
    tracks: dict[str, list[tuple[str, dict[str, str]]]] = {"grain": [], "pore": []}
    for number in range(foreign.COUNT):
        (_, first), (_, second) = foreign.boxes(number)
        tracks["grain"].append(shape(number, first, "polygon", z_order="1"))
        if number < until:
            tracks["pore"].append(shape(number, second, "box"))
        elif number == until:
            tracks["pore"].append(shape(number, second, "box", outside="1"))
    return tracks


def test_a_video_becomes_frames_of_one_specimen(tmp_path: Path) -> None:
    raw = video(tmp_path / "raw", whole_tracks(until=5))
    done = import_folder(raw, tmp_path / "target")
    assert (done.layout, done.images, done.fault) == ("cvat", foreign.COUNT, "")
    assert "each video is one specimen, because its frames look alike" in done.sentences
    collection = read_folder(tmp_path / "target")
    assert collection.classes == ("background", "grain", "pore")
    assert len({item.group for item in collection.items}) == 1
    for number, item in enumerate(collection.items):
        assert item.name == f"frame_{number:06d}"
        truth = foreign.mask(number)
        truth[truth == (0 if number < 5 else 2)] = 0
        np.testing.assert_array_equal(decode_mask(item, collection), truth)
        np.testing.assert_array_equal(instance_numbers(item, truth.shape), truth)


def test_two_videos_are_two_specimens(tmp_path: Path) -> None:
    for name in ("a", "b"):
        video(tmp_path / "raw" / name, whole_tracks())
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    assert done.images == 2 * foreign.COUNT
    groups = {item.group for item in read_folder(tmp_path / "target").items}
    assert groups == {"a", "b"}


def test_frames_of_other_names_are_counted_in_their_order(tmp_path: Path) -> None:
    raw = video(tmp_path / "raw", whole_tracks(), frames="out/shot{:03d}.png")
    for file in sorted((raw / "out").iterdir(), reverse=True):  # ffmpeg counts from 1
        file.rename(file.with_name(f"shot{int(file.stem[4:]) + 1:03d}.png"))
    done = import_folder(raw, tmp_path / "target")
    assert any("'out/shot001.png' is frame 0" in line for line in done.sentences)
    collection = read_folder(tmp_path / "target")
    np.testing.assert_array_equal(decode_mask(collection.items[3], collection), foreign.mask(3))


def test_key_frames_alone_are_interpolated(tmp_path: Path) -> None:
    tracks = whole_tracks()
    tracks = {label: [shapes[0], shapes[-1]] for label, shapes in tracks.items()}
    done = import_folder(video(tmp_path / "raw", tracks), tmp_path / "target")
    assert f"{2 * (foreign.COUNT - 2)} objects, interpolated between key frames" in done.sentences
    collection = read_folder(tmp_path / "target")
    for number, item in enumerate(collection.items):  # both objects move one pixel in each frame
        np.testing.assert_array_equal(decode_mask(item, collection), foreign.mask(number))


def corner_less(tracks: Any) -> Any:
    kind, attributes = tracks["grain"][-1]
    points = attributes["points"].rpartition(";")[0]
    return {**tracks, "grain": [tracks["grain"][0], (kind, attributes | {"points": points})]}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            corner_less,
            {},
            r"lacks frames 1 to 6 of track 0 \(grain\), and its polygon cannot be int",
        ),
        (dict, {"frames": "shot{}.png", "size": 9}, "with 9 frames, but there are 8 images; expo"),
        (
            lambda tracks: {**tracks, "pore": [shape(11, (2, 2, 9, 9), "box")]},
            {},
            r"'frame 11' of 'annotations\.xml' is not there; export the task with its images",
        ),
    ],
)
def test_what_cannot_be_said_is_refused(
    tmp_path: Path, change: Any, options: Any, message: str
) -> None:
    raw = video(tmp_path / "raw", change(whole_tracks()), **options)
    with pytest.raises(UserError, match=message):
        import_folder(raw, tmp_path / "target")


def test_a_video_without_its_frames_is_refused(tmp_path: Path) -> None:
    raw = video(tmp_path / "raw", whole_tracks())
    for file in (raw / "images").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="its frames are not there; export the task with its"):
        import_folder(raw, tmp_path / "target")
