"""Train the final model of a method, for use with `predict`."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.cells import add_save_every
from bench.cli.parsing import AddOptions, ArgumentParser, add_out, plain, read_path
from bench.cli.run import add_grid_options, add_recipe_options
from bench.errors import UserError
from bench.wording import counted, program_name

if TYPE_CHECKING:
    from bench.keep.header import ModelHeader
    from bench.run.final import FinalTraining
    from bench.spec import Cell

SHOWN = 6  # names of images in a line


def parser() -> argparse.ArgumentParser:
    """The parser of `train`.

    Its `dest` are names of fields of `Request`, except `model`, `all`, `device`, `threads`,
    `save_every`, `out`, and `plugins` where it is given.
    """
    parser = ArgumentParser(
        command="train",
        description="Train the method that you chose on the train and validation images together,"
        " and write the model with its model card. The model is tested on nothing; the accuracy to"
        " expect is that of the runs with the same settings in the results folder.",
    )
    add_grid_options(parser)
    add_recipe_options(parser)
    group = AddOptions(parser.add_argument_group("the final model"))
    group("--model FILE  file to write", required=True, type=read_path)
    group("--all  also train on the test images")
    group("--device NAME  auto, cpu or cuda", default="auto")
    group("--threads N  CPU threads [all cores]")
    add_save_every(group)
    add_out(group)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Train the final model, write it with its model card, and say what is known about it.

    Returns:
        The exit code 0.

    Raises:
        UserError: a value is not allowed, the options do not name exactly one cell, a record in the
            results folder cannot be read, or as `train_final`, which also raises other errors.
    """
    from bench.ask.grid import expand
    from bench.ask.request import Request, pick_fields
    from bench.run.durations import read_seconds
    from bench.run.final import FinalTraining
    from bench.run.models import chosen_zoom, scores_of
    from bench.run.schedule import RunSettings
    from bench.run.store import Store

    for option, value in (("methods", arguments.methods), ("dataset", arguments.datasets)):
        if value is None:
            raise UserError(f"--{option} is missing: name one")
    if arguments.model.is_dir() or arguments.model.suffix != ".safetensors":
        raise UserError(f"--model cannot be '{arguments.model}': give a file NAME.safetensors")
    save_every = arguments.save_every
    settings = RunSettings(arguments.device, threads=arguments.threads, save_every=save_every)
    settings.check()
    device = settings.find_device()
    request = Request(**pick_fields(Request, vars(arguments))).on_device(device)
    cells, notes = expand(request)
    if len(cells) != 1:
        raise UserError(
            f"train makes one model, but this names {len(cells)}: give one method, dataset,"
            " backbone, label budget and seed"
        )
    for note in notes:
        console.print(f"[dim]note: {plain(note)}[/]", soft_wrap=True)
    (cell,) = cells
    zoom = chosen_zoom(cell, Store(arguments.out).stream())
    repeats = scores_of(cell, Store(arguments.out).stream())
    training = FinalTraining(cell, arguments.all, repeats, zoom)
    threads = arguments.threads or os.cpu_count() or 1
    save_s = read_seconds(save_every, "--save-every")
    header = _train(training, device, threads, arguments.model, save_s, console)
    _report(header, arguments, console)
    return 0


def _train(
    training: "FinalTraining",
    device: str,
    threads: int,
    path: Path,
    save_s: float,
    console: Console,
) -> "ModelHeader":
    """Train, showing the progress."""
    import torch
    from rich.live import Live

    from bench.cli.progress import Progress
    from bench.cli.progress_log import ProgressLog
    from bench.run.events import CellProgress, CellProgressed, CellStarted, RunStarted
    from bench.run.final import train_final

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # as in the cells
    progress = Progress()
    display = Live(progress, console=console, transient=True, refresh_per_second=4)
    log = ProgressLog(console)
    take = progress.update if console.is_terminal else log.update

    def show(event: CellProgress) -> None:
        take(CellProgressed(training.cell, event))

    with display if console.is_terminal else log:
        take(RunStarted((training.cell,), threads))
        take(CellStarted(training.cell))
        return train_final(training, device, path, show, save_s)


def _report(header: "ModelHeader", arguments: argparse.Namespace, console: Console) -> None:
    """Say what the model was trained on, and what is known about its accuracy."""
    from bench.keep.model_card import spread

    path = arguments.model
    for part, names in header.trained_on.items():
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        console.print(plain(f"trained on {counted(len(names), 'image')} of {part}: {shown}"))
    console.print("this very model was tested on nothing", soft_wrap=True)
    if header.repeats:
        console.print(
            plain(
                f"the same settings, trained on the train part only, have a test Dice of"
                f" {spread(header.repeats)} in {arguments.out}"
            ),
            soft_wrap=True,
        )
    else:
        console.print(
            plain(
                f"no run with these settings is in {arguments.out}: to learn its accuracy, run"
                f" {_comparison(header.cell, arguments)}"
            ),
            soft_wrap=True,
        )
    size = path.stat().st_size / 2**20
    console.print(
        plain(f"wrote {path} ({size:.1f} MiB) and {path.with_suffix('.md')}"), soft_wrap=True
    )


def _comparison(cell: "Cell", arguments: argparse.Namespace) -> str:
    """The command that runs the cell with the same settings."""
    return (
        f'{program_name()} --methods "{cell.label}" --dataset {arguments.datasets} --seeds 3'
        f" --out {arguments.out} with the same other options"
    )
