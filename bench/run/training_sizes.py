"""The number of training images of cells, which predictions of memory need."""

from dataclasses import dataclass, field
from typing import Any

from bench.data.items import Collection
from bench.data.selection import Selection
from bench.plugins.registry import load_collection
from bench.run.predictor import training_size
from bench.run.record_images import selection_of
from bench.run.setup import split_of
from bench.spec import Cell


@dataclass
class TrainingSizes:
    """The sizes of the training parts of cells; each dataset is read and divided once.

    Attributes:
        collections: the datasets that have been read, by name or path and selection.
        sizes: dataset and division to the number of images or stacks.
    """

    collections: dict[tuple[str, Selection], Collection] = field(default_factory=dict)
    sizes: dict[Any, int] = field(default_factory=dict)

    def of(self, cell: Cell) -> int:
        """The number of training images, or stacks of slices, of a cell.

        Raises:
            UserError: the dataset cannot be read or divided.
        """
        if cell.labels is not None:
            return cell.labels  # there are no stacks with a label budget
        source = cell.dataset, selection_of(cell)
        key = (source, cell.fold, cell.folds, cell.split, cell.joined, cell.task.depth)
        if key not in self.sizes:
            if source not in self.collections:
                self.collections[source] = load_collection(*source)
            self.sizes[key] = training_size(cell, split_of(cell, self.collections[source]))
        return self.sizes[key]
