"""Load the images that the cells of records were run on, and check that they are unchanged."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from bench.data.fingerprint import fingerprint
from bench.data.items import Collection
from bench.data.selection import WHOLE, Selection
from bench.errors import UserError
from bench.spec import Cell


def selection_of(cell: Cell) -> Selection:
    """Channels and frame of the images of a cell."""
    return Selection(cell.task.channels, cell.task.crop)


class RecordImages:
    """The collections of cells. Each collection is loaded and hashed once.

    Args:
        load: function from the name or path of a dataset, and a selection, to its collection,
            such as `load_collection`.
    """

    def __init__(self, load: Callable[[str, Selection], Collection]) -> None:
        self._load = load
        self._loaded: dict[tuple[str, Selection], tuple[Collection, str] | None] = {}

    def load(self, dataset: str, selection: Selection = WHOLE) -> tuple[Collection, str] | None:
        """The collection of a dataset and its fingerprint; None if it cannot be loaded.

        Args:
            dataset: name or path.
            selection: channels and frame of its images.
        """
        key = dataset, selection
        if key not in self._loaded:
            try:
                collection = self._load(dataset, selection)
                self._loaded[key] = collection, fingerprint(collection)
            except UserError:
                self._loaded[key] = None
        return self._loaded[key]

    def of_cell(self, cell: Cell) -> Collection | str:
        """The collection of the test images of a cell, or a sentence why it is not available.

        It is available if it can be loaded and its fingerprint is that of the cell. It holds all
        images of the collection, not only those of the test part.
        """
        loaded = self.load(cell.tested_dataset, selection_of(cell))
        if loaded is None:
            return f"{cell.tested_name}: its images are not on this machine"
        collection, sha = loaded
        if sha != cell.tested_sha:
            return f"{cell.tested_name}: its images on this machine differ from those of the run"
        return collection

    def by_name(self, cells: Iterable[Cell]) -> dict[str, Collection]:
        """Collections of test images by dataset name.

        A name is left out if `of_cell` gives a sentence for any cell with this name, or if cells
        with it have different images: two folders may share their last name.
        """
        collections: dict[str, Collection] = {}
        unavailable = set()
        fingerprints: dict[str, str] = {}
        for cell in cells:
            collection = self.of_cell(cell)
            other = fingerprints.setdefault(cell.tested_name, cell.tested_sha) != cell.tested_sha
            if isinstance(collection, str) or other:
                unavailable.add(cell.tested_name)
            else:
                collections.setdefault(cell.tested_name, collection)
        return {name: images for name, images in collections.items() if name not in unavailable}


class NamedImages(Mapping[str, Collection]):
    """The collections of `RecordImages.by_name`, each loaded when it is asked for.

    `get(name)` and `name in ...` load a collection, which can take seconds.

    Args:
        cells: of the records.
        images: loads the collections.
    """

    def __init__(self, cells: Iterable[Cell], images: RecordImages) -> None:
        self._cells: dict[str, list[Cell]] = {}
        for cell in cells:
            self._cells.setdefault(cell.tested_name, []).append(cell)
        self._images = images
        self._loaded: dict[str, Collection | None] = {}

    def __getitem__(self, name: str) -> Collection:
        if name not in self._loaded:
            collections = self._images.by_name(self._cells.get(name, ()))
            self._loaded[name] = collections.get(name)
        collection = self._loaded[name]
        if collection is None:
            raise KeyError(name)
        return collection

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._cells if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
