"""Import libraries that are not dependencies of the plain installation."""

import importlib
from typing import Any

from bench.errors import UserError
from bench.wording import PROJECT


def import_optional(name: str, purpose: str, extra: str) -> Any:
    """Import a library of an extra.

    Args:
        name: module to import, such as "pycocotools.mask".
        purpose: what it is needed for, as the subject of the message.
        extra: the extra of pyproject.toml that installs it.

    Raises:
        UserError: the library is not installed, or its import fails.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = {"skimage": "scikit-image", "yaml": "PyYAML"}.get(
            name.partition(".")[0], name.partition(".")[0]
        )
        raise UserError(
            f"{purpose} needs the package {package}, which cannot be imported ({error}):"
            f" pip install '{PROJECT}[{extra}]', or pip install {package}"
        ) from error
