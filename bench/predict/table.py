"""What is read off predictions, as rows of CSV files."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from bench.metrics.object_meter import Objects
from bench.metrics.readings import PERCENTILES, diameters_of_areas
from bench.wording import plain_field

Row = dict[str, Any]
OBJECT_COLUMNS = (
    *("image", "slice", "class", "object"),
    *("area", "diameter", "aspect_ratio", "touching", "x", "y"),
)


def readings_row(
    counts: Sequence[int], objects: Objects | None, class_names: Sequence[str], pixel_size: float
) -> Row:
    """Phase fractions of one image, and number and sizes of its objects.

    Args:
        counts: pixels of each of the K classes, at least one in all.
        objects: of the image; None where they are not measured.
        class_names: K names, the background first.
        pixel_size: side of a pixel; diameters come in its unit.

    Returns:
        `phase_fraction/<name>` in [0, 1] of all classes; and, where objects are measured, of the
        foreground classes `particles/<name>`, `d10/<name>`, `d50/<name>` and `d90/<name>`, as in
        `bench.metrics.readings`, `aspect_ratio/<name>`, the median, and `touching/<name>`, the
        share of the objects that touch another one of any class. All but the number are None for
        a class without objects.
    """
    total = sum(counts)
    row: Row = {
        f"phase_fraction/{name}": count / total
        for name, count in zip(class_names, counts, strict=True)
    }
    if objects is None:
        return row
    for index, name in enumerate(class_names[1:], start=1):
        chosen = objects.classes == index
        diameters = diameters_of_areas(objects.areas[chosen], pixel_size)
        some = len(diameters) > 0
        row[f"particles/{name}"] = len(diameters)
        for percent in PERCENTILES:
            row[f"d{percent}/{name}"] = float(np.percentile(diameters, percent)) if some else None
        row[f"aspect_ratio/{name}"] = objects.aspect_ratio(index)
        row[f"touching/{name}"] = objects.touching_share(index)
    return row


def object_rows(
    image: str, index: int | None, objects: Objects, class_names: Sequence[str], pixel_size: float
) -> Iterator[Row]:
    """One row per object; lengths in the unit of `pixel_size`, areas in its square.

    The places x and y are centres of mass, from the upper left corner of the image. For the aspect
    ratio and `touching` (0 or 1) see `Objects`.

    Args:
        image: name of the image.
        index: of the slice; None for a single image.
        objects: of the image.
        class_names: K names.
        pixel_size: side of a pixel.

    Yields:
        A dict with the keys `OBJECT_COLUMNS` for each object; the objects of all classes are
        numbered together from 1.
    """
    diameters = diameters_of_areas(objects.areas, pixel_size)
    for number in range(len(objects)):
        yield {
            "image": image,
            "slice": index,
            "class": class_names[objects.classes[number]],
            "object": number + 1,
            "area": float(objects.areas[number]) * pixel_size**2,
            "diameter": float(diameters[number]),
            "aspect_ratio": float(objects.aspects[number]),
            "touching": int(objects.touching[number]),
            "x": (float(objects.columns[number]) + 0.5) * pixel_size,
            "y": (float(objects.rows[number]) + 0.5) * pixel_size,
        }


def columns_of(rows: Iterable[Row]) -> list[str]:
    """The columns of all rows, in the order in which they occur first."""
    return list(dict.fromkeys(name for row in rows for name in row))


def write_rows(file: IO[str], rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV without a header line; None, and columns that a row has not, are empty.

    Floats are written with six significant digits.

    Args:
        file: to append to.
        rows: of the table.
        columns: all of them.

    Raises:
        ValueError: a row has another column.
    """
    csv.DictWriter(file, columns, lineterminator="\n").writerows(
        {
            name: f"{value:.6g}" if isinstance(value, float) else plain_field(value)
            for name, value in row.items()
        }
        for row in rows
    )


def write_header(file: IO[str], columns: Sequence[str]) -> None:
    """Write the header line of a CSV file."""
    csv.writer(file, lineterminator="\n").writerow(columns)
