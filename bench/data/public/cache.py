"""Pixels that are slow to get at: made once from a publisher's files, then kept in the cache."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
from PIL import Image

from bench.data.public.fetch import cache_folder
from bench.files import atomic_path

Keep = Callable[[str, Sequence[Path], Callable[[], npt.NDArray[Any]]], Path]

_EDITION = 1  # of all readers together: a higher one makes everything anew


def keeper(collection: str) -> Keep:
    """What a reader keeps pixels with: `keep(name, sources, make)` returns an image file.

    The file lies in the cache and is made where it is not there: by `make()`, an array (H, W) uint8
    or uint16 or (H, W, 3) uint8. It is made anew where one of its sources has another path, size or
    date. It is not compressed, so that its bytes are the same on every machine.
    """

    def keep(name: str, sources: Sequence[Path], make: Callable[[], npt.NDArray[Any]]) -> Path:
        facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sources]
        key = hashlib.sha256(repr((_EDITION, facts)).encode()).hexdigest()[:16]
        target = cache_folder() / "made" / collection / f"{name}-{key}.tif"
        if not target.is_file():
            picture = Image.fromarray(make())
            with atomic_path(target) as temporary:
                picture.save(temporary, "TIFF")
        return target

    return keep
