"""Find plugins: files of the built-in folder, entry points of other packages, plugin folders.

A file is imported when a name is looked up. Built-in plugins are looked up first, then entry points
in the order of their names, then plugin folders in the order in which the user gave them.
"""

import importlib
import pkgutil
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from bench.errors import UserError
from bench.plugins.checkout import PLUGIN_FOLDERS
from bench.plugins.folders import plugin_packages


class Registered(Protocol):
    """A method, a dataset or a backbone."""

    @property
    def file(self) -> str:
        """The file that registers it."""


Entry = TypeVar("Entry", bound=Registered)


@dataclass(frozen=True)
class Source:
    """One importable plugin.

    Attributes:
        name: of the file without its suffix, or of the entry point.
        module: import name; the plugin registers its entries while it is imported.
        place: the file or the entry point, as shown in messages; "" for built-in files.
    """

    name: str
    module: str
    place: str = ""


@dataclass
class Plugins(Generic[Entry]):
    """The registered entries of one kind; files are imported when they are looked up.

    A plugin that cannot be imported is kept with its reason, is not tried again in this process,
    and does not break the others. The attributes hold only what was imported so far.

    Attributes:
        kind: "method", "dataset" or "backbone".
        package: import name of the folder of built-in plugins.
        entries: registered name to entry.
        unavailable: name of each plugin (with its place if the name occurs twice) that cannot be
            imported, to the reason.
        lacking: those of them that only need a library which is not installed.
        external: names of entries that come from an entry point or a plugin folder.
    """

    kind: str
    package: str
    entries: dict[str, Entry] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    external: set[str] = field(default_factory=set)
    _failed: set[Source] = field(default_factory=set)
    _importing: list[tuple[Source, list[str]]] = field(default_factory=list)

    @property
    def group(self) -> str:
        """The group of entry points."""
        return f"sam_adapt_bench.{self.kind}s"

    def add(self, name: str, entry: Entry) -> None:
        """Register an entry; for one from outside, first import the built-in files of this name.

        Raises:
            ValueError: the name is already registered, or is that of a built-in file that cannot be
                imported.
        """
        source, names = self._importing[-1] if self._importing else (None, [])
        if source is not None and source.place:
            # An external plugin must not have a built-in name, even if it is imported first.
            self._import_built_in(name)
            for broken in self._failed:
                if broken.name == name and not broken.place:
                    raise self._twice(name, f"{broken.module} (which cannot be imported)", entry)
        if name in self.entries:
            raise self._twice(name, self.entries[name].file, entry)
        self.entries[name] = entry
        names.append(name)
        if source is not None and source.place:
            self.external.add(name)

    def _twice(self, name: str, first: str, entry: Entry) -> ValueError:
        return ValueError(
            f"{self.kind} '{name}' is registered twice, in {first} and in {entry.file}: choose"
            " another name"
        )

    def find(self, name: str) -> Entry | None:
        """Return the entry with this name, or None; import files until one registers it.

        Raises:
            UserError: a file that by its name may register it cannot be imported, or a plugin
                folder does not exist or has no plugins.
        """
        if name not in self.entries:
            self._import_built_in(name)
        if name not in self.entries:
            for source in self._external():
                self._import(source)
        for source in self._built_in():
            if name in self.entries:
                break
            self._import(source)
        if name not in self.entries:
            for file, reason in self.unavailable.items():
                if _may_register(file, name):
                    raise UserError(f"{self.kind} '{name}' cannot be used here: {reason}")
        return self.entries.get(name)

    def has_file(self, file: str) -> bool:
        """Whether a file is in the folder of built-in plugins."""
        (folder,) = importlib.import_module(self.package).__path__
        return Path(file).parent == Path(folder)

    def all(self) -> list[Entry]:
        """Return every entry that can be used here, sorted by name; as `names`."""
        return [self.entries[name] for name in self.names()]

    def names(self) -> list[str]:
        """Return the names of all entries that can be used here, sorted; import every file.

        Raises:
            UserError: a plugin folder does not exist or has no plugins.
        """
        for source in [*self._built_in(), *self._external()]:
            self._import(source)
        return sorted(self.entries)

    def _built_in(self) -> list[Source]:
        return self._files(self.package)

    def _external(self) -> list[Source]:
        points = [
            Source(point.name, point.module, f"entry point {point.name} = {point.value}")
            for point in _entry_points(self.group)
        ]
        packages = plugin_packages(f"{self.kind}s")
        return [*points, *(file for package in packages for file in self._files(package, True))]

    def _files(self, package: str, external: bool = False) -> list[Source]:
        (folder,) = importlib.import_module(package).__path__
        return [
            Source(
                module.name,
                f"{package}.{module.name}",
                f"{folder}/{module.name}.py" if external else "",
            )
            for module in pkgutil.iter_modules([folder])
            if not module.name.startswith("_")
        ]

    def _import_built_in(self, name: str) -> None:
        """Import the built-in files that may register `name`, see `_may_register`."""
        files = [file for file in self._built_in() if _may_register(file.name, name)]
        for file in sorted(files, key=lambda file: file.name != name):
            if name not in self.entries:
                self._import(file)

    def _import(self, source: Source) -> None:
        if source in self._failed:
            return
        names: list[str] = []
        fresh = source.module not in sys.modules
        self._importing.append((source, names))
        try:
            importlib.import_module(source.module)
            if source.place and fresh and not names:
                raise ImportError(f"it registers no {self.kind}")
        except Exception as error:  # an error in one plugin must not break the others
            for name in names:
                del self.entries[name]
                self.external.discard(name)
            self._failed.add(source)
            self._explain(source, error)
        finally:
            self._importing.pop()

    def _explain(self, source: Source, error: Exception) -> None:
        """Keep the reason why a plugin cannot be imported."""
        name = source.name
        if source.place and name in self.unavailable:
            name = f"{name} ({source.place})"
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        where = f" ({source.place})" if source.place else ""
        self.unavailable[name] = f"{kind}{error}{where}"
        if _lacks_library(error):
            self.lacking.add(name)


@cache
def _entry_points(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda point: point.name)


def _may_register(file: str, name: str) -> bool:
    """Whether a file may register `name`: the file has this name, or begins with it and `_`."""
    return file == name or file.startswith(f"{name}_")


def _lacks_library(error: Exception) -> bool:
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return False
    whole = "." not in error.name  # a missing submodule is a mistake: its library is installed
    return whole and error.name not in ("bench", *PLUGIN_FOLDERS)
