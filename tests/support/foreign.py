"""Small folders in the layouts of other tools, all of the same images and objects.

Each function writes one layout and returns the truth: name of each image to its mask.
"""

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

HEIGHT, WIDTH, COUNT = 40, 48, 8
NAMES = [f"image_{number}" for number in range(COUNT)]
PARTS = ["train"] * 4 + ["val"] * 2 + ["test"] * 2

Mask = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom, in edges of pixels


def boxes(number: int) -> list[tuple[int, Box]]:
    """Class (1 or 2) and box of the two objects of an image; they do not touch."""
    return [
        (1, (3 + number, 4, 15 + number, 14 + number)),
        (2, (26, 20 + number, 40 + number, 30 + number)),
    ]


def mask(number: int, one_class: bool = False) -> Mask:
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    for index, (left, top, right, bottom) in boxes(number):
        values[top:bottom, left:right] = 1 if one_class else index
    return values


def image(number: int) -> Mask:
    cloud = np.random.default_rng(number).integers(0, 90, (HEIGHT, WIDTH), np.uint8)
    return (mask(number) * np.uint8(70) + cloud).astype(np.uint8)


def save(path: Path, values: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def corners(box: Box) -> list[list[float]]:
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _truth(one_class: bool = False) -> dict[str, Mask]:
    return {name: mask(number, one_class) for number, name in enumerate(NAMES)}


def runs(inside: npt.NDArray[Any]) -> list[int]:
    """Lengths of runs down the columns, the first of zeros."""
    flat = np.concatenate([[0], (inside != 0).astype(int).ravel(order="F")])
    starts = np.flatnonzero(np.diff(flat)) + 0
    ends = [*starts, inside.size]
    return [int(n) for n in np.diff([0, *ends])]


def coco(root: Path) -> dict[str, Mask]:
    """Polygons and run lengths (as text and as lists), in three JSON files by part."""
    from pycocotools import mask as rle

    for part in ("train", "val", "test"):
        content: dict[str, Any] = {"images": [], "annotations": []}
        content["categories"] = [{"id": 3, "name": "grain"}, {"id": 7, "name": "pore"}]
        for number, name in enumerate(NAMES):
            if PARTS[number] != part:
                continue
            save(root / f"{part}2017" / f"{name}.png", image(number))
            size = {"height": HEIGHT, "width": WIDTH}
            content["images"].append({"id": number, "file_name": f"{name}.png", **size})
            for index, box in boxes(number):
                inside = np.zeros((HEIGHT, WIDTH), np.uint8)
                inside[box[1] : box[3], box[0] : box[2]] = 1
                form: Any = [[value for point in corners(box) for value in point]]
                if number % 3 == 1:
                    form = {"size": [HEIGHT, WIDTH], "counts": runs(inside)}
                elif number % 3 == 2:
                    form = rle.encode(np.asfortranarray(inside))
                    form["counts"] = form["counts"].decode()
                entry = {"id": len(content["annotations"]) + 1, "image_id": number, "iscrowd": 0}
                entry |= {"category_id": {1: 3, 2: 7}[index], "segmentation": form}
                content["annotations"].append(entry)
        write(root / "annotations" / f"instances_{part}2017.json", content)
    return _truth()


def labelme(root: Path) -> dict[str, Mask]:
    """A polygon and a rectangle in each file; the last image is only inside its JSON file."""
    for number, name in enumerate(NAMES):
        (_, first), (_, second) = boxes(number)
        left, top, right, bottom = second
        shapes: list[dict[str, Any]] = [
            {"label": "a grain", "points": corners(first), "shape_type": "polygon"},
            {
                "label": "b pore",
                "points": [[left, top], [right, bottom]],
                "shape_type": "rectangle",
                "group_id": None,
            },
        ]
        data = None
        if number == COUNT - 1:
            buffer = io.BytesIO()
            Image.fromarray(image(number)).save(buffer, "PNG")
            data = base64.b64encode(buffer.getvalue()).decode()
        else:
            save(root / f"{name}.png", image(number))
        content: dict[str, Any] = {"version": "5.5.0", "shapes": shapes, "imagePath": f"{name}.png"}
        content |= {"imageData": data, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        write(root / f"{name}.json", content)
    return _truth()


def voc(root: Path) -> dict[str, Mask]:
    """Palette masks with a border of 255, and lists of parts."""
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0, *[0] * 747, 224, 224, 192]
    for number, name in enumerate(NAMES):
        save(root / "JPEGImages" / f"{name}.jpg", image(number))
        for folder, values in (
            ("SegmentationClass", mask(number)),
            ("SegmentationObject", mask(number)),
        ):
            values[0] = 255
            marked = Image.fromarray(values, "L")
            marked.putpalette(palette)
            (root / folder).mkdir(exist_ok=True)
            marked.save(root / folder / f"{name}.png")
    for part in ("train", "val", "test"):
        listed = [name for name, own in zip(NAMES, PARTS, strict=True) if own == part]
        write(root / "ImageSets" / "Segmentation" / f"{part}.txt", "\n".join(listed))
    write(root / "labelmap.txt", "background:0,0,0::\ngrain:1,1,1::\npore:2,2,2::\n")
    truth = _truth()
    for values in truth.values():
        values[0] = 255
    return truth


def yolo(root: Path) -> dict[str, Mask]:
    for number, name in enumerate(NAMES):
        save(root / "images" / PARTS[number] / f"{name}.png", image(number))
        lines = []
        for index, box in boxes(number):
            shares = [f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in corners(box)]
            lines.append(f"{index - 1} {' '.join(shares)}")
        write(root / "labels" / PARTS[number] / f"{name}.txt", "\n".join(lines) + "\n")
    write(root / "data.yaml", "train: images/train\nnames:\n  0: grain\n  1: pore\n")
    return _truth()


def rle_csv(root: Path) -> dict[str, Mask]:
    """One row for each object; the last image has none."""
    rows = [["ImageId", "EncodedPixels"]]
    for number, name in enumerate(NAMES):
        save(root / "train_images" / f"{name}.jpg", image(number))
        for _, (left, top, right, bottom) in boxes(number) if number < COUNT - 1 else []:
            starts = [column * HEIGHT + top + 1 for column in range(left, right)]
            rows.append([f"{name}.jpg", " ".join(f"{start} {bottom - top}" for start in starts)])
    rows.append([f"{NAMES[-1]}.jpg", ""])
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    truth = _truth(one_class=True)
    truth[NAMES[-1]][:] = 0
    return truth


def nnunet(root: Path) -> dict[str, Mask]:
    """Four volumes of two slices and two channels."""
    truth: dict[str, Mask] = {}
    for case in range(4):
        slices = [2 * case, 2 * case + 1]
        for channel in (0, 1):
            values = np.stack([image(number).T.astype(np.int16) * 3 for number in slices], -1)
            path = root / "imagesTr" / f"case_{case:03d}_{channel:04d}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values + channel, np.diag([1, 1, 5, 1])), path)
        labels = np.stack([mask(number).T for number in slices], -1)
        path = root / "labelsTr" / f"case_{case:03d}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(labels, np.diag([1, 1, 5, 1])), path)
        truth |= {f"case_{case:03d}_s{k:03d}": mask(number) for k, number in enumerate(slices)}
    content = {"channel_names": {"0": "T1", "1": "T2"}, "numTraining": 4, "file_ending": ".nii.gz"}
    content["labels"] = {"background": 0, "grain": 1, "pore": 2}
    write(root / "dataset.json", content)
    return truth


def object_masks(root: Path) -> dict[str, Mask]:
    for number, name in enumerate(NAMES):
        save(root / name / "images" / f"{name}.png", image(number))
        for index, (left, top, right, bottom) in boxes(number):
            values = np.zeros((HEIGHT, WIDTH), np.uint8)
            values[top:bottom, left:right] = 255
            save(root / name / "masks" / f"object{index}.png", values)
    return _truth(one_class=True)


def class_folders(root: Path) -> dict[str, Mask]:
    for number, name in enumerate(NAMES):
        save(root / "images" / f"{name}.png", image(number))
        for index, kind in ((1, "grain"), (2, "pore")):
            save(root / "masks" / kind / f"{name}.png", (mask(number) == index) * np.uint8(255))
    return _truth()


def patients(root: Path) -> dict[str, Mask]:
    """One folder for each patient, of slices and masks with a suffix (TIFF)."""
    truth: dict[str, Mask] = {}
    for number in range(COUNT):
        for slice_ in (1, 2):
            stem = f"patient{number}_{slice_}"
            save(root / f"patient{number}" / f"{stem}.tif", image(number) // slice_)
            save(root / f"patient{number}" / f"{stem}_mask.tif", mask(number) * np.uint8(100))
            truth[stem] = mask(number) * np.uint8(100)
    return truth


def parts(root: Path) -> dict[str, Mask]:
    """train/val/test, each with images/ and labels/; WebP images."""
    for number, name in enumerate(NAMES):
        folder = root / PARTS[number]
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image(number)).save(folder / "images" / f"{name}.webp", lossless=True)
        save(folder / "labels" / f"{name}.png", mask(number))
    return _truth()


def suffix(pattern: str) -> Callable[[Path], dict[str, Mask]]:
    """A layout of masks next to their images, named by a pattern such as "{}_mask.png"."""

    def make(root: Path) -> dict[str, Mask]:
        for number, name in enumerate(NAMES):
            save(root / f"{name}.png", image(number))
            save(root / pattern.format(name), mask(number))
        return _truth(one_class="cp_masks" in pattern)

    return make


def npz(root: Path) -> dict[str, Mask]:
    """One file for each slice, as of Synapse in TransUNet."""
    for number, name in enumerate(NAMES):
        root.mkdir(exist_ok=True)
        shown = image(number).astype(np.float32) / 255
        np.savez(root / f"{name}.npz", image=shown, label=mask(number).astype(np.float32))
    return _truth()


def npy_set(root: Path) -> dict[str, Mask]:
    """All images in one array for each part."""
    root.mkdir(exist_ok=True)
    truth: dict[str, Mask] = {}
    for part in ("train", "val", "test"):
        numbers = [number for number in range(COUNT) if PARTS[number] == part]
        np.save(root / f"X_{part}.npy", np.stack([image(number) for number in numbers]))
        np.save(root / f"y_{part}.npy", np.stack([mask(number) for number in numbers]))
        truth |= {f"{part}_s{k:03d}": mask(number) for k, number in enumerate(numbers)}
    return truth


def npy_pairs(root: Path) -> dict[str, Mask]:
    for number, name in enumerate(NAMES):
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        np.save(root / "images" / f"{name}.npy", image(number))
        np.save(root / "masks" / f"{name}.npy", mask(number).astype(np.int64))
    return _truth()


def ome_tiff(root: Path) -> dict[str, Mask]:
    """Four stacks of two slices and two channels of 16 bits, with stacks of masks."""
    truth: dict[str, Mask] = {}
    for case in range(4):
        slices = [2 * case, 2 * case + 1]
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        values = np.stack([[image(number).astype(np.uint16) * 9] * 2 for number in slices])
        meta = {"axes": "ZCYX"}
        tifffile.imwrite(root / "images" / f"case{case}.ome.tif", values, metadata=meta)
        labels = np.stack([mask(number) for number in slices])
        tifffile.imwrite(root / "masks" / f"case{case}.tif", labels, photometric="minisblack")
        truth |= {f"case{case}_s{k:03d}": mask(number) for k, number in enumerate(slices)}
    return truth


def nifti(root: Path) -> dict[str, Mask]:
    """One folder for each patient, of a scan and its segmentation."""
    truth: dict[str, Mask] = {}
    for case in range(COUNT):
        folder = root / f"sub-{case:02d}"
        folder.mkdir(parents=True)
        values = image(case).T[:, :, None].astype(np.float32)
        nib.save(nib.Nifti1Image(values, np.eye(4)), folder / f"sub-{case:02d}_img.nii.gz")
        labels = mask(case).T[:, :, None]
        nib.save(nib.Nifti1Image(labels, np.eye(4)), folder / f"sub-{case:02d}_seg.nii.gz")
        truth[f"sub-{case:02d}_img"] = mask(case)
    return truth


def cvat(root: Path) -> dict[str, Mask]:
    """A polygon and a run-length mask in each image, with a box below the polygon."""
    top_element = ElementTree.Element("annotations")
    labels = ElementTree.SubElement(ElementTree.SubElement(top_element, "meta"), "labels")
    for name in ("grain", "pore"):
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    for number, name in enumerate(NAMES):
        save(root / "images" / f"{name}.png", image(number))
        size = {"name": f"{name}.png", "width": str(WIDTH), "height": str(HEIGHT)}
        record = ElementTree.SubElement(top_element, "image", size)
        (_, first), (_, (left, top, right, bottom)) = boxes(number)
        points = ";".join(f"{x},{y}" for x, y in corners(first))
        attributes = {"label": "grain", "points": points, "z_order": "1"}
        ElementTree.SubElement(record, "polygon", attributes)
        inner = [str(v) for v in (first[0] + 2, first[1] + 2, first[2] - 2, first[3] - 2)]
        attributes = dict(zip(("xtl", "ytl", "xbr", "ybr"), inner, strict=True))
        ElementTree.SubElement(record, "box", {"label": "pore", "z_order": "0", **attributes})
        numbers = {"left": left, "top": top, "width": right - left, "height": bottom - top}
        attributes = {key: str(value) for key, value in numbers.items()}
        attributes |= {"label": "pore", "rle": f"0, {(right - left) * (bottom - top)}"}
        ElementTree.SubElement(record, "mask", attributes)
    ElementTree.ElementTree(top_element).write(root / "annotations.xml")
    return _truth()


def geojson(root: Path) -> dict[str, Mask]:
    """QuPath's form; the grain has a hole of 2 x 2 pixels, and the image has a region to ignore."""
    truth = _truth()
    for number, name in enumerate(NAMES):
        save(root / f"{name}.tif", image(number))
        features = []
        for index, box in boxes(number):
            rings: list[list[list[float]]] = [[*corners(box), corners(box)[0]]]
            if index == 1:
                left, top = box[0] + 3, box[1] + 3
                hole = corners((left, top, left + 2, top + 2))
                rings.append([*hole, hole[0]])
                truth[name][top : top + 2, left : left + 2] = 0
            label = {1: "Grain", 2: "Pore"}[index]
            properties = {"objectType": "detection", "classification": {"name": label}}
            geometry = {"type": "Polygon", "coordinates": rings}
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})
        edge: list[list[float]] = [*corners((0, 0, WIDTH, 2)), [0, 0]]
        geometry = {"type": "Polygon", "coordinates": [edge]}
        properties = {"classification": {"name": "Ignore*"}}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
        truth[name][:2] = 255
        write(root / f"{name}.geojson", {"type": "FeatureCollection", "features": features})
    return truth
