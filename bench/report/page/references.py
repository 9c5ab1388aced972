"""BibTeX of the methods in a report, from `methods/papers.bib`."""

import importlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

_ENTRY = re.compile(r"^@\w+\{.*?^\}$", re.DOTALL | re.MULTILINE)
_METHODS = re.compile(r"^  keywords = \{(.*?)\}", re.MULTILINE)


def references_of(methods: Iterable[str]) -> dict[str, str]:
    """Return the BibTeX entry of the paper of each method.

    Args:
        methods: names of methods; those of plugins have no entry.
    """
    papers = _papers()
    return {name: papers[name] for name in sorted(set(methods)) if name in papers}


@cache
def _papers() -> Mapping[str, str]:
    """Entries by the names of the methods in their keywords."""
    folder = Path(importlib.import_module("bench.methods").__path__[0])
    entries = _ENTRY.findall((folder / "papers.bib").read_text("utf-8"))
    return {name: entry for entry in entries for name in _METHODS.findall(entry)[0].split(", ")}
