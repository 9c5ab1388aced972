"""Plugins are found by looking into their folder; a file is imported when it is asked for."""

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bench.errors import UserError
from bench.plugins.checkout import PLUGIN_FOLDERS

Entry = TypeVar("Entry")


@dataclass
class Plugins(Generic[Entry]):
    """What the files of one plugin package have registered.

    A file that cannot be imported is kept with its reason and does not break the others.

    Attributes:
        kind: the word for an entry in messages.
        package: import name of the folder.
        entries: registered name to entry.
        unavailable: file name to the reason why it cannot be imported here.
        lacking: those of them that want nothing but a library from elsewhere.
    """

    kind: str
    package: str
    entries: dict[str, Entry] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)

    def add(self, name: str, entry: Entry) -> None:
        """Register an entry; ValueError where the name is taken."""
        if name in self.entries:
            raise ValueError(f"{self.kind} '{name}' is registered twice")
        self.entries[name] = entry

    def find(self, name: str) -> Entry | None:
        """The entry, or None; UserError where its file cannot be imported."""
        for file in sorted(self._files(), key=lambda file: file != name):  # its own file first
            if name in self.entries:
                break
            self._import(file)
        if name not in self.entries:
            for file, reason in self.unavailable.items():
                if file == name or file.startswith(f"{name}_"):  # a file may have a longer name
                    raise UserError(f"{self.kind} '{name}' cannot be used here: {reason}")
        return self.entries.get(name)

    def all(self) -> list[Entry]:
        """Every entry that can be used here, by name."""
        return [self.entries[name] for name in self.names()]

    def names(self) -> list[str]:
        """The name of every entry that can be used here, sorted."""
        for file in self._files():
            self._import(file)
        return sorted(self.entries)

    def _files(self) -> list[str]:
        package = importlib.import_module(self.package)
        return [found.name for found in pkgutil.iter_modules(package.__path__)]

    def _import(self, file: str) -> None:
        if file in self.unavailable:
            return
        before = dict(self.entries)
        try:
            importlib.import_module(f"{self.package}.{file}")
        except Exception as error:  # whatever a plugin does wrong must not break the others
            self.entries = before
            kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
            self.unavailable[file] = f"{kind}{error}"
            if _wants_library(error):
                self.lacking.add(file)


def _wants_library(error: Exception) -> bool:
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return False
    whole = "." not in error.name  # a part that is missing is a mistake: its library is there
    return whole and error.name not in ("bench", *PLUGIN_FOLDERS)
