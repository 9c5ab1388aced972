"""Plugin folders as packages, next to a library that is also called `datasets`.

`methods/` and `datasets/` are at the top of the checkout and, in a wheel, inside `bench/`. In both
cases they are the packages `bench.methods` and `bench.datasets`. They must not be importable as
`methods` and `datasets`: in a wheel these would overwrite Hugging Face's `datasets`. In a checkout,
Python can import a folder next to `run_bench.py` as a namespace package, and libraries that check
whether Hugging Face's `datasets` is installed would find this folder and crash. Therefore the
finder for the folder of the checkout on `sys.path` skips these two names; all other folders are
searched as usual. Worker processes do the same, because they import `bench`.
"""

import sys
from importlib import machinery, util
from importlib.machinery import FileFinder, ModuleSpec
from pathlib import Path
from types import ModuleType

PLUGIN_FOLDERS = ("methods", "datasets")

_BENCH = Path(__file__).resolve().parents[1]
_ROOT = _BENCH.parent
_LOADERS = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)


def adopt_plugin_folders() -> None:
    """Make `bench.methods` and `bench.datasets` importable, and only under these names.

    Called once, by `import bench`. In a checkout it adds a hook to `sys.path_hooks` and removes the
    checkout from `sys.path_importer_cache`.
    """
    installed = (_BENCH / PLUGIN_FOLDERS[0]).is_dir()
    parent = _BENCH if installed else _ROOT
    for name in PLUGIN_FOLDERS:
        package = make_package(f"bench.{name}", parent / name)
        setattr(sys.modules["bench"], name, sys.modules[package])
    if not installed:
        sys.path_hooks.insert(0, _checkout_hook)
        for entry in [entry for entry in sys.path_importer_cache if _is_root(entry)]:
            del sys.path_importer_cache[entry]


def make_package(name: str, folder: Path) -> str:
    """Make `folder` importable as the package `name`, and return the name.

    If a module of this name is loaded already, it is not changed. It is not checked that the folder
    exists.
    """
    if name not in sys.modules:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = util.module_from_spec(spec)
    return name


class _CheckoutFinder(FileFinder):
    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        return None if fullname in PLUGIN_FOLDERS else super().find_spec(fullname, target)


def _checkout_hook(entry: str) -> _CheckoutFinder:
    if not _is_root(entry):
        raise ImportError("left to the next hook", path=entry)
    return _CheckoutFinder(entry, *_LOADERS)


def _is_root(entry: str) -> bool:
    return Path(entry).resolve() == _ROOT
