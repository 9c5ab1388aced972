"""Describe a method or a dataset completely, as values that JSON can hold."""

import inspect
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bench.data.public.download import find_folder
from bench.plugins.registry import Dataset, Method


def describe_method(method: Method) -> dict[str, Any]:
    """Return the registered properties of a method.

    Returns:
        The attributes of `Method` except `build`, by name, with "learning_rate" for `lr` and
        "published_image_size" for `published_size`. "description" is the docstring of its file and
        function. "options" is a list of dicts with name, type and default; "published" is a dict of
        the fields of the recipe, or None.
    """
    return {
        "name": method.name,
        "summary": method.summary,
        "description": _description(method.build),
        "paper": method.paper,
        "learning_rate": method.lr,
        "prompts": method.prompts,
        "from_scratch": method.from_scratch,
        "options": [
            {"name": name, "type": type(default).__name__, "default": default}
            for name, default in method.options.items()
        ],
        "published": None if method.published is None else asdict(method.published),
        "published_image_size": method.published_size,
        "published_options": dict(method.published_options),
        "idle": dict(method.idle),
        "automatic_options": dict(method.automatic_options),
        "file": method.file,
    }


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return the registered properties of a dataset.

    Returns:
        The attributes of `Dataset` except `load`, by name, with "description", the docstring of
        its file and function, and "images": "procedural", "downloaded" (its folder exists, as in
        `find_folder`) or "not downloaded".
    """
    images = "procedural"
    if dataset.in_files:
        images = "downloaded" if find_folder(dataset.name) else "not downloaded"
    return {
        "name": dataset.name,
        "summary": dataset.summary,
        "description": _description(dataset.load),
        "images": images,
        "classes": list(dataset.classes),
        "mask_values": None if dataset.mask_values is None else dict(dataset.mask_values),
        "source": dataset.source,
        "licence": dataset.licence,
        "images_may_be_shown": dataset.images_may_be_shown,
        "file": dataset.file,
    }


def _description(function: Callable[..., object]) -> str:
    """Docstring of the file, then that of the function."""
    module = inspect.getdoc(inspect.getmodule(function)) or ""
    return f"{module}\n\n{inspect.getdoc(function) or ''}".strip()
