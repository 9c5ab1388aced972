"""List the cells of a grid with their ids and states, for schedulers of your own."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.cli.cells import add_run_options
from bench.cli.parsing import AddOptions, ArgumentParser, plain
from bench.cli.run import add_grid_options, add_recipe_options, expand_request
from bench.wording import counted

if TYPE_CHECKING:
    from bench.run.store import Store
    from bench.spec import Cell


def parser() -> argparse.ArgumentParser:
    """The parser of `cells`: the options of a run, and `--json`."""
    parser = ArgumentParser(
        command="cells",
        description="List the cells of a grid and whether they are done; nothing runs. Give the"
        " options of the run.",
    )
    add = AddOptions(parser)
    add_grid_options(parser)
    add_recipe_options(parser)
    add_run_options(parser)
    add("--json  a list of objects")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print one line, or one object, for each cell; returns the exit code 0.

    Without `--shard`, an object also has "shard": with this value of `--shard`, a run with the same
    options runs this cell only. Notes on the grid are printed on stderr.

    Raises:
        UserError: as for a run with the same options.
    """
    from bench.run.shard import shard_of, shard_order
    from bench.run.store import Store

    errors = Console(stderr=True, highlight=False)
    arguments.dry_run = True  # no process is prepared
    cells, notes, settings = expand_request(arguments, errors)
    cells, store = shard_of(cells, settings.shard), Store(arguments.out)
    if settings.fit_memory:
        from bench.run.fit_memory import fit_memory

        cells, choices = fit_memory(cells, store, settings.find_device())
        notes = [*notes, *choices]
    for note in notes:
        errors.print(f"[dim]note: {plain(note)}[/]", soft_wrap=True)
    rows = [describe_cell(cell, store, settings.retry) for cell in cells]
    if not settings.shard:
        for number, row in enumerate(sorted(rows, key=lambda row: shard_order(row["id"])), 1):
            row["shard"] = f"{number}/{len(rows)}"
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        print(f"{'done' if row['done'] else 'to do':<6} {row['status'] or '-':<12} {row['id']}")
    done = sum(row["done"] for row in rows)
    errors.print(f"{counted(len(rows), 'cell')}, {done} done", highlight=False)
    return 0


def describe_cell(cell: "Cell", store: "Store", retry: bool) -> dict[str, Any]:
    """What a scheduler needs to know of a cell, as plain values.

    Args:
        cell: the cell.
        store: the results folder; it need not exist.
        retry: as in `RunSettings`.

    Returns:
        "id", the settings, "status" of its record (None without one), "done" (the same run would
        not run it again) and "record", the path of its record, which need not exist.
    """
    from bench.run.schedule import runs_again

    record, task = store.read(cell), cell.task
    return {
        "id": cell.id,
        "method": cell.label,
        "dataset": cell.dataset_name,
        "test_dataset": cell.tested_name if cell.test_dataset else None,
        "backbone": task.backbone,
        "weights": Path(task.weights).name,
        "image_size": task.image_size,
        "protocol": cell.protocol,
        "steps": cell.recipe.steps,
        "labels": cell.labels,
        "seed": cell.seed,
        "fold": cell.fold,
        "folds": cell.folds,
        "status": None if record is None else record.status,
        "done": record is not None and not runs_again(record, retry),
        "record": str(store.path(cell)),
    }
