"""The fingerprint of a collection: a hash of its contents, independent of its location."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.items import Collection, Pixels
from bench.files import file_sha256


def fingerprint(collection: Collection) -> str:
    """SHA-256, in hexadecimal digits, of everything in a collection that influences results.

    These are classes, mask values and official split; for each item, in order, its name, group,
    volume, spacing (only if an item has a volume), and image, mask and instances. Files are hashed
    as bytes, so the same pixels in another format count as others; arrays by type, shape and
    values. Paths and the collection's name, licence, source and notes do not matter.

    Raises:
        OSError: a file cannot be read.
    """
    description: dict[str, Any] = {
        "classes": collection.classes,
        "mask_values": sorted((collection.mask_values or {}).items()),
        "official": collection.official,
        "items": [(item.name, item.group) for item in collection.items],
    }
    if any(item.volume for item in collection.items):
        description["volumes"] = [(item.volume, item.spacing_mm) for item in collection.items]
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for item in collection.items:
        for pixels in (item.image, item.mask, item.instances):
            digest.update(_content(pixels))
    return digest.hexdigest()


def _content(pixels: Pixels | None) -> bytes:
    """Digest of one file or array, of fixed length."""
    if pixels is None:
        return hashlib.sha256(b"none").digest()
    if isinstance(pixels, Path):
        return bytes.fromhex(file_sha256(pixels))
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
