"""MATLAB files: masks next to images, images and masks in one file, versions 5 and 7.3."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from bench.data.decode import decode, decode_mask, instance_numbers
from bench.data.folder.read import read_folder
from bench.data.layouts.draft import Options
from bench.data.layouts.importing import import_folder
from bench.errors import UserError

h5py = pytest.importorskip("h5py")

Write = Callable[[Path, dict[str, Any]], None]


def version_5(file: Path, content: dict[str, Any]) -> None:
    """As MATLAB saves by default: dictionaries are structs, lists are cells."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(file, {name: _cells(value) for name, value in content.items()})


def _cells(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cells(one) for name, one in value.items()}
    if not isinstance(value, list):
        return value
    cell = np.empty((1, len(value)), object)
    for place, one in enumerate(value):
        cell[0, place] = _cells(one)
    return cell


def version_73(file: Path, content: dict[str, Any]) -> None:
    """As MATLAB saves with -v7.3: HDF5 behind 512 bytes, columns first, cells of references."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w", userblock_size=512) as opened:
        for name, value in content.items():
            _write(opened, opened, name, value)
    with file.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")


def _write(opened: Any, node: Any, name: str, value: Any) -> Any:
    if isinstance(value, dict):
        group = node.create_group(name)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for key, one in value.items():
            _write(opened, group, key, one)
        return group
    if isinstance(value, list):
        store = opened.require_group("#refs#")
        elements = [_write(opened, store, f"{name}{k}", one) for k, one in enumerate(value)]
        cell = node.create_dataset(name, (len(value), 1), h5py.ref_dtype)
        for place, element in enumerate(elements):
            cell[place, 0] = element.ref
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        return cell
    if isinstance(value, str):
        made = node.create_dataset(name, data=np.array([[ord(sign)] for sign in value], np.uint16))
        made.attrs["MATLAB_class"] = np.bytes_("char")
        return made
    made = node.create_dataset(name, data=np.asarray(value).T)
    made.attrs["MATLAB_class"] = np.bytes_(np.asarray(value).dtype.name)
    return made


VERSIONS = pytest.mark.parametrize("save", [version_5, version_73])


@VERSIONS
@pytest.mark.parametrize(
    "wrap",
    [
        lambda mask: {"anything": mask},
        lambda mask: {"mask": mask, "centroids": np.ones((3, 2)), "scale": 2.5, "by": "me"},
        lambda mask: {"groundTruth": {"Segmentation": mask, "Boundaries": mask * 0}},
        lambda mask: {"groundTruth": [{"Segmentation": mask}, {"Segmentation": mask * 0}]},
        lambda mask: {"label": mask.astype(np.float64)},
    ],
    ids=["alone", "named", "struct", "cells", "double"],
)
def test_masks_next_to_images(
    tmp_path: Path, save: Write, wrap: Callable[[Any], dict[str, Any]]
) -> None:
    for number, name in enumerate(foreign.NAMES):
        foreign.save(tmp_path / "raw" / "images" / f"{name}.png", foreign.image(number))
        save(tmp_path / "raw" / "groundTruth" / f"{name}.mat", wrap(foreign.mask(number)))
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    assert (done.layout, done.images, done.fault) == ("pairs", foreign.COUNT, "")
    collection = read_folder(tmp_path / "target")
    for number, item in enumerate(collection.items):
        np.testing.assert_array_equal(decode_mask(item, collection), foreign.mask(number))
        assert item.image == tmp_path / "target" / "images" / f"image_{number}.png"


@VERSIONS
def test_images_and_masks_of_one_file_each(tmp_path: Path, save: Write) -> None:
    for number, name in enumerate(foreign.NAMES):
        both = {"img": foreign.image(number), "gt": foreign.mask(number), "id": number}
        save(tmp_path / "raw" / f"{name}.mat", both)
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    assert (done.layout, done.images, done.fault) == ("arrays", foreign.COUNT, "")
    collection = read_folder(tmp_path / "target")
    for number, item in enumerate(collection.items):
        image, mask = decode(item, collection)
        np.testing.assert_array_equal(image[..., 0], foreign.image(number))
        np.testing.assert_array_equal(mask, foreign.mask(number))


@VERSIONS
def test_slices_are_the_last_axis(tmp_path: Path, save: Write) -> None:
    for case in range(4):
        numbers = [(case + k) % foreign.COUNT for k in range(5)]
        volume = np.stack([foreign.image(number) for number in numbers], axis=-1)
        labels = np.stack([foreign.mask(number) for number in numbers], axis=-1)
        save(tmp_path / "raw" / f"v{case}.mat", {"image": volume, "label": labels})
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    assert done.images == 20
    collection = read_folder(tmp_path / "target")
    assert len({item.group for item in collection.items}) == 4
    item = next(item for item in collection.items if item.name == "v2_s003")
    np.testing.assert_array_equal(decode_mask(item, collection), foreign.mask(5))


@VERSIONS
def test_numbers_of_objects_beside_their_classes(tmp_path: Path, save: Write) -> None:
    """As in CoNSeP: inst_map numbers nuclei, type_map has their classes."""
    for number, name in enumerate(foreign.NAMES):
        foreign.save(tmp_path / "raw" / "Images" / f"{name}.png", foreign.image(number))
        numbers = foreign.mask(number).astype(np.float64) * 7
        maps = {"inst_map": numbers, "type_map": np.minimum(foreign.mask(number), 1) * 1.0}
        save(
            tmp_path / "raw" / "Labels" / f"{name}.mat",
            {**maps, "inst_type": np.ones((2, 1)), "inst_centroid": np.ones((2, 2))},
        )
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    assert any("'type_map' is read" in line for line in done.sentences)
    collection = read_folder(tmp_path / "target")
    item = collection.items[3]
    np.testing.assert_array_equal(decode_mask(item, collection), foreign.mask(3) > 0)
    shape = foreign.mask(3).shape
    np.testing.assert_array_equal(instance_numbers(item, shape), foreign.mask(3) * 7)


def test_sparse_masks_and_colour_images(tmp_path: Path) -> None:
    for number, name in enumerate(foreign.NAMES):
        colour = np.dstack([foreign.image(number + k) for k in range(3)])
        version_5(tmp_path / "raw" / "images" / f"{name}.mat", {"im": colour})
        sparse = scipy.sparse.csc_matrix(foreign.mask(number).astype(float))
        version_5(tmp_path / "raw" / "masks" / f"{name}.mat", {"m": sparse})
    import_folder(tmp_path / "raw", tmp_path / "target")
    collection = read_folder(tmp_path / "target")
    image, mask = decode(collection.items[1], collection)
    np.testing.assert_array_equal(image[..., 2], foreign.image(3))
    np.testing.assert_array_equal(mask, foreign.mask(1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": np.ones((4, 4)), "b": np.ones((5, 5))}, r"2 arrays \(a, b\) and no name says"),
        ({"size": 3.0, "by": "me"}, "holds no array of an image or mask; save it with one array"),
        (b"MATLAB 5.0 MAT-file" + bytes(300), "as a MATLAB file .*; save it again"),
        (b"\x89HDF\r\n\x1a\n" + bytes(300), "as a MATLAB file .*; save it again"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: Any, message: str) -> None:
    for number, name in enumerate(foreign.NAMES):
        foreign.save(tmp_path / "raw" / "images" / f"{name}.png", foreign.image(number))
        version_5(tmp_path / "raw" / "masks" / f"{name}.mat", {"m": foreign.mask(number)})
    file = tmp_path / "raw" / "masks" / "image_2.mat"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        version_5(file, content)
    with pytest.raises(UserError, match=message) as raised:
        import_folder(tmp_path / "raw", tmp_path / "target")
    assert "\n" not in str(raised.value)
    done = import_folder(tmp_path / "raw", tmp_path / "target", options=Options(skip=True))
    assert done.images == foreign.COUNT - 1
