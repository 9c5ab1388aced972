"""Hashes of records and of the code that shows them, to know which results are still valid."""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.spec import Cell, Record

_PACKAGE = Path(__file__).parents[2]
_CODE = ("report", "stats", "data")  # rooms on which tables and figures depend
_LIBRARIES = ("matplotlib", "seaborn", "pandas", "numpy", "scipy", "pillow")


class RecordDigests:
    """Notes the SHA-256 of the contents of records that pass through `note`."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}

    def note(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records unchanged, one by one."""
        for record in records:
            contents = record.to_dict()
            self._digests[contents["id"]] = digest_of(contents)
            yield record

    def of_cells(self, cells: Sequence[Cell]) -> list[str]:
        """The digests of the records of cells; KeyError if a record has not been noted."""
        return [self._digests[cell.id] for cell in cells]


def digest_of(values: Any) -> str:
    """SHA-256 of values that JSON can hold, in 64 hexadecimal digits.

    Dictionaries with equal entries have the same digest in any order.
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@cache
def code_version() -> str:
    """SHA-256 of the source files and of the versions of the libraries that make a report."""
    files = sorted(path for room in _CODE for path in (_PACKAGE / room).rglob("*.py"))
    digest = hashlib.sha256(sys.version.encode())
    for path in [*files, *sorted(_PACKAGE.glob("*.py"))]:
        digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    for name in _LIBRARIES:
        digest.update(f"{name} {metadata.version(name)}\n".encode())
    return digest.hexdigest()
