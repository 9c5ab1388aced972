"""Choose the best method for a collection of images, or replay how well that works."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.cells import add_run_options, prepare_run
from bench.cli.numbers import NumbersInText
from bench.cli.parsing import AddOptions, ArgumentParser, plain, read_path
from bench.cli.run import add_grid_options, add_recipe_options
from bench.errors import UserError
from bench.wording import counted

if TYPE_CHECKING:
    from bench.choice.replay import Replayed
    from bench.choice.setup import Setup
    from bench.run.schedule import RunSettings

EXAMPLES = """examples:
  %(prog)s --dataset my_images --max-memory 8GB --max-time 2h
  %(prog)s --dataset my_images --methods lora,full,unet --tune --max-time 1h
  %(prog)s --dataset my_images --by pq
  %(prog)s --replay
"""


def parser() -> argparse.ArgumentParser:
    """The parser of `choose`."""
    parser = ArgumentParser(
        command="choose",
        description="Choose the best method for a collection of images, within limits of memory,"
        " time, size and speed. One run of every method that fits, further runs for those that are"
        " close. It may be stopped at any time; the same command goes on.",
        epilog=EXAMPLES,
    )
    add_grid_options(parser)
    parser.set_defaults(seeds=None, methods="")
    limits = AddOptions(parser.add_argument_group("what to choose by, and limits"))
    limits(
        "--by SCORE  dice, iou, boundary_iou, hd95, pq, aji, ap, d50 or phase_fraction; all"
        " but dice compare held-out parts, of three folds unless --folds says more"
        " [%(default)s]",
        default="dice",
    )
    limits(
        "--max-memory SIZE  of the device, as 8GB or 'rtx 4070'",
        type=NumbersInText("bench.cost.predict.gpus:find_gpu"),
    )
    limits(
        "--memory-for  what the memory is predicted for [the device of the runs; cuda for a"
        " named GPU]",
        choices=("cuda", "cpu"),
    )
    limits(
        "--max-time TIME  of this command, as 20min or 2h",
        type=NumbersInText("bench.run.durations:read_seconds", "--max-time", "max-time"),
    )
    limits(
        "--max-params N  of the whole model, as 5M",
        type=NumbersInText("bench.choice.limits:parse_count"),
    )
    limits("--min-speed X  images/s in inference here")
    limits("--no-scratch  no methods that are trained from scratch")
    limits(
        "--tune  also compare learning rates and one option of each method, five variants of each"
    )
    add_recipe_options(parser)
    add_run_options(parser)
    others = AddOptions(parser.add_argument_group("instead of choosing"))
    others("--replay  replay the policy on stored records: what it would have chosen, at what cost")
    others("--results FOLDER  with --replay: the records [results/reference]", type=read_path)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Hold the race and print the verdict, or replay the policy; returns the exit code.

    Returns:
        0, or 1 if nothing can be recommended.

    Raises:
        UserError: an option is missing or a value is not allowed, or as `run_and_report`.
    """
    if arguments.replay:
        return _replay(arguments.results, console)
    if arguments.results is not None:
        raise UserError("--results goes with --replay: give both, or --out for a choice")
    if arguments.datasets is None:
        raise UserError("--dataset is missing: give a name or a folder of images and masks")
    return _choose(arguments, console)


def _choose(arguments: argparse.Namespace, console: Console) -> int:
    from rich.live import Live

    from bench.ask.request import Request, pick_fields
    from bench.choice.choose import hold_choice
    from bench.choice.criterion import get_criterion
    from bench.choice.limits import read_limits
    from bench.choice.live import Clock
    from bench.choice.page import write_choice
    from bench.choice.setup import check_settings, complete, set_up
    from bench.cli.progress import Progress
    from bench.cli.reading import proposing_groups, showing_reading
    from bench.run.events import Event
    from bench.run.store import Store

    limits = read_limits(vars(arguments))
    clock = Clock(limits.max_seconds)
    criterion = get_criterion(arguments.by)
    settings = prepare_run(arguments)
    check_settings(settings)
    device = settings.find_device()
    arguments.seeds = arguments.seeds or ""  # `complete` fills it in
    request = Request(**pick_fields(Request, vars(arguments))).on_device(device)
    request = complete(request, criterion)
    with proposing_groups(arguments.out), showing_reading(console):
        setup = set_up(request, criterion, limits, device, tune=arguments.tune)
    for note in setup.notes:
        console.print(f"[dim]note: {plain(note)}[/]", soft_wrap=True)
    if arguments.dry_run:
        return _show_setup(setup, settings, arguments.out, console)
    store = Store.open(arguments.out)
    progress = Progress()

    def show(event: Event) -> None:
        if (line := progress.update(event)) is not None:
            console.print(line)

    with Live(progress, console=console, transient=True, refresh_per_second=4):
        choice = hold_choice(setup, request, criterion, limits, settings, store, clock, show)
    for part in choice.paragraphs():
        console.print(f"[bold]{plain(part.title)}[/]")
        for line in part.lines:
            console.print(plain(f"  {line}"), soft_wrap=part.commands)
    console.print(plain(f"page: {write_choice(choice)[-1]}"), soft_wrap=True)
    return 0 if choice.recommended is not None else 1


def _show_setup(setup: "Setup", settings: "RunSettings", out: Path, console: Console) -> int:
    """List the methods, and predict the first run of each that has no record."""
    from bench.cli.grid_cost import show_grid_cost
    from bench.run.store import Store
    from bench.run.threads import choose_threads

    for arm in setup.arms:
        console.print(plain(f"{arm.name}: up to {counted(len(arm.cells), 'run')}"))
    for one in setup.left_out:
        console.print(plain(f"{one.name}: left out, {one.reason}"), soft_wrap=True)
    store = Store(out)
    first = [arm.cells[0] for arm in setup.arms if store.read(arm.cells[0]) is None]
    if first and settings.predict:
        cells = [cell for arm in setup.arms for cell in arm.cells]
        threads, _ = choose_threads(settings.threads, cells, store.stream())
        console.print("the first run of each method:")
        show_grid_cost(first, settings.find_device(), threads, console)
    return 0


def _replay(folder: Path | None, console: Console) -> int:
    from bench.choice.replay import replay
    from bench.files import shipped_results
    from bench.run.store import Store

    records = Store(folder or shipped_results() / "reference").read_all()
    replayed = replay(records)
    _show_replay(replayed, console)
    return 0


def _show_replay(replayed: "Sequence[Replayed]", console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    right = ("Methods", "Regret", "Worst", "Compute", "Set", "Best in it")
    table = Table(
        Column("Dataset", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in right),
        Column("Chosen", overflow="fold"),
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for one in replayed:
        table.add_row(
            plain(one.dataset),
            str(one.methods),
            f"{fmean(one.regrets):.2f}",
            f"{max(one.regrets):.2f}",
            f"{fmean(one.compute):.0%}",
            f"{fmean(one.set_sizes):.1f}",
            f"{one.holds_best:.0%}",
            plain(", ".join(one.chosen)),
        )
    console.print(table)
    for line in _summary(replayed):
        console.print(plain(line), soft_wrap=True)


def _summary(replayed: "Sequence[Replayed]") -> list[str]:
    """Sentences on all datasets together."""
    regrets = [regret for one in replayed for regret in one.regrets]
    fixed = {
        name: [one.fixed[name] for one in replayed]
        for name in replayed[0].fixed
        if all(name in one.fixed for one in replayed)
    }
    fixed["best on the other datasets"] = [one.elsewhere for one in replayed]
    lost = [f"{name} on {one.dataset}" for one in replayed for name in one.loses_to()]
    bounds = [one.bound_holds for one in replayed if one.bound_holds is not None]
    bounded = f"{fmean(bounds):.0%}" if bounds else "no"
    return [
        f"All {len(replayed)} datasets: mean regret {fmean(regrets):.2f} points, worst"
        f" {max(regrets):.2f}; compute {fmean(fmean(one.compute) for one in replayed):.1%} of all"
        " methods with three seeds (mean over the datasets).",
        f"The set holds the best in {fmean(one.holds_best for one in replayed):.1%} of half-sample"
        " replays, and the best on the other half in"
        f" {fmean(one.holds_other_best for one in replayed):.1%}; the bound of the loss holds in"
        f" {bounded} of those with enough specimens.",
        "Mean and worst regret of fixed choices: "
        + ", ".join(f"{name} {fmean(r):.1f} / {max(r):.1f}" for name, r in fixed.items())
        + ".",
        "Fixed choices that are better than the recommendation and not in its set: "
        + (", ".join(lost) or "none")
        + ".",
    ]
