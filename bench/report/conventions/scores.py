"""Score stored predictions by the conventions of several projects."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.decode import decode_mask
from bench.data.fingerprint import fingerprint
from bench.data.items import Collection, Item
from bench.data.masks import read_mask
from bench.data.selection import Selection
from bench.errors import UserError
from bench.metrics.cases import Case, read_case
from bench.metrics.conventions import CONVENTIONS
from bench.metrics.overlap import mean_defined
from bench.report.compare.comparison import make_comparisons
from bench.report.compare.ranking import Block
from bench.report.conventions.order_changes import (
    MeasureKey,
    OrderChange,
    Scores,
    find_order_changes,
)
from bench.report.records.frame import to_frame
from bench.report.records.rows import Row
from bench.run.record_images import selection_of
from bench.run.store import Store
from bench.spec import Cell, Record

Load = Callable[[str, Selection], Collection]
Folder = Callable[[Cell], Path]  # from a cell to the folder of its class maps


@dataclass(frozen=True, eq=False)
class ScoredBlock:
    """The scores of methods with the same prompt origin.

    Attributes:
        prompts: the prompt origin.
        scores: for each method (label of its row, or name if labels are equal) and column
            (convention and measure) the mean over runs; None if a run has no value. Rows without
            runs for all folds are left out.
        order_changes: pairs of methods whose order depends on the convention, clearest first.
    """

    prompts: str
    scores: Scores
    order_changes: tuple[OrderChange, ...]


@dataclass(frozen=True, eq=False)
class ScoredComparison:
    """The scores of the runs of one table.

    Attributes:
        title: of the table.
        blocks: one for each prompt origin that occurs.
        notes: sentences that explain the scores.
    """

    title: str
    blocks: tuple[ScoredBlock, ...]
    notes: tuple[str, ...]


def find_records(places: Sequence[Path], dataset: str | None = None) -> tuple[list[Record], Folder]:
    """Read the records of one dataset.

    Args:
        places: files of records, in `records/` of a results folder, or results folders. A folder
            stands for all its successful runs; a file may hold a failed one. Of records with one
            id, that of the last place counts.
        dataset: name of the dataset that the models were trained on; None if all records are of
            one.

    Returns:
        The records, and a function from the cell of one of them to the folder of its class maps,
        which need not exist.

    Raises:
        UserError: a place has no records, a file in its results folder is not a valid record, or
            there are records of several datasets or none of `dataset`.
    """
    stored: dict[str, tuple[Record, Store]] = {}
    for place in places:
        store = Store(place if place.is_dir() else place.parent.parent)
        records = store.read_all()
        if not place.is_dir():
            records = [one for one in records if store.path(one.cell).resolve() == place.resolve()]
        else:
            records = [one for one in records if one.status == "ok"]
        if not records:
            raise UserError(
                f"no record in {place}: give files such as results/mine/records/ID.json, or a "
                "results folder with successful runs"
            )
        stored |= {one.cell.id: (one, store) for one in records}
    names = sorted({one.cell.dataset_name for one, _ in stored.values()})
    if dataset is None and len(names) > 1:
        raise UserError(f"these records are of {', '.join(names)}: choose one with --dataset NAME")
    if dataset is not None and dataset not in names:
        raise UserError(f"no record here is of dataset '{dataset}': there are {', '.join(names)}")
    chosen = [one for one, _ in stored.values() if dataset in (None, one.cell.dataset_name)]
    return chosen, lambda cell: stored[cell.id][1].predictions(cell)


def compare_conventions(
    records: Iterable[Record], folder: Folder, load: Load
) -> list[ScoredComparison]:
    """Score stored class maps by every convention; one result for each table.

    Args:
        records: records of successful runs.
        folder: from a cell to the folder of its class maps, as `Store.predictions`.
        load: from the name or path of a dataset and a selection to its images, as
            `load_collection`.

    Returns:
        One result for each table, sorted as by `make_comparisons`. Rows without runs for all folds
        that the other rows of their block have are left out, with a note.

    Raises:
        UserError: there are no records, a run failed, a class map is missing or does not fit, or
            the images are missing or differ from those that it was tested on.
    """
    records = list(records)
    for record in records:
        if record.status != "ok":
            raise UserError(
                f"{record.cell.id} has the status {record.status} and no predictions: leave it out"
            )
    collections: dict[tuple[str, ...], Collection] = {}
    for cell in (record.cell for record in records):
        key = _images_of(cell)
        if key not in collections:
            collections[key] = _load(cell, load)
    compared = []
    for one in make_comparisons(to_frame(records)):
        blocks = tuple(_score(block, collections, folder) for block in one.blocks)
        cells = [cell for row in one.rows for cell in row.cells]
        used = collections[_images_of(cells[0])]
        compared.append(ScoredComparison(one.title, blocks, tuple(_notes(used, one.blocks))))
    return compared


def _images_of(cell: Cell) -> tuple[str, ...]:
    """What the images of a cell depend on."""
    return cell.tested_dataset, cell.tested_sha, cell.task.channels, cell.task.crop


def _load(cell: Cell, load: Load) -> Collection:
    collection = load(cell.tested_dataset, selection_of(cell))
    if fingerprint(collection) != cell.tested_sha:
        raise UserError(
            f"the images of '{cell.tested_dataset}' differ from those that {cell.id} was tested on:"
            " restore the old images, or run the methods again"
        )
    return collection


def _score(
    block: Block, collections: Mapping[tuple[str, ...], Collection], folder: Folder
) -> ScoredBlock:
    labels = Counter(row.label for row in block.rows)
    scores = {}
    for row in _comparable(block):
        runs = [
            _figures(read_cases(cell, images, collections[_images_of(cell)], folder))
            for cell, images in zip(row.column("cell"), row.column("per_image"), strict=True)
        ]
        scores[row.label if labels[row.label] == 1 else row.name] = {
            column: None
            if None in (values := [run[column] for run in runs])
            else mean_defined(values)
            for column in runs[0]
        }
    return ScoredBlock(block.prompts, scores, tuple(find_order_changes(scores)))


def _comparable(block: Block) -> list[Row]:
    """Rows whose runs cover all folds; other rows were tested on other images."""
    folds = {fold for row in block.rows for fold in row.column("fold")}
    return [row for row in block.rows if set(row.column("fold")) == folds]


def _figures(cases: Sequence[Case]) -> dict[MeasureKey, float | None]:
    return {
        (convention.name, measure): value
        for convention in CONVENTIONS
        for measure, value in convention.score(cases).items()
    }


def read_cases(
    cell: Cell, images: Sequence[Mapping[str, Any]], collection: Collection, folder: Folder
) -> list[Case]:
    """Read prediction and truth of the test images of a run; slices are stacked to volumes.

    Args:
        cell: the run.
        images: `per_image` of its record, with the names of the images; those that the collection
            does not hold are passed over.
        collection: the collection of the images.
        folder: from a cell to the folder of its class maps.

    Returns:
        The counts and distances of each image, or of each volume (its tested slices), in the order
        of the collection.

    Raises:
        UserError: a class map is missing, cannot be read, or does not have the size or classes of
            its image; or a mask cannot be read.
    """
    tested = {image["name"] for image in images}
    volumes: dict[tuple[str, str], list[Item]] = {}
    for item in collection.items:  # slices are in the order of their items
        if item.name in tested:
            key = (item.volume, "" if item.volume else item.name)
            volumes.setdefault(key, []).append(item)
    cases = []
    for (volume, _), items in volumes.items():
        maps = [_class_map(folder(cell) / f"{item.name}.png", cell) for item in items]
        masks = [decode_mask(item, collection) for item in items]
        predicted, truth = (np.stack(maps), np.stack(masks)) if volume else (maps[0], masks[0])
        try:
            cases.append(read_case(predicted, truth, collection.num_classes))
        except ValueError as error:
            raise UserError(
                f"the class map of '{items[0].name}' in {folder(cell)} does not fit ({error}): "
                "run the method again"
            ) from error
    return cases


def _class_map(path: Path, cell: Cell) -> Any:
    if not path.exists():
        raise UserError(
            f"{cell.id} has no stored prediction {path}: give a results folder that contains the "
            "predictions, or run the method again"
        )
    return read_mask(path)


def _notes(collection: Collection, blocks: Sequence[Block]) -> Iterable[str]:
    yield "Scores are means over runs; a lead that is smaller than their spread is not a result."
    if not any(item.volume for item in collection.items):
        yield "These images are not slices: each is scored as one volume, with 2-D distances."
    if collection.num_classes > 2:
        yield "SAM-Adapter and BER have one foreground class: here, every class except 0."
    left = [row.name for block in blocks for row in block.rows if row not in _comparable(block)]
    if left:
        yield f"Left out because folds are missing: {', '.join(left)}."
    yield from (f"{one.name}: {one.limits}" for one in CONVENTIONS if one.limits)
