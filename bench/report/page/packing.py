"""Data inside the page: JSON, compressed, in letters that mean nothing to HTML."""

import base64
import gzip
import json
from typing import Any

from bench.files import parse_json


def pack(content: Any) -> str:
    """Return base64 of gzipped JSON; `data.js` unpacks it.

    The same content gives the same text, with the same version of zlib.

    Args:
        content: values that JSON can hold.

    Raises:
        TypeError: JSON cannot hold a value.
        ValueError: a number is not finite.
    """
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def unpack(text: str) -> Any:
    """Inverse of `pack`.

    Raises:
        OSError, EOFError, zlib.error, ValueError: the text is not of `pack`.
    """
    return parse_json(gzip.decompress(base64.b64decode(text)))
