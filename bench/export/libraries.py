"""Import the optional libraries of the extra `export`."""

import importlib
from typing import Any

from bench.errors import UserError
from bench.wording import PROJECT


def import_library(name: str, purpose: str) -> Any:
    """Import a library that is not a dependency of the plain installation.

    Args:
        name: module to import, such as "pycocotools.mask".
        purpose: what it is needed for, as the subject of the message.

    Raises:
        UserError: the library is not installed, or its import fails.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(
            f"{purpose} needs the package {package}, which cannot be imported ({error}):"
            f" pip install '{PROJECT}[export]', or pip install {package}"
        ) from error
