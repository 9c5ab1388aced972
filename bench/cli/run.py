"""The main job: train, evaluate and measure the cells of a grid, then write the report."""

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.listing import show_all
from bench.cli.parsing import ArgumentParser, add_out, plain
from bench.cli.report import write_all
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.progress import Progress
    from bench.spec import Cell, Record
    from bench.store import Store

LONGEST_S = 1_000_000  # of one cell; the system's own limit is near

EXAMPLES = """examples:
  %(prog)s --methods lora,adapter --dataset steel
  %(prog)s --methods "lora[rank=1|4|16,targets=qv|qkvo],full" --dataset steel --seeds 3
  %(prog)s --methods lora,unet --dataset path/to/folder --out results/mine
  %(prog)s report --out results/mine      rewrite tables and plots from all records
  %(prog)s verify --results results/mine  does it still say what was measured
  %(prog)s conventions results/mine       the same predictions as others would score them
  %(prog)s cost --methods lora,samed      what methods cost, without data or weights
  %(prog)s weights list|fetch|check       public checkpoints of the large backbones
  %(prog)s data list|fetch|check          public image collections
  %(prog)s --list                         methods, datasets and backbones, with their options
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the main job."""
    parser = ArgumentParser(
        prog="run_bench.py",
        usage="%(prog)s --methods LIST --dataset LIST [options] | COMMAND ...",
        description="Compare ways of adapting the Segment Anything Model: accuracy and cost.",
        epilog=EXAMPLES,
    )
    what = parser.add_argument_group("what to run (comma lists make a grid)")
    what.add_argument("--methods", metavar="LIST", help="as in lora[rank=1|4|16],adapter")
    what.add_argument("--dataset", metavar="LIST", help="names, or folders of images and masks")
    what.add_argument(
        "--backbone", metavar="LIST", default="sam_nano", help="foundation models [%(default)s]"
    )
    what.add_argument("--seeds", metavar="N|LIST", default="1", help="a count, or 0,1,2 [1]")
    what.add_argument("--folds", metavar="K", type=int, default=1, help="cross-validate [1]")
    what.add_argument("--labels", metavar="LIST", default="all", help="training images: 1,5,all")
    weights = parser.add_argument_group("weights")
    weights.add_argument(
        "--weights", metavar="KIND", default="pretrained", help="pretrained or random"
    )
    weights.add_argument("--checkpoint", metavar="FILE", type=Path, help="weights of your own")
    what.add_argument(
        "--allow-leakage",
        action="store_true",
        help="train though images of different parts show the same",
    )
    recipe = parser.add_argument_group("recipe (equal for all methods)")
    recipe.add_argument("--protocol", metavar="NAME", default="equal", help="[%(default)s]")
    for name, note in (
        ("--image-size", "side of the model's input in pixels [the backbone's own]"),
        ("--epochs", "passes over the augmentation bank"),
        ("--steps", "optimiser steps"),
        ("--batch-size", "images a step"),
    ):
        recipe.add_argument(name, metavar="N", type=int, help=note)
    recipe.add_argument("--precision", metavar="KIND", help="bf16 (autocast) or fp32")
    recipe.add_argument("--loss", metavar="NAME", help="another loss than the recipe's")
    recipe.add_argument("--augmentation", metavar="NAME", help="another bank than the recipe's")
    recipe.add_argument(
        "--evaluation",
        metavar="NAME",
        help="whole (resized), tiles (native resolution), or generator (SAM's masks of everything)",
    )
    recipe.add_argument(
        "--checkpointing",
        action="store_true",
        help="compute activations again in the backward pass: less memory, more time",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu or cuda")
    how.add_argument("--threads", metavar="N", type=int, help="CPU threads [all cores]")
    how.add_argument("--timeout", metavar="S", type=float, help="seconds a cell may take")
    how.add_argument(
        "--retry", action="store_true", help="run again what ended oom, diverged, timeout"
    )
    add_out(how)
    how.add_argument("--list", action="store_true", help="show what there is, and stop")
    how.add_argument("--dry-run", action="store_true", help="show the cells, and stop")
    return parser


def run(asked: argparse.Namespace, console: Console) -> int:
    """Run what is asked for; 1 if a cell did not end well."""
    if asked.list:
        return show_all(console)
    from bench.grid import Request, expand
    from bench.isolate import start_server
    from bench.store import Store

    for name in ("methods", "dataset"):
        if getattr(asked, name) is None:
            raise UserError(f"--{name} is missing: --list shows what there is, --help how to ask")
    _check_limits(asked)
    if not asked.dry_run:
        start_server("bench.runner")  # imports torch while this process does
    cells, notes = expand(
        Request(
            methods=asked.methods,
            datasets=asked.dataset,
            backbones=asked.backbone,
            weights=asked.weights,
            checkpoint=asked.checkpoint,
            protocol=asked.protocol,
            seeds=asked.seeds,
            folds=asked.folds,
            labels=asked.labels,
            image_size=asked.image_size,
            epochs=asked.epochs,
            steps=asked.steps,
            batch_size=asked.batch_size,
            precision=asked.precision,
            loss=asked.loss,
            augmentation=asked.augmentation,
            evaluation=asked.evaluation,
            checkpointing=asked.checkpointing,
            allow_leakage=asked.allow_leakage,
        )
    )
    device = _device(asked.device)
    for note in notes:
        console.print(f"[dim]note: {plain(note)}[/]")
    if asked.dry_run:
        return _dry_run(cells, Store(asked.out), console)
    store = Store.open(asked.out)
    store.read_all()  # a file that is no record stops the run now, not hours later
    records = _work(cells, store, device, asked, console)
    write_all(store, console)
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        console.print(f"[red]{record.status}[/] {plain(record.cell.label)}: {plain(record.error)}")
    return 1 if failed else 0


def _check_limits(asked: argparse.Namespace) -> None:
    if asked.threads is not None and asked.threads < 1:
        raise UserError(f"--threads is {asked.threads}: give 1 or more")
    if asked.timeout is not None and not 0 < asked.timeout <= LONGEST_S:
        raise UserError(f"--timeout is {asked.timeout:g}: give seconds, up to {LONGEST_S}")


def _work(
    cells: "list[Cell]", store: "Store", device: str, asked: argparse.Namespace, console: Console
) -> "list[Record]":
    """Run what is not done yet; cells that another run holds are awaited at the end."""
    from rich.live import Live

    from bench.progress import Progress

    progress, records, waiting = Progress(len(cells)), [], list(cells)
    with Live(progress, console=console, transient=True, refresh_per_second=4):
        while waiting:
            held = []
            for cell in waiting:
                with store.claim(cell) as free:
                    if not free:
                        held.append(cell)
                        continue
                    done = store.read(cell)
                    ran = done is None or _again(done, asked.retry)
                    record = _one(cell, store, device, asked, progress) if ran else done
                assert record is not None
                records.append(record)
                console.print(progress.finish(record, ran))
            if len(held) == len(waiting):
                progress.waiting = len(held)
                time.sleep(1)
            waiting = held
    return records


def _again(done: "Record", retry: bool) -> bool:
    """A failure may have been mended, or been a kill; the other outcomes would come again."""
    return done.status == "failed" or (retry and done.status != "ok")


def _one(
    cell: "Cell", store: "Store", device: str, asked: argparse.Namespace, progress: "Progress"
) -> "Record":
    """Run one cell in a process of its own; there is a record afterwards, whatever happens."""
    from bench.isolate import ProcessDiedError, isolate
    from bench.runner import failure, work

    threads = asked.threads or os.cpu_count() or 1
    progress.begin(cell)
    try:
        isolate(work, cell, device, threads, store, on_event=progress.show, limit_s=asked.timeout)
    except TimeoutError as error:
        store.write(failure(cell, "timeout", str(error), device))
    except ProcessDiedError as error:
        store.write(failure(cell, "failed", str(error), device))
    record = store.read(cell)
    assert record is not None
    return record


def _dry_run(cells: "list[Cell]", store: "Store", console: Console) -> int:
    from rich.table import Table

    table = Table("Cell", "Dataset", "Backbone", "Weights", "Seed", "Fold", "Labels", "State")
    for cell in cells:
        done = store.read(cell)
        table.add_row(
            plain(cell.label),
            plain(cell.dataset_name),
            cell.task.backbone,
            plain(Path(cell.task.weights).name),
            str(cell.seed),
            f"{cell.fold + 1}/{cell.folds}",
            str(cell.labels or "all"),
            "to do" if done is None else done.status,
        )
    console.print(table)
    left = sum(store.read(cell) is None for cell in cells)
    console.print(f"{len(cells)} cell{'s'[: len(cells) != 1]}, {left} to do, in {store.folder}")
    return 0


def _device(asked: str) -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *["cuda"][:count], *(f"cuda:{index}" for index in range(count))]
    if asked == "auto":
        return "cuda" if count else "cpu"
    if asked not in here:
        raise UserError(f"device '{asked}' is not here: give auto, {', '.join(here)}")
    return asked
