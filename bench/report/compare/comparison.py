"""Group records into comparisons: the runs of one table, with title and notes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from bench.report.compare.grouping import names_of, table_key
from bench.report.compare.ranking import Block, rank
from bench.report.records.class_scores import class_columns, missed_classes
from bench.report.records.columns import COLUMNS, Column
from bench.report.records.rows import Row, gather
from bench.report.records.runs import Runs
from bench.spec import Cell
from bench.wording import counted

PROMPTS = ("none", "automatic", "oracle")  # in the order of their blocks


@dataclass(frozen=True, eq=False)
class Comparison:
    """The rows of one table, whose cells have the same `table_key`.

    Attributes:
        title: dataset, protocol, labels, image size, under `equal` the training budget, and all
            other common settings that are not the defaults.
        short_title: the dataset and all settings that are not the defaults.
        slug: the same as a name for files, unique in a report.
        dataset: name of the dataset, and of another one that was tested on.
        test_images: name of the dataset of the test images.
        blocks: one for each origin of prompts that occurs, in the order of `PROMPTS`, never ranked
            against each other.
        notes: first the verdict on each block, then sentences that explain the values and the
            marks, and every failed run with its reason.
    """

    title: str
    short_title: str
    slug: str
    dataset: str
    test_images: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of all blocks, in their order."""
        return [row for block in self.blocks for row in block.rows]

    @cached_property
    def columns(self) -> list[Column]:
        """The columns of its tables: `COLUMNS` without optional ones that no row has a value of."""
        return [
            column
            for column in COLUMNS
            if not column.optional or any(row.values[column.key].runs for row in self.rows)
        ]

    @cached_property
    def class_columns(self) -> list[Column]:
        """Columns with the Dice of each class; empty for one foreground class or many."""
        return class_columns(self.rows)

    @property
    def verdicts(self) -> list[str]:
        """The first of the `notes`: one for each block with at least two different values."""
        return list(_verdicts(self.blocks))

    @property
    def all_columns(self) -> list[Column]:
        """`columns`, then `class_columns`: what tables show, in this order."""
        return [*self.columns, *self.class_columns]

    def alone(self) -> "Comparison":
        """The same comparison with rows that refer to its own runs only, to send to a process."""
        runs = self.rows[0].runs
        places = sorted({place for row in self.rows for place in row.places})
        own = Runs(runs.frame.iloc[places])
        moved = {place: number for number, place in enumerate(places)}

        def alone(row: Row) -> Row:
            of_row = [moved[place] for place in row.places]
            succeeded = [moved[place] for place in row.succeeded]
            return replace(row, runs=own, places=of_row, succeeded=succeeded)

        blocks = (replace(block, rows=tuple(map(alone, block.rows))) for block in self.blocks)
        return replace(self, blocks=tuple(blocks))


def make_comparisons(frame: pd.DataFrame) -> list[Comparison]:
    """Make a comparison for each `table_key` of the cells.

    Args:
        frame: result of `to_frame`.

    Returns:
        The comparisons, sorted by `slug`.
    """
    runs = Runs(frame)
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for place, cell in enumerate(runs.cells):
        groups[table_key(cell)].append(place)
    cells = [runs.cells[places[0]] for places in groups.values()]
    comparisons = [
        _compare(words, slug, runs, places)
        for places, (words, slug) in zip(groups.values(), names_of(cells), strict=True)
    ]
    return sorted(comparisons, key=lambda comparison: comparison.slug)


def _compare(words: tuple[str, ...], slug: str, runs: Runs, places: Sequence[int]) -> Comparison:
    rows = gather(runs, places)
    cells = [runs.cells[place] for place in places]
    folds = {cell.fold for cell in cells}
    blocks = tuple(
        rank(prompts, [row for row in rows if row.prompts == prompts], folds)
        for prompts in PROMPTS
        if any(row.prompts == prompts for row in rows)
    )
    ordered = [row for block in blocks for row in block.rows]
    notes = (
        *_verdicts(blocks),
        *_reading(cells),
        *_tested(cells[0]),
        *_leaks(cells),
        *_rank_notes(blocks),
        *_threads(ordered),
        *_failures(ordered),
        *_gaps(ordered),
        *missed_classes(ordered),
    )
    title = _title(cells[0], words)
    cell = cells[0]
    dataset, tested = cell.images_label, cell.tested_name
    return Comparison(title, ", ".join(words), slug, dataset, tested, blocks, notes)


def _title(cell: Cell, words: tuple[str, ...]) -> str:
    labels = "all labels" if cell.labels is None else counted(cell.labels, "label")
    standing = f"{cell.protocol} protocol, {labels}, {cell.task.image_size} px"
    batch = counted(cell.recipe.batch_size, "image" if cell.task.depth == 1 else "stack")
    budget = f", {cell.recipe.steps} steps of {batch}"
    known = (f"{cell.protocol} ", f"{cell.labels} ", f"{cell.task.image_size} ", "steps ", "batch")
    rest = [word for word in words[1:] if not word.startswith(known)]
    shown = standing + (budget if cell.protocol == "equal" else "")
    return f"{words[0]}: " + ", ".join([shown, *rest])


def _reading(cells: Sequence[Cell]) -> Iterator[str]:
    depth = cells[0].task.depth
    one, what = ("image",) * 2 if depth == 1 else (f"stack of {depth} slices", "stack")
    *others, last = sorted({cell.recipe.batch_size for cell in cells})
    batches = " or ".join([*map(str, others), counted(last, what)])
    yield (
        "Dice and IoU are means over the foreground classes, of all test pixels together; "
        "± is the standard deviation over runs (seeds and folds), speeds are those of the fastest "
        f"run. Forward is one {one}; train "
        f"step and peak memory are one batch ({batches}). "
        "FLOPs are 2 x multiply-adds."
    )


def _tested(cell: Cell) -> Iterator[str]:
    if cell.test_dataset:
        yield (
            f"Trained and validated on {cell.dataset_name}, tested on all images of "
            f"{cell.tested_name}; in-domain Dice is that of the same models on the test part of "
            f"{cell.dataset_name}."
        )


def _verdicts(blocks: tuple[Block, ...]) -> Iterator[str]:
    for block in blocks:
        if block.verdict:
            yield block.verdict if len(blocks) == 1 else f"Prompts {block.prompts}: {block.verdict}"


def _rank_notes(blocks: tuple[Block, ...]) -> Iterator[str]:
    for block in blocks:
        prefix = "" if len(blocks) == 1 else f"Prompts {block.prompts}: "
        yield from (prefix + note for note in block.notes)
        if block.prompts == "oracle":
            yield "Oracle prompts are made from the ground truth, which users do not have."


def _failures(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        failed: dict[tuple[str, str], list[Cell]] = defaultdict(list)
        for place in row.places:
            if row.runs.statuses[place] != "ok":
                outcome = row.runs.statuses[place], row.runs.errors[place]
                failed[outcome].append(row.runs.cells[place])
        for (status, error), cells in sorted(failed.items(), key=lambda pair: pair[0]):
            # Folds are shown from 1, as in their table and in dry runs.
            seeds = [f"{c.seed}" if c.folds == 1 else f"{c.seed} fold {c.fold + 1}" for c in cells]
            reason = error or "no reason recorded"
            yield f"{row.name}, seed {', '.join(seeds)}: {status}: {reason}"


def _leaks(cells: Sequence[Cell]) -> Iterator[str]:
    """Overlaps between parts that `--allow-leakage` accepted."""
    leaks = list(dict.fromkeys(leak for cell in cells for leak in cell.leaks))
    if leaks:
        yield (
            "Scores may be too high because images of different parts overlap (allowed with "
            f"--allow-leakage; first of {len(leaks)}): {leaks[0]}."
        )


def _threads(rows: list[Row]) -> Iterator[str]:
    """Numbers of threads that differ within a row or between rows: they change results."""
    for row in rows:
        if len(row.threads) > 1:
            yield (
                f"{row.name} mixes runs with {_listed(row.threads)} CPU threads: the number "
                "changes results, so ± holds more than seeds and folds."
            )
    by_number: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        if len(row.threads) == 1:
            by_number[next(iter(row.threads))].append(row.name)
    if len(by_number) > 1:
        parts = (f"{counted(n, 'thread')}: {', '.join(by_number[n])}" for n in sorted(by_number))
        yield f"Rows ran with different numbers of CPU threads: {'; '.join(parts)}."


def _listed(numbers: set[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))


def _gaps(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        for column in COLUMNS:
            runs, succeeded = row.values[column.key].runs, len(row.succeeded)
            if 0 < runs < succeeded:
                yield f"{row.name}: {column.title} is defined in {runs} of {succeeded} runs."
