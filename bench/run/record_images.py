"""Images of records: are they still where and what they were?"""

from collections.abc import Callable, Iterable

from bench.data.fingerprint import fingerprint
from bench.data.items import Collection
from bench.errors import UserError
from bench.spec import Cell


class Present:
    """The collections of cells; each is read once.

    Args:
        load: from the name or path of a dataset to its images, as `load_collection`.
    """

    def __init__(self, load: Callable[[str], Collection]) -> None:
        self._load = load
        self._read: dict[str, tuple[Collection, str] | None] = {}

    def at(self, address: str) -> tuple[Collection, str] | None:
        """What is at the address of a dataset now, and its fingerprint."""
        if address not in self._read:
            try:
                collection = self._load(address)
                self._read[address] = collection, fingerprint(collection)
            except UserError:
                self._read[address] = None
        return self._read[address]

    def of(self, cell: Cell) -> Collection | str:
        """The collection of a cell, or why it is not here."""
        read = self.at(cell.dataset)
        if read is None:
            return f"{cell.dataset_name}: its images are not here"
        if read[1] != cell.dataset_sha:
            return f"{cell.dataset_name}: its images are others here"
        return read[0]

    def by_name(self, cells: Iterable[Cell]) -> dict[str, Collection]:
        """Collections by their names, where they are those of all these cells."""
        found: dict[str, Collection] = {}
        absent = set()
        for cell in cells:
            collection = self.of(cell)
            if isinstance(collection, str):
                absent.add(cell.dataset_name)
            else:
                found.setdefault(cell.dataset_name, collection)
        return {name: collection for name, collection in found.items() if name not in absent}
