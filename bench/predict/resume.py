"""What is remembered of pictures that are done, so that they are not predicted again."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.predict.pictures import Picture
from bench.predict.table import Row


@dataclass
class PictureState:
    """What `.done/<name>.json` holds: the rows of an image, and what they were made from."""

    made_from: dict[str, Any]
    evaluation: str
    files: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    objects: list[Row] = field(default_factory=list)


def stamp(picture: Picture) -> dict[str, Any]:
    """What changes when the file of a picture changes."""
    status = picture.path.stat()
    return {"path": str(picture.path.resolve()), "bytes": status.st_size, "ns": status.st_mtime_ns}


def done_before(path: Path, out: Path, made_from: dict[str, Any]) -> PictureState | None:
    """The stored state of a picture, if it was made from the same model, settings and file."""
    try:
        state = PictureState(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    complete = all((out / file).is_file() for file in state.files)
    return state if complete and state.made_from == made_from else None
