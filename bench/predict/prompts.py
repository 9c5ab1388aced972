"""Boxes and points that a user draws, for models that take prompts; read from a file."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.data.fit import fitted_size
from bench.errors import UserError
from bench.files import check_regular, parse_json
from bench.sam.prompts import PromptRule, Prompts
from bench.spec import Task

Floats = npt.NDArray[np.float64]
COLUMNS = {"box": ("x0", "y0", "x1", "y1"), "point": ("x", "y")}


@dataclass(frozen=True, eq=False)
class ImagePrompts:
    """The prompts of one image, in pixels of the image; x to the right, y down.

    Attributes:
        boxes: (n, 4), x0 y0 x1 y1, the upper ends exclusive; (n, 0) where points are given.
        points: (n, c, 2), x y of c points inside each object; (n, 0, 2) where boxes are given.
        classes: (n,) class index of each object, 1 to K - 1.
    """

    boxes: Floats
    points: Floats
    classes: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        rule: PromptRule,
        num_classes: int,
        boxes: Any = None,
        points: Any = None,
        classes: Any = None,
    ) -> "ImagePrompts":
        """Check prompts against the rule of a model; they may lie outside the image.

        Args:
            rule: of the model, of the kind "box" or "point".
            num_classes: K of the model.
            boxes: (n, 4) numbers, for a model that takes boxes.
            points: (n, 2) or (n, c, 2) numbers, for a model that takes points.
            classes: (n,) class indices; may be left out where there is one foreground class.

        Raises:
            UserError: prompts of the wrong kind or shape, or a class that does not exist.
        """
        drawn = {"box": boxes, "point": points}
        (other,) = set(drawn) - {rule.kind}
        if drawn[rule.kind] is None or drawn[other] is not None:
            plural = {"box": "boxes", "point": "points"}
            raise UserError(
                f"this model takes {plural[rule.kind]}: give {plural[rule.kind]}"
                f" ({', '.join(COLUMNS[rule.kind])} of each object) and no {plural[other]}"
            )
        values = np.asarray(drawn[rule.kind], np.float64)
        if rule.kind == "point" and values.ndim == 2:
            values = values[:, None]
        shape, expected = values.shape, "(n, 4)" if rule.kind == "box" else "(n, 2) or (n, c, 2)"
        if not len(values):
            values = np.zeros((0, 4)) if rule.kind == "box" else np.zeros((0, 1, 2))
        right = values.ndim == {"box": 2, "point": 3}[rule.kind]
        if not right or values.shape[-1] != len(COLUMNS[rule.kind]) or 0 in values.shape[1:]:
            raise UserError(f"prompts of shape {shape} cannot be read: give {expected}")
        if not np.isfinite(values).all():
            raise UserError("a prompt is NaN or infinite: give pixels of the image")
        if rule.kind == "box" and (values[:, :2] >= values[:, 2:]).any():
            raise UserError("a box is empty: x1 must be above x0, and y1 above y0")
        if classes is None and num_classes > 2:
            raise UserError(f"give the class of each prompt, from 1 to {num_classes - 1}")
        numbers = np.ones(len(values), np.int64) if classes is None else np.asarray(classes)
        if len(numbers) != len(values) or not np.isin(numbers, range(1, num_classes)).all():
            raise UserError(f"give one class from 1 to {num_classes - 1} for each prompt")
        count = len(values)
        if rule.kind == "box":
            return cls(values, np.zeros((count, 0, 2)), numbers.astype(np.int64))
        return cls(np.zeros((count, 0)), values, numbers.astype(np.int64))

    def at_side(self, size: tuple[int, ...], task: Task) -> Prompts:
        """The prompts in pixels of a model's square input, as a batch of one image.

        Args:
            size: height and width of the image.
            task: of the model: its side, and how images become squares.
        """
        (height, width), fitted = size[:2], fitted_size(size, task.image_size, task.fit)
        scale = np.array([fitted[1] / width, fitted[0] / height])
        count = len(self.classes)
        boxes = self.boxes * np.tile(scale, 2) if self.boxes.size else np.zeros((count, 4))
        points = self.points * scale if self.points.size else np.zeros((count, 1, 2))
        return Prompts(
            (torch.from_numpy(boxes).float(),),
            (torch.from_numpy(points).float(),),
            (torch.from_numpy(self.classes),),
        )


def read_prompts(
    path: Path, rule: PromptRule, class_names: Sequence[str]
) -> dict[str, ImagePrompts]:
    """Read the prompts of images from a CSV file or a COCO JSON file.

    CSV columns: `image` (file name, with or without its ending), `class` (name or index; may be
    left out where there is one foreground class), and `x0,y0,x1,y1` of a box or `x,y` of a point.
    Points of an image that share a word in the column `object` show one object; without it each row
    is an object. A row with empty coordinates names an image without objects. COCO: `bbox` of the
    annotations, for boxes only; an image without annotations has no objects.

    Args:
        path: ends in .json for COCO; any other file is read as CSV.
        rule: of the model, of the kind "box" or "point".
        class_names: of the model, the background first.

    Returns:
        Prompts by the name of the image, as in the file.

    Raises:
        UserError: the file cannot be read or holds no rows, or a row does not fit the model.
    """
    rows = _coco_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    grouped: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        grouped.setdefault(str(row["image"]), []).append(row)
    if not grouped:
        raise UserError(f"{path} holds no prompts: give one row for each object")
    return {
        image: _of_rows(image, some, path, rule, class_names) for image, some in grouped.items()
    }


def prompts_of(name: str, prompts: Mapping[str, ImagePrompts], path: Path) -> ImagePrompts:
    """The prompts of an image by its file name; the endings of both names need not agree.

    The ending is all from the last dot on, without the number of a slice, which must agree. The
    whole name is looked for first, and the first entry that fits counts.

    Args:
        name: file name of the image; for a slice with `#` and its number behind it.
        prompts: of `read_prompts`.
        path: their file, for the message.

    Raises:
        UserError: there are none.
    """
    for word in (name, _without_ending(name)):
        for image, some in prompts.items():
            if word in (image, _without_ending(image)):
                return some
    raise UserError(
        f"{path} has no prompts for '{name}': add its rows (a row without coordinates if it shows"
        " no object)"
    )


def _without_ending(name: str) -> str:
    """The name "scan" for "scan.tif", and "scan#3" for slice 3, "scan.tif#3"."""
    file, mark, number = name.rpartition("#")
    return Path(file).stem + mark + number if number.isdecimal() and mark else Path(name).stem


def _of_rows(
    image: str,
    rows: Sequence[Mapping[str, str]],
    path: Path,
    rule: PromptRule,
    class_names: Sequence[str],
) -> ImagePrompts:
    columns = COLUMNS[rule.kind]
    objects: dict[str, list[list[float]]] = {}
    classes: dict[str, int] = {}
    for number, row in enumerate(rows):
        words = [str(row.get(column) or "").strip() for column in columns]
        if not any(words) and all(column in row for column in columns):
            continue  # an image without objects
        key = str(row.get("object") or f"row {number}")
        try:
            objects.setdefault(key, []).append([float(word) for word in words])
        except ValueError:
            raise UserError(
                f"{path}, image '{image}': this model takes a {rule.kind} for each object: give"
                f" numbers in the columns {', '.join(columns)}"
            ) from None
        classes[key] = _class_index(str(row.get("class") or ""), class_names, path)
    counts = {len(points) for points in objects.values()}
    if len(counts) > 1 or (rule.kind == "box" and counts - {1}):
        raise UserError(f"{path}, image '{image}': give each object the same number of prompts")
    values = np.array(list(objects.values()), np.float64).reshape(
        len(objects), max(counts, default=1), len(columns)
    )
    drawn = {"boxes": values[:, 0]} if rule.kind == "box" else {"points": values}
    try:
        return ImagePrompts.of(rule, len(class_names), **drawn, classes=list(classes.values()))
    except UserError as error:
        raise UserError(f"{path}, image '{image}': {error}") from None


def _class_index(word: str, class_names: Sequence[str], path: Path) -> int:
    foreground = list(class_names)[1:]
    if not word and len(foreground) == 1:
        return 1
    if word in foreground:
        return foreground.index(word) + 1
    if word.isdecimal() and 1 <= int(word) <= len(foreground):
        return int(word)
    raise UserError(
        f"{path} names the class '{word}': give one of {', '.join(foreground)}, or 1 to"
        f" {len(foreground)}"
    )


def _csv_rows(path: Path) -> list[dict[str, str]]:
    check_regular(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the prompts {path} ({error}): give a CSV file") from error
    if rows and "image" not in rows[0]:
        raise UserError(
            f"{path} has no column 'image': give image,class,x0,y0,x1,y1 or image,class,x,y"
        )
    return rows


def _coco_rows(path: Path) -> list[dict[str, str]]:
    try:
        check_regular(path)
        document = parse_json(path.read_text(encoding="utf-8"))
        images = {entry["id"]: entry["file_name"] for entry in document["images"]}
        names = {entry["id"]: entry["name"] for entry in document.get("categories", ())}
        empty = dict.fromkeys(COLUMNS["box"], "")
        rows = [{"image": name, **empty} for name in images.values()]
        for entry in document["annotations"]:
            left, top, width, height = map(float, entry["bbox"])
            corners = (left, top, left + width, top + height)
            box = dict(zip(COLUMNS["box"], map(repr, corners), strict=True))
            name = names.get(entry.get("category_id"), "")
            rows.append({"image": images[entry["image_id"]], "class": name, **box})
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"cannot read the prompts {path} as COCO JSON ({type(error).__name__}: {error}): give"
            " images, annotations with a bbox, and categories"
        ) from error
    return rows
