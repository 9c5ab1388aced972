"""The header of an exported SAM file, for tests."""

import json
import zipfile
from pathlib import Path

from bench.export.sam_file import HEADER


def read_sam_header(path: Path) -> dict[str, str]:
    """What `write_sam` wrote next to the tensors."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(f"/{HEADER}"))
        return dict(json.loads(archive.read(name)))
