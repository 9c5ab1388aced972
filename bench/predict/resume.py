"""What is remembered of pictures that are done, so that they are not predicted again."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.predict.pictures import Picture
from bench.predict.table import Row


@dataclass
class PictureState:
    """Content of `.done/<name>.json`, the state of an image that was predicted.

    Attributes:
        made_from: model, settings and file from which it was predicted.
        evaluation: "whole", "tiles" or "generator".
        files: paths of its maps, relative to the folder of the outputs; not the overlay.
        rows: its rows of `table.csv`.
        objects: its rows of `objects.csv`.
    """

    made_from: dict[str, Any]
    evaluation: str
    files: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    objects: list[Row] = field(default_factory=list)


def stamp(picture: Picture) -> dict[str, Any]:
    """Values that change when the file of a picture changes: "path", "bytes" and "ns" (date).

    Raises:
        UserError: the file does not exist any more.
    """
    try:
        status = picture.path.stat()
    except OSError as error:
        raise UserError(f"cannot read {picture.path} ({error.strerror}): replace it") from error
    return {"path": str(picture.path.resolve()), "bytes": status.st_size, "ns": status.st_mtime_ns}


def done_before(path: Path, out: Path, made_from: dict[str, Any]) -> PictureState | None:
    """The stored state of a picture that was predicted before.

    Args:
        path: file of the state.
        out: folder of the outputs.
        made_from: model, settings and file from which the picture is predicted now.

    Returns:
        The state; None if there is none that can be read, one of its `files` is missing, or it was
        made from other values.
    """
    try:
        state = PictureState(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    complete = all((out / file).is_file() for file in state.files)
    return state if complete and state.made_from == made_from else None
