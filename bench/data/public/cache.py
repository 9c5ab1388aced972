"""Cache of pixels that are slow to extract from the files of a publisher."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
from PIL import Image

from bench.files import atomic_path, cache_folder

Keep = Callable[[str, Sequence[Path], Callable[[], npt.NDArray[Any]]], Path]

_EDITION = 1  # of all readers; a higher number makes all cached files again


def keeper(collection: str) -> Keep:
    """The function `keep(name, sources, make)` with which a reader keeps pixels in a cache.

    `make()` returns the pixels, (H, W) uint8 or uint16 or (H, W, 3) uint8. It is called where the
    file does not exist, or where the path, size or date of a source has changed; then a new file is
    written, and the old one stays. The file is a TIFF that is not compressed, so that its bytes,
    and the fingerprint, are the same on every machine.

    Args:
        collection: name of the collection; also of the folder of its cached files.

    Returns:
        A function from the name of the image, the files that the pixels come from, and `make`, to
        the path of the cached file, in `made` of the cache folder. It raises FileNotFoundError if
        a source does not exist, UserError if the file cannot be written, and the errors of `make`.
    """

    def keep(name: str, sources: Sequence[Path], make: Callable[[], npt.NDArray[Any]]) -> Path:
        states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sources]
        key = hashlib.sha256(repr((_EDITION, states)).encode()).hexdigest()[:16]
        target = cache_folder() / "made" / collection / f"{name}-{key}.tif"
        if not target.is_file():
            picture = Image.fromarray(make())
            with atomic_path(target) as temporary:
                picture.save(temporary, "TIFF")
        return target

    return keep
