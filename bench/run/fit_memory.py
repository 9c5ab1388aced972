"""Choose the number of parts of a batch with which cells fit into the memory of the device."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from bench.objects.rules import get_rule
from bench.plugins.registry import get_method
from bench.record_values import PredictedCost
from bench.run.local import free_bytes
from bench.run.memory_words import memory_warning
from bench.run.predictor import CostPredictor
from bench.run.store import Store
from bench.run.training_sizes import TrainingSizes
from bench.spec import Cell
from bench.wording import counted

# The update of an accumulated batch equals that of the whole batch for these losses, without
# BatchNorm and pixels without a label: docs/protocol/training.md.
MEAN_LOSSES = frozenset(
    {"ce", "bce", "bce_positive_twice", "focal", "softmax_focal", "soft_iou", "binary_dice"}
    | {"bce_soft_iou", "bce_binary_dice"}
)
_MEANS = {f"the loss {name}" for name in MEAN_LOSSES}


def fit_memory(cells: Sequence[Cell], store: Store, device: str) -> tuple[list[Cell], list[str]]:
    """The cells with the largest parts of a batch that fit, and what was chosen in sentences.

    The batch size stays as it is, and all parts have the same size. Under the `equal` protocol all
    cells with the same batch and image size have the same number of parts, since their recipes must
    not differ; under `published` each cell has its own. The number is part of the recipe and of the
    id, as if it were typed (`--accumulate`). Where several numbers fit, the one that most records
    of the folder have is taken again, so that a second run finds its records.

    Args:
        cells: what is to run.
        store: results folder; it need not exist.
        device: name of a torch device.

    Raises:
        UserError: a dataset or a record cannot be read.
    """
    groups: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        equal = cell.protocol == "equal"
        shared = (cell.recipe.batch_size, cell.task.image_size, cell.task.depth)
        groups[shared if equal else (cell.label, cell.task, cell.recipe)].append(cell)
    search = _Search(free_bytes(device), device)
    chosen: dict[str, Cell] = {}
    notes: list[str] = []
    for group in groups.values():
        numbers, certain = search.parts(group, notes)
        parts = _most_recorded(group, numbers, store)
        notes += _notes(group, parts, certain)
        chosen |= {cell.id: _with_parts(cell, parts) for cell in group}
    return [chosen[cell.id] for cell in cells], list(dict.fromkeys(notes))


class _Search:
    """Looks for numbers of parts with which cells fit.

    Args:
        available: free memory of the device in bytes; None if it is not known.
        device: name of a torch device.
    """

    def __init__(self, available: int | None, device: str) -> None:
        self._available, self._device = available, device
        self._sizes, self._predictor = (
            TrainingSizes(),
            CostPredictor(with_time=False, remembers=True),
        )

    def parts(self, group: Sequence[Cell], notes: list[str]) -> tuple[list[int], bool]:
        """The numbers of parts with which all cells of a group fit, the smallest first.

        Cells that fit with no number, or are not predicted, are left out, and named in `notes`. All
        cells of the group have the same batch size.

        Returns:
            The numbers, and whether no cell was left out.
        """
        recipe = group[0].recipe
        least = recipe.accumulate
        size = recipe.batch_size
        numbers = [n for n in range(least, size + 1) if size % n == 0] or [least]
        certain = True
        for cell in group:
            refused = None
            for number in (n for n in numbers if n >= least):
                predicted = self._predict(_with_parts(cell, number))
                if predicted.fits == "fits":
                    least = number
                    break
                if predicted.fits is not None:
                    refused = predicted
                elif refused is None:  # with fewer parts it is not known to be too large
                    certain = False
                    why = predicted.reason or "the free memory is not known"
                    notes.append(f"--fit-memory: {cell.label}: {why}")
                    break
            else:
                assert refused is not None, "there is at least one number"
                certain = False
                notes.append(f"--fit-memory: {memory_warning(cell, refused)}")
        return [n for n in numbers if n >= least], certain

    def _predict(self, cell: Cell) -> PredictedCost:
        size = self._sizes.of(cell)
        return self._predictor.predict(cell, size, self._device, self._available)


def _most_recorded(group: Sequence[Cell], numbers: Sequence[int], store: Store) -> int:
    """The number of parts that most successful records have; of equal ones the first."""

    def recorded(number: int) -> int:
        records = (store.read(_with_parts(cell, number)) for cell in group)
        return sum(record is not None and record.status == "ok" for record in records)

    return max(numbers, key=recorded)


def _with_parts(cell: Cell, number: int) -> Cell:
    return replace(cell, recipe=replace(cell.recipe, accumulate=number))


def _notes(group: Sequence[Cell], parts: int, certain: bool) -> list[str]:
    """What was chosen, and where the update is not that of the whole batch."""
    recipe = group[0].recipe
    if parts == recipe.accumulate:
        return (
            [] if not certain else [f"--fit-memory: batches of {recipe.batch_size} fit as they are"]
        )
    what = f"{counted(parts, 'part')} of {recipe.batch_size // parts}"
    names = ", ".join(dict.fromkeys(cell.label for cell in group))
    notes = [
        f"--fit-memory: batches of {recipe.batch_size} in {what} (--accumulate {parts}): {names}"
    ]
    unequal = sorted({f"the loss {cell.recipe.loss}" for cell in group} - _MEANS)
    unequal += dict.fromkeys(
        f"BatchNorm in {cell.label}" for cell in group if _has_batch_norm(cell)
    )
    if unequal:
        notes.append(
            f"--fit-memory: {', '.join(unequal)}: computed for each part, so the update is not that"
            " of the whole batch"
        )
    return notes


def _has_batch_norm(cell: Cell) -> bool:
    """Whether the model has BatchNorm layers; False for one that cannot be built."""
    try:
        with torch.device("meta"):
            task = get_rule(cell.recipe.objects).built_task(cell.task)
            module = get_method(cell.method).build(task, **cell.options)
    except Exception:  # its cell runs into the error and records it
        return False
    return any(isinstance(part, _BatchNorm) for part in module.modules())
