"""COCO JSON: polygons and run lengths of objects, drawn by pycocotools, whose rules define them."""

import posixpath
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

from bench.data.items import IGNORE
from bench.data.layouts.draft import Draft, Options, Report, Sample, class_indices, class_table
from bench.data.layouts.shapes import (
    Canvas,
    Drawing,
    FaultyImageError,
    Shape,
    as_ring,
    draw_samples,
    region,
)
from bench.data.layouts.source import Source, part_of
from bench.data.libraries import import_optional
from bench.errors import UserError

_KEYS = ("images", "annotations", "categories")
_REMEDY = "export polygons or masks"


def recognise(source: Source) -> str | None:
    """Why the folder looks like COCO: a JSON file with the three lists."""
    files = _files(source)
    return f"'{files[0]}' lists images, annotations and categories" if files else None


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Masks and instances of all images in the JSON files; `iscrowd` regions are ignored pixels.

    Raises:
        UserError: a list is malformed, or a category, an image or a polygon is faulty.
    """
    files = _files(source)
    named = [name for name in files if posixpath.basename(name).startswith("instances")]
    for name in files:
        if named and name not in named:
            report.leave_out(name, "not a file instances*.json")
    if not files:
        raise UserError(
            f"'{source.root}' has no JSON file with images, annotations and categories, as COCO"
            " has: leave --layout out to learn what it looks like"
        )
    documents = {name: source.json(name) for name in named or files}
    categories: dict[int, str] = {}
    for name, document in documents.items():
        for category in _records(name, document, "categories", "id", "name"):
            label = str(category["name"])
            if categories.setdefault(category["id"], label) != label:
                raise UserError(
                    f"'{name}' calls category {category['id']} '{label}', another file "
                    f"'{categories[category['id']]}'; import the files one by one"
                )
    used: set[Any] = {
        entry["category_id"]
        for name, document in documents.items()
        for entry in _records(name, document, "annotations", "image_id", "category_id")
    }
    if unused := [label for key, label in categories.items() if key not in used]:
        report.note(f"categories without an object are no classes: {', '.join(unused)}")
    kept = {key: categories[key] for key in sorted(used & categories.keys())}
    if not kept:
        raise UserError(f"'{next(iter(documents))}' has no objects of its categories; export again")
    crowded = any(
        entry.get("iscrowd") for document in documents.values() for entry in document["annotations"]
    )
    table = class_table(list(kept.values()), "the JSON file", ignored=crowded)
    indices = dict(zip(kept, class_indices(kept.values()).values(), strict=True))
    return Draft(table, _samples(source, documents, indices, report), _licence(documents))


def _files(source: Source) -> list[str]:
    def fits(document: Any) -> bool:
        return isinstance(document, dict) and all(
            isinstance(document.get(key), list) for key in _KEYS
        )

    return [name for name in source.sample_json() if fits(source.json_like(name))]


def _records(name: str, document: Any, key: str, *needed: str) -> list[dict[str, Any]]:
    for record in document[key]:
        if not isinstance(record, dict) or any(
            not isinstance(record.get(field), int | str) for field in needed
        ):
            raise UserError(
                f"'{name}' has an entry in {key} without {' or '.join(needed)}; export it again"
            )
    records: list[dict[str, Any]] = document[key]
    return records


def _samples(
    source: Source, documents: dict[str, Any], indices: dict[int, int], report: Report
) -> Iterator[Sample]:
    drawings: dict[str, Drawing] = {}
    for name, document in documents.items():
        records = _records(name, document, "images", "id", "file_name")
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for entry in document["annotations"]:
            by_image[entry["image_id"]].append(entry)
        ids = [record["id"] for record in records]
        if len(set(ids)) < len(ids):
            twice = next(key for key in ids if ids.count(key) > 1)
            raise UserError(f"'{name}' has two images with the id {twice}; give each its own")
        if unknown := sorted(map(str, by_image.keys() - set(ids))):
            raise UserError(
                f"'{name}' has objects of {len(unknown)} images that it does not list, such as id "
                f"{unknown[0]}; export it again"
            )
        for record in records:
            label = str(record["file_name"])
            file = source.find_picture(label, posixpath.dirname(name))
            if file is None:
                report.fault(label, f"is listed in '{name}' but is not there", "add the file")
            elif file in drawings:
                report.fault(label, "is listed twice", f"remove it from '{name}' or another file")
            else:
                draw = partial(_shapes, record, by_image[record["id"]], indices)
                drawings[file] = Drawing(draw, part=part_of(name))
    report.leave_out_others(source.pictures, drawings, "not listed in the JSON files")
    return draw_samples(source, drawings, report)


def _shapes(
    record: dict[str, Any], entries: list[dict[str, Any]], indices: dict[int, int], canvas: Canvas
) -> list[Shape]:
    """The objects of an image."""
    height, width = canvas.height, canvas.width
    declared = record.get("height", height), record.get("width", width)
    if tuple(map(_whole, declared)) != (height, width):
        raise FaultyImageError(
            f"is {width} x {height} pixels (width x height) but the JSON file says "
            f"{declared[1]} x {declared[0]}",
            "export both from one tool",
        )
    shapes = []
    for entry in entries:
        if entry["category_id"] not in indices:
            reason = f"has an object of category {entry['category_id']}, which is not listed"
            raise FaultyImageError(reason, "add the category")
        inside = _inside(entry.get("segmentation"), canvas)
        index = IGNORE if entry.get("iscrowd") else indices[entry["category_id"]]
        shapes.append(region(index, inside))
    return shapes


def _whole(value: Any) -> Any:
    """A number of pixels, which some tools write as text."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _inside(segmentation: Any, canvas: Canvas) -> Any:
    """Pixels (H, W) of an object."""
    coco = import_optional("pycocotools.mask", "reading COCO files", "import")
    if not segmentation:
        raise FaultyImageError("has an object with a box only", _REMEDY)
    size = [canvas.height, canvas.width]
    if isinstance(segmentation, dict):
        return _decode(segmentation.get("counts"), segmentation, size)
    if not isinstance(segmentation, list):
        raise FaultyImageError("has an outline that is not pairs of numbers", _REMEDY)
    rings = segmentation if isinstance(segmentation[0], list) else [segmentation]
    points = [
        as_ring(list(zip(ring[::2], ring[1::2], strict=True))) if _is_even(ring) else None
        for ring in rings
    ]
    canvas.check(points, _REMEDY)
    return coco.decode(coco.merge(coco.frPyObjects(rings, *size)))


def _decode(counts: Any, segmentation: dict[str, Any], size: list[int]) -> Any:
    """Pixels (H, W) of run lengths, as they are or compressed."""
    coco = import_optional("pycocotools.mask", "reading COCO files", "import")
    if segmentation.get("size") != size or not isinstance(counts, str | list):
        reason = f"has a run-length mask of the size {segmentation.get('size')}, not {size}"
        raise FaultyImageError(reason, _REMEDY)
    try:
        if isinstance(counts, str):
            return coco.decode({"size": size, "counts": counts.encode()})
        runs = coco.frPyObjects(segmentation, *size)
        if sum(counts) == size[0] * size[1] and min(counts) >= 0:
            return coco.decode(runs)
    except (ValueError, TypeError, OverflowError) as error:
        raise FaultyImageError("has a damaged run-length mask", _REMEDY) from error
    raise FaultyImageError("has a run-length mask that does not fill the image", _REMEDY)


def _is_even(ring: Any) -> bool:
    return isinstance(ring, list) and len(ring) % 2 == 0


def _licence(documents: dict[str, Any]) -> dict[str, str]:
    """Licence and address, where the first file states exactly one."""
    document = next(iter(documents.values()))
    meta = {}
    licences = document.get("licenses")
    if isinstance(licences, list) and len(licences) == 1 and isinstance(licences[0], dict):
        meta["licence"] = str(licences[0].get("name", ""))
    info = document.get("info")
    if isinstance(info, dict) and info.get("url"):
        meta["source"] = str(info["url"])
    return {key: value for key, value in meta.items() if value}
