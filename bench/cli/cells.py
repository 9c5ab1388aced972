"""Run the cells of a grid with a progress display, then write the report."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.numbers import NumbersInText
from bench.cli.parsing import AddOptions, add_out, plain, plain_line
from bench.cli.report import write_all
from bench.wording import counted

REPORTS = ("each", "end", "none")

if TYPE_CHECKING:
    from bench.run.schedule import RunSettings
    from bench.run.store import Store
    from bench.spec import Cell, Record


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run_and_report`: the fields of `RunSettings`, `--out` and `--dry-run`."""
    group = AddOptions(parser.add_argument_group("how to run it"))
    group(
        "--devices --device LIST  all (CUDA devices, else the CPU), cpu, or some as"
        " cuda:0,cuda:1 [all]",
        dest="device",
        default="auto",
    )
    group("--jobs N  cells that run at a time [one on each GPU, or one for each CPU core]")
    group(
        "--executor NAME  local (this machine), slurm or ray (see docs/cluster.md) [%(default)s]",
        default="local",
    )
    group("--slurm LIST  options of sbatch, as partition=gpu,time=120", default="")
    group(
        "--shard I/N  only part I of N of the grid, as 3/16",
        type=NumbersInText("bench.run.shard:read_shard"),
        default=argparse.SUPPRESS,
    )
    group("--threads N  CPU threads of a cell [1, or as in --out]")
    group("--timeout S  time limit of a cell in seconds")
    group(
        "--stall TIME  end a cell that makes no progress for this time: 90s, 1h, 0 (never)"
        " [%(default)s]",
        type=NumbersInText("bench.run.durations:read_seconds", "--stall"),
        default="30min",
    )
    group("--retry  also run cells again that ended oom, diverged, timeout or unsupported")
    group(
        "--keep RULE  trained models to keep in OUT/models: none, best (of each method, by"
        " validation Dice), all [%(default)s]",
        default="best",
    )
    add_save_every(group)
    group(
        "--fit-memory  pass batches in as few parts as fit into the memory (as --accumulate,"
        " same batch)"
    )
    group(
        "--no-predict  do not predict the memory and time of each cell (it takes seconds)",
        dest="predict",
        action="store_false",
    )
    group(
        "--report WHEN  each (tables and plots after each cell), end (tables also after the"
        " first cell), or none [%(default)s]",
        choices=REPORTS,
        default="end",
    )
    group(
        "--log LIST  also show the runs in tensorboard, wandb or mlflow (see docs/results.md)",
        default="",
    )
    add_out(group)
    group("--dry-run  list the cells, predict their time and memory, then exit")


def add_save_every(add: AddOptions) -> None:
    """Add the option `--save-every`."""
    add(
        "--save-every TIME  how often the training is saved, to continue after a kill: 90s,"
        " 1h, 0 (never) [%(default)s]",
        type=NumbersInText("bench.run.durations:read_seconds", "--save-every"),
        default="5min",
    )


def prepare_run(arguments: argparse.Namespace) -> "RunSettings":
    """The settings of a run; unless it is a dry run, a server imports torch in the background.

    Args:
        arguments: with the options of `add_run_options`.

    Raises:
        UserError: a limit is out of range, or the rule for keeping models is unknown.
    """
    from bench.ask.request import pick_fields
    from bench.run.schedule import RunSettings, warm_up

    settings = RunSettings(**pick_fields(RunSettings, vars(arguments)))
    settings.check()
    if not arguments.dry_run:
        warm_up()
    return settings


def run_and_report(
    cells: "Sequence[Cell]",
    notes: Sequence[str],
    settings: "RunSettings",
    arguments: argparse.Namespace,
    console: Console,
    before_report: Callable[[], None] = lambda: None,
) -> int:
    """Run the cells without a record, write the report, and name the failures; see `run_cells`.

    A dry run only lists the cells with their states, predicts what is to do, and writes nothing.

    Args:
        cells: the grid, each cell once.
        notes: sentences that are printed first.
        settings: of `prepare_run`.
        arguments: with `out`, the results folder, `dry_run`, to list the cells only, and `report`,
            one of `REPORTS`.
        console: to print on.
        before_report: called after the last cell, before the report; not for a dry run.

    Returns:
        The exit code: 1 if a cell has a status other than "ok", otherwise 0; 0 for a dry run.

    Raises:
        UserError: the device is not available, the results folder cannot be used, or it holds a
            file that is not a record.
    """
    from bench.run.shard import shard_of
    from bench.run.store import Store

    cells = shard_of(cells, settings.shard)
    device = settings.find_device()  # if it is not available, nothing is written
    if settings.fit_memory:
        from bench.run.fit_memory import fit_memory

        cells, choices = fit_memory(cells, Store(arguments.out), device)
        notes = [*notes, *choices]
    for note in (*notes, *_slow_precision(cells, device)):
        console.print(f"[dim]note: {plain(note)}[/]")
    if arguments.dry_run:
        return _dry_run(cells, Store(arguments.out), settings, console)
    store = Store.open(arguments.out)
    records = _run(cells, store, settings, console, arguments.report)
    before_report()
    last = write_all(store, console) if arguments.report != "none" else None
    if settings.keep != "none":
        _show_models(store, console)
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        console.print(
            f"[red]{record.status}[/] {plain(record.cell.label)}: {plain_line(record.error)}"
        )
    if last is not None:
        console.print(last, soft_wrap=True)
    return 1 if failed else 0


def _slow_precision(cells: "Sequence[Cell]", device: str) -> list[str]:
    """A note on cells that compute in bf16, as a published recipe may ask, on a slow device."""
    from bench.sam.precision import computes_bf16  # imports torch

    count = sum(cell.recipe.precision == "bf16" for cell in cells)
    if not count or computes_bf16(device):
        return []
    return [
        f"{counted(count, 'cell')} in bf16, which this device only emulates, many times slower than"
        " fp32: --precision fp32 is another recipe, with records of its own"
    ]


def _run(
    cells: "Sequence[Cell]",
    store: "Store",
    settings: "RunSettings",
    console: Console,
    report_when: str,
) -> "tuple[Record, ...]":
    """Run the cells, showing their progress, and write the reports of the time until then."""
    from rich.live import Live

    from bench.cli.progress import Progress
    from bench.cli.progress_log import ProgressLog
    from bench.cli.run_report import RunReport
    from bench.run.events import Event
    from bench.run.schedule import run_cells

    def say(sentence: str) -> None:
        console.print(f"[yellow]warning: {plain(sentence)}[/]", soft_wrap=True)

    if not console.is_terminal:
        with ProgressLog(console) as log, RunReport(store, report_when, say) as report:

            def note(event: Event) -> None:
                log.update(event)
                report.update(event)

            return run_cells(cells, store, settings, note)
    progress = Progress()

    def show(event: Event) -> None:
        if (line := progress.update(event)) is not None:
            console.print(line)
        report.update(event)

    with (
        Live(progress, console=console, transient=True, refresh_per_second=4),
        RunReport(store, report_when, say) as report,
    ):
        return run_cells(cells, store, settings, show)


def _show_models(store: "Store", console: Console) -> None:
    """One line: how many models are kept, where, and their size."""
    from bench.run.models import list_models

    sizes = [path.stat().st_size for path in list_models(store.models)]
    if sizes:
        total = f"{counted(len(sizes), 'model')} kept, {sum(sizes) / 2**20:.1f} MiB"
        console.print(plain(f"{total}: {store.models}"), soft_wrap=True)


def _dry_run(
    cells: "Sequence[Cell]", store: "Store", settings: "RunSettings", console: Console
) -> int:
    records = [store.read(cell) for cell in cells]
    _list(cells, records, console)
    missing = [cell for cell, record in zip(cells, records, strict=True) if record is None]
    summary = f"{counted(len(cells), 'cell')}, {len(missing)} to do, in {store.folder}"
    console.print(plain(summary), soft_wrap=True)
    if missing and settings.predict:
        from bench.cli.grid_cost import show_grid_cost
        from bench.run.threads import choose_threads

        threads, _ = choose_threads(settings.threads, cells, store.stream())
        show_grid_cost(missing, settings.find_device(), threads, console)
    return 0


def _list(cells: "Sequence[Cell]", records: "Sequence[Record | None]", console: Console) -> None:
    """Print a table of the cells with their states."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    varying = varying_columns(cells)
    table = Table(
        Column("Cell", overflow="fold"),
        *("Dataset", "Backbone", "Weights", "Seed", *varying),
        Column("State", no_wrap=True),
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for cell, record, *words in zip(cells, records, *varying.values(), strict=True):
        table.add_row(
            plain(cell.label),
            plain(cell.images_label),
            cell.task.backbone,
            plain(Path(cell.task.weights).name),
            str(cell.seed),
            *words,
            "to do" if record is None else record.status,
        )
    console.print(table)


def varying_columns(cells: "Sequence[Cell]") -> dict[str, list[str]]:
    """Columns of folds, of label budgets, and of recipe fields that differ within a method.

    Folds have a column if a cell has more than one, label budgets if a cell has one.

    Returns:
        Title of a column to its text for each cell; empty without such columns.
    """
    from bench.spec import Recipe

    columns = {}
    if any(cell.folds > 1 for cell in cells):
        columns["Fold"] = [f"{cell.fold + 1}/{cell.folds}" for cell in cells]
    if any(cell.labels for cell in cells):
        columns["Labels"] = [str(cell.labels or "all") for cell in cells]
    labels = [cell.label for cell in cells]
    for field in dataclasses.fields(Recipe):
        values = [str(getattr(cell.recipe, field.name)) for cell in cells]
        if len({*zip(labels, values, strict=True)}) > len({*labels}):
            columns[field.name.replace("_", " ").capitalize()] = values
    return columns
