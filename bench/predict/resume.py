"""What is remembered of pictures that are done, so that they are not predicted again."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import all_are, parse_json
from bench.predict.pictures import Picture
from bench.predict.table import Row


@dataclass
class PictureState:
    """Content of `.done/<name>.json`, the state of an image that was predicted.

    Attributes:
        made_from: model, settings and file from which it was predicted.
        evaluation: "whole", "tiles" or "generator".
        files: paths of its maps, relative to the folder of the outputs; not the overlay.
        rows: its rows of `table.csv`; those of `objects.csv` are in the file `objects_path`.
    """

    made_from: dict[str, Any]
    evaluation: str
    files: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def state_path(out: Path, name: str) -> Path:
    """File of the state of a picture."""
    return out / ".done" / f"{name}.json"


def objects_path(out: Path, name: str) -> Path:
    """File of the rows of a picture in `objects.csv`, which can be millions; without the header."""
    return out / ".done" / f"{name}.objects.csv"


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


def done_before(out: Path, name: str, made_from: dict[str, Any]) -> PictureState | None:
    """The stored state of a picture that was predicted before.

    Args:
        out: folder of the outputs.
        name: of the picture.
        made_from: model, settings and file from which the picture is predicted now.

    Returns:
        The state; None if there is none that can be read, one of its files is missing, or it was
        made from other values.
    """
    try:
        state = PictureState(**parse_json(state_path(out, name).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    parts = ((state.files, str), (state.rows, dict))
    if not all(isinstance(part, list) and all_are(part, kind) for part, kind in parts):
        return None
    files = [objects_path(out, name), *(out / file for file in state.files)]
    complete = all(file.is_file() for file in files)
    return state if complete and state.made_from == made_from else None
