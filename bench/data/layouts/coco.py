"""COCO JSON: polygons and run lengths of objects, drawn by pycocotools, whose rules define them."""

import posixpath
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from bench.data.items import IGNORE
from bench.data.layouts.draft import Draft, Options, Report, Sample, class_table, is_background
from bench.data.layouts.pictures import size_of
from bench.data.layouts.shapes import Shape, as_ring, fault_of, paint, region
from bench.data.layouts.source import Source, part_of, unique_names
from bench.data.libraries import import_optional
from bench.errors import UserError

_KEYS = ("images", "annotations", "categories")


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
    order = [key for key, label in kept.items() if not is_background(label)]
    indices = {key: order.index(key) + 1 if key in order else 0 for key in kept}
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
    places: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {}
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
            elif file in places:
                report.fault(label, "is listed twice", f"remove it from '{name}' or another file")
            else:
                places[file] = (name, record, by_image[record["id"]])
    names = unique_names(places)
    for file in source.pictures:
        if file not in places:
            report.leave_out(file, "not listed in the JSON files")
    for file, (document, record, entries) in places.items():
        if not entries:
            report.counts["image without objects"] += 1
        shapes = _shapes(source, file, record, entries, indices, report)
        if shapes is None:
            continue
        mask, numbers = paint(shapes, int(record["height"]), int(record["width"]), report)
        part = part_of(posixpath.dirname(file)) or part_of(document)
        yield Sample(names[file], file, source.files[file], mask, numbers, "", part)


def _shapes(
    source: Source,
    file: str,
    record: dict[str, Any],
    entries: list[dict[str, Any]],
    indices: dict[int, int],
    report: Report,
) -> list[Shape] | None:
    """The objects of an image; None if it is faulty."""
    size = size_of(source, file, report)
    if size is None:
        return None
    height, width = size
    declared = (record.setdefault("height", height), record.setdefault("width", width))
    if tuple(map(_whole, declared)) != (height, width):
        reason = (
            f"is {width} x {height} pixels (width x height) but the JSON file says "
            f"{declared[1]} x {declared[0]}"
        )
        report.fault(file, reason, "export both from one tool")
        return None
    shapes = []
    for entry in entries:
        if entry["category_id"] not in indices:
            reason = f"has an object of category {entry['category_id']}, which is not listed"
            report.fault(file, reason, "add the category")
            return None
        inside, reason = _inside(entry.get("segmentation"), height, width, report)
        if reason:
            report.fault(file, reason, "export polygons or masks")
            return None
        index = IGNORE if entry.get("iscrowd") else indices[entry["category_id"]]
        shapes.append(region(index, inside))
    return shapes


def _whole(value: Any) -> Any:
    """A number of pixels, which some tools write as text."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _inside(segmentation: Any, height: int, width: int, report: Report) -> tuple[Any, str]:
    """Pixels (H, W) of an object, or what is wrong with it."""
    coco = import_optional("pycocotools.mask", "reading COCO files", "import")
    if not segmentation:
        return None, "has an object with a box only"
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != [height, width] or not isinstance(counts, str | list):
            return None, f"has a run-length mask of the size {size}, not {[height, width]}"
        try:
            if isinstance(counts, list):
                runs = coco.frPyObjects(segmentation, height, width)
            else:
                runs = {"size": size, "counts": counts.encode()}
            if isinstance(counts, str) or (sum(counts) == height * width and min(counts) >= 0):
                return coco.decode(runs), ""
        except (ValueError, TypeError, OverflowError):
            return None, "has a damaged run-length mask"
        return None, "has a run-length mask that does not fill the image"
    if not isinstance(segmentation, list):
        return None, "has an outline that is not pairs of numbers"
    rings = segmentation if isinstance(segmentation[0], list) else [segmentation]
    points = [
        as_ring(list(zip(ring[::2], ring[1::2], strict=True))) if _is_even(ring) else None
        for ring in rings
    ]
    if reason := fault_of(points, height, width, report):
        return None, reason
    runs = coco.frPyObjects(rings, height, width)
    return coco.decode(coco.merge(runs)), ""


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
