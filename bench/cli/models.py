"""List the kept models of a results folder, and remove all but the best of each method."""

import argparse

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, add_out, plain
from bench.wording import counted


def parser() -> argparse.ArgumentParser:
    """The parser of `models`."""
    parser = ArgumentParser(
        command="models",
        description="List the models that runs kept, with their sizes. With --prune, remove all but"
        " the best of each method (highest validation Dice over seeds and folds).",
    )
    add = AddOptions(parser)
    add("--prune  remove all but the best")
    add_out(add)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Remove models on request, then list those that remain; returns the exit code 0.

    `--prune` removes those of runs with `--keep all` too, see `remove_worse_models`. A results
    folder that does not exist has no models.
    """
    from bench.run.models import list_models, remove_worse_models
    from bench.run.store import Store

    folder = Store(arguments.out).models
    if arguments.prune:
        removed = remove_worse_models(folder, also_kept_all=True)
        console.print(plain(f"removed {counted(len(removed), 'model')}"))
    models = list_models(folder)
    sizes = {path: path.stat().st_size / 2**20 for path in models}
    for path, header in models.items():
        cell, dice = header.cell, header.metrics.get("dice_dataset")
        score = "no Dice" if dice is None else f"Dice {100 * dice:.1f} %"
        place = f"seed {cell.seed}, fold {cell.fold}"
        words = (cell.full_label, cell.dataset_name, place, score, f"kept as {header.rule}")
        console.print(plain(str(path)), soft_wrap=True)
        console.print(plain(f"  {' · '.join(words)} · {sizes[path]:.2f} MiB"), soft_wrap=True)
    total = f"{counted(len(models), 'model')}, {sum(sizes.values()):.1f} MiB, in {folder}"
    console.print(plain(total), soft_wrap=True)
    return 0
