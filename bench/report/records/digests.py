"""Hashes of records and of the code that shows them, to know which results are still valid."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench.files import code_hash
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
    return code_hash(_PACKAGE, [*files, *sorted(_PACKAGE.glob("*.py"))], _LIBRARIES)
