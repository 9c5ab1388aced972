"""Import the optional libraries of the extra `export`."""

from typing import Any

from bench.data.libraries import import_optional


def import_library(name: str, purpose: str) -> Any:
    """Import a library of the extra `export`; arguments and errors as in `import_optional`."""
    return import_optional(name, purpose, "export")
