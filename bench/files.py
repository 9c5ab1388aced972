"""Files that readers see whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bench.errors import UserError


def replace(path: Path, content: str | bytes) -> Path:
    """Write a file in one step: a reader finds the old content or the new, never a part.

    Args:
        path: in a folder that is made if need be.
        content: text is written as UTF-8.

    Raises:
        UserError: it cannot be written, as when the disk is full.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """As `replace`, for content that is written part by part; an error leaves the old file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
            Path(temporary).chmod(0o644)  # mkstemp makes files that only their owner may read
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(
            f"cannot write '{path}' ({error.strerror or error}): make room there or name another "
            "place, then run the command again"
        ) from error
