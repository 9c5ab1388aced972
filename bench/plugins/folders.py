"""Folders of plugins, given by `--plugins` or by an environment variable.

They are stored in the environment variable, so that the processes of cells find the same plugins.
"""

import hashlib
import os
from pathlib import Path

from bench.errors import UserError
from bench.plugins.checkout import PLUGIN_FOLDERS, make_package

VARIABLE = "SAM_BENCH_PLUGINS"
USER_FOLDERS = (*PLUGIN_FOLDERS, "backbones")


def plugin_folders() -> list[Path]:
    """Return the plugin folders of $SAM_BENCH_PLUGINS as absolute paths, each once, in its order.

    Raises:
        UserError: a folder does not exist, or contains none of `methods`, `datasets` and
            `backbones`.
    """
    words = [word for word in os.environ.get(VARIABLE, "").split(os.pathsep) if word]
    return list(dict.fromkeys(_checked(Path(word)) for word in words))


def add_plugin_folder(folder: Path) -> None:
    """Append a folder to $SAM_BENCH_PLUGINS of this process and of the processes that it starts.

    Nothing is imported yet. A folder that is there already is not added again.

    Args:
        folder: contains `methods/*.py`, `datasets/*.py` or `backbones/*.py`; "~" is expanded.

    Raises:
        UserError: it, or a folder that is there already, does not exist or contains none
            of `methods`, `datasets` and `backbones`.
    """
    folders = [*plugin_folders(), _checked(folder)]
    os.environ[VARIABLE] = os.pathsep.join(map(str, dict.fromkeys(folders)))


def plugin_packages(name: str) -> list[str]:
    """Make the subfolder `name` of each plugin folder that has it importable; return import names.

    Args:
        name: "methods", "datasets" or "backbones".

    Raises:
        UserError: a folder of $SAM_BENCH_PLUGINS does not exist or has no plugins.
    """
    return [
        make_package(f"_sam_bench_plugins_{_digest(folder)}_{name}", folder / name)
        for folder in plugin_folders()
        if (folder / name).is_dir()
    ]


def _checked(folder: Path) -> Path:
    path = folder.expanduser().resolve()
    if not any((path / name).is_dir() for name in USER_FOLDERS):
        empty = "contains none of methods/, datasets/ and backbones/"
        state = empty if path.is_dir() else "does not exist"
        raise UserError(
            f"the plugin folder '{folder}' {state}: give --plugins (or {VARIABLE}) a folder with "
            "methods/NAME.py, datasets/NAME.py or backbones/NAME.py inside"
        )
    return path


def _digest(folder: Path) -> str:
    return hashlib.sha256(str(folder).encode()).hexdigest()[:12]
