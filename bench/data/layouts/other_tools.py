"""Folders of tools whose files are not read, and which form to export instead."""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from bench.data.layouts.source import Source


def name_tool(source: Source) -> str:
    """Which tool wrote the labels of a folder without a known layout, and what to do.

    Returns:
        A clause such as "'a.json' is of Labelbox: convert it to COCO"; "" for no known tool.
    """
    for name in source.sample_json():
        content = source.json_like(name)
        for title, remedy, fits in _TOOLS:
            if fits(content):
                return f"'{name}' is of {title}: {remedy}"
    for name in source.with_suffix(".xml")[:20]:
        try:
            root = ElementTree.fromstring(source.text(name))
        except ElementTree.ParseError:
            continue
        if root.tag == "Annotations" and root.find("Annotation/Regions/Region") is not None:
            return f"'{name}' is of Aperio ImageScope: convert its regions to GeoJSON or to masks"
    return ""


def _is_via(content: Any) -> bool:
    entries = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        return False
    first = next(iter(entries.values()))
    return isinstance(first, dict) and {"filename", "regions"} <= first.keys()


def _is_supervisely(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("objects"), list)
        and isinstance(content.get("size"), dict)
    )


def _is_sa_1b(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("image"), dict)
        and isinstance(content.get("annotations"), list)
    )


def _is_labelbox(content: Any) -> bool:
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and bool({"Labeled Data", "data_row"} & first.keys())


_TOOLS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("VGG Image Annotator", "export the annotations as COCO", _is_via),
    ("Supervisely", "export the project as COCO or as masks", _is_supervisely),
    (
        "SA-1B (one JSON file for each image)",
        "join the files to one of COCO, with images, annotations and categories",
        _is_sa_1b,
    ),
    ("Labelbox", "convert the export to COCO or to masks", _is_labelbox),
)
