"""QuPath GeoJSON: one file of polygons for each image, with holes, named by classification."""

import posixpath
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
)
from bench.data.layouts.source import Source, stem
from bench.data.libraries import import_optional

_SUFFIXES = (".geojson", ".json")
_UNNAMED = "object"


def recognise(source: Source) -> str | None:
    """Why the folder looks like GeoJSON: a file of features with geometries."""
    for name in source.sample_json(_SUFFIXES):
        if _features(source.json_like(name)):
            return f"'{name}' holds GeoJSON features"
    return None


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Masks and instances; holes stay empty, and the class "Ignore*" is unlabelled.

    As in QuPath, classes whose name ends with "*" are no classes: regions of "Ignore*" become
    ignored pixels, others (such as "Region*") are left out.

    Raises:
        UserError: a file has no image, or a geometry is malformed.
    """
    documents: dict[str, list[dict[str, Any]]] = {}
    for name in source.with_suffix(*_SUFFIXES):
        content = source.json(name)
        features = _features(content)
        if features or (isinstance(content, dict) and content.get("features") == []):
            documents[name] = features
        else:
            report.leave_out(name, "a JSON file without GeoJSON features")
    labels = {_label(feature) for features in documents.values() for feature in features}
    named = sorted(label for label in labels if label and not label.endswith("*"))
    if "" in labels and named:
        report.note(f"objects without a classification are the class '{_UNNAMED}'")
    names = [*named, *([_UNNAMED] if "" in labels and _UNNAMED not in named else [])]
    table = class_table(names, "the GeoJSON files", ignored="Ignore*" in labels)
    indices = class_indices(names)
    indices |= {"": indices.get(_UNNAMED, 0), "Ignore*": IGNORE}
    return Draft(table, _samples(source, documents, indices, report))


def _features(content: Any) -> list[dict[str, Any]]:
    """The features of a file; empty for other content."""
    if isinstance(content, dict):
        content = content.get("features", [content] if content.get("type") == "Feature" else None)
    if not isinstance(content, list) or not content:
        return []
    fits = all(isinstance(entry, dict) and "geometry" in entry for entry in content)
    return content if fits else []


def _label(feature: dict[str, Any]) -> str:
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    named = properties.get("classification") or properties.get("label") or ""
    return str(named.get("name", "")) if isinstance(named, dict) else str(named)


def _samples(
    source: Source,
    documents: dict[str, list[dict[str, Any]]],
    indices: dict[str, int],
    report: Report,
) -> Iterator[Sample]:
    drawings: dict[str, Drawing] = {}
    for name in documents:
        file = source.find_picture(stem(name), posixpath.dirname(name))
        if file is None:
            report.fault(name, "has no image of its name", "add the image under the same name")
        elif file in drawings:
            reason = f"and '{drawings[file].label}' are for one image"
            report.fault(name, reason, "keep one of them")
        else:
            drawings[file] = Drawing(partial(_shapes, documents[name], indices), name)
    report.leave_out_others(source.pictures, drawings, "no GeoJSON file")
    return draw_samples(source, drawings, report, counts_empty=False)


def _shapes(features: list[dict[str, Any]], indices: dict[str, int], canvas: Canvas) -> list[Shape]:
    return [shape for feature in features for shape in _shape(feature, indices, canvas)]


def _shape(feature: dict[str, Any], indices: dict[str, int], canvas: Canvas) -> list[Shape]:
    """The object of a feature; none for lines, points and classes with "*"."""
    shapely = import_optional("shapely.geometry", "reading GeoJSON", "import")
    errors = import_optional("shapely.errors", "reading GeoJSON", "import")
    label, counts = _label(feature), canvas.report.counts
    if label not in indices:
        counts[f"region of the class '{label}', which is left out"] += 1
        return []
    try:
        geometry = shapely.shape(feature["geometry"])
    except (errors.ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError) as e:
        reason = f"has a geometry that is not GeoJSON ({e})"
        raise FaultyImageError(reason, "export it again") from e
    if geometry.geom_type not in ("Polygon", "MultiPolygon"):
        counts[f"{geometry.geom_type} without an area, which is not drawn"] += 1
        return []
    if geometry.is_empty:
        raise FaultyImageError("has a polygon without points", "export it again")
    if not geometry.is_valid:
        counts["polygon that crosses itself"] += 1
    parts = [geometry] if geometry.geom_type == "Polygon" else list(geometry.geoms)
    outlines = [as_ring(part.exterior.coords[:]) for part in parts]
    canvas.check(outlines, "export image and annotations at one resolution")
    drawn = []
    for part in parts:
        rings = [ring.coords[:] for ring in (part.exterior, *part.interiors)]
        drawn.append(canvas.polygon(indices[label], rings))
    return [canvas.merge(drawn)]
