"""The command line: arguments in, progress and tables out. The only file that prints.

Heavy imports stay inside functions, so that `--help` answers at once.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich_argparse import RawDescriptionRichHelpFormatter

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.items import Collection
    from bench.fetch import Say
    from bench.progress import Progress
    from bench.report.gallery import Lookup
    from bench.spec import Cell, Record
    from bench.store import Store

LONGEST_S = 1_000_000  # of one cell; the system's own limit is near

EXAMPLES = """examples:
  %(prog)s --methods lora,adapter --dataset steel
  %(prog)s --methods "lora[rank=1|4|16,targets=qv|qkvo],full" --dataset steel --seeds 3
  %(prog)s --methods lora,unet --dataset path/to/folder --out results/mine
  %(prog)s report --out results/mine      rewrite tables and plots from all records
  %(prog)s cost --methods lora,samed      what methods cost, without data or weights
  %(prog)s weights list|fetch|check       public checkpoints of the large backbones
  %(prog)s data list|fetch|check          public image collections
  %(prog)s --list                         methods, datasets and backbones, with their options
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 a cell failed, 2 bad input."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(highlight=False, soft_wrap=False)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        if words[:1] == ["report"]:
            return _report(_report_parser().parse_args(words[1:]), console)
        if words[:1] == ["cost"]:
            return _cost(_cost_parser().parse_args(words[1:]), console)
        if words[:1] == ["weights"]:
            return _weights(_weights_parser().parse_args(words[1:]), console)
        if words[:1] == ["data"]:
            return _data(_data_parser().parse_args(words[1:]), console)
        asked = _parser().parse_args(words)
        if asked.list:
            return _list(console)
        return _run(asked, console)
    except UserError as error:
        errors.print(f"[bold red]error:[/] {_plain(error)}")
        return 2
    except KeyboardInterrupt:
        errors.print("stopped; what is done is kept: run the same command again to go on")
        return 130


class _Help(RawDescriptionRichHelpFormatter):
    """Help as it is written: brackets are no markup, headings keep their case."""

    help_markup = False
    text_markup = False
    group_name_formatter = str


class _ArgumentParser(argparse.ArgumentParser):
    """A parser whose complaints end like every other one: one sentence and exit code 2."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, formatter_class=_Help, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help shows how to ask)")


def _parser() -> argparse.ArgumentParser:
    parser = _ArgumentParser(
        prog="run_bench.py",
        usage="%(prog)s --methods LIST --dataset LIST [options] | report | cost | weights | data",
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
    _out(how)
    how.add_argument("--list", action="store_true", help="show what there is, and stop")
    how.add_argument("--dry-run", action="store_true", help="show the cells, and stop")
    return parser


def _report_parser() -> argparse.ArgumentParser:
    parser = _ArgumentParser(
        prog="run_bench.py report",
        description="Rewrite tables, plots and overview from all records of a results folder.",
    )
    _out(parser)
    return parser


def _out(parser: Any) -> None:
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=Path("results/local"),
        help="results folder [%(default)s]",
    )


def _run(asked: argparse.Namespace, console: Console) -> int:
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
            checkpointing=asked.checkpointing,
            allow_leakage=asked.allow_leakage,
        )
    )
    device = _device(asked.device)
    for note in notes:
        console.print(f"[dim]note: {_plain(note)}[/]")
    if asked.dry_run:
        return _dry_run(cells, Store(asked.out), console)
    store = Store.open(asked.out)
    store.read_all()  # a file that is no record stops the run now, not hours later
    records = _work(cells, store, device, asked, console)
    _write_report(store, console)
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        console.print(
            f"[red]{record.status}[/] {_plain(record.cell.label)}: {_plain(record.error)}"
        )
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
            _plain(cell.label),
            _plain(cell.dataset_name),
            cell.task.backbone,
            _plain(Path(cell.task.weights).name),
            str(cell.seed),
            f"{cell.fold + 1}/{cell.folds}",
            str(cell.labels or "all"),
            "to do" if done is None else done.status,
        )
    console.print(table)
    left = sum(store.read(cell) is None for cell in cells)
    console.print(f"{len(cells)} cell{'s'[: len(cells) != 1]}, {left} to do, in {store.folder}")
    return 0


def _report(asked: argparse.Namespace, console: Console) -> int:
    from bench.store import Store

    if not (asked.out / "records").is_dir():
        raise UserError(f"no records in {asked.out}: run some methods first, or give --out FOLDER")
    _write_report(Store.open(asked.out), console)
    return 0


def _write_report(store: "Store", console: Console) -> None:
    from bench.report import terminal_table, to_frame, write_report

    records = store.read_all()
    try:
        files = write_report(records, store.folder, _pictures(records))
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename or store.folder} ({error.strerror}): "
            "make room or mend it, then run the report again"
        ) from error
    for table in terminal_table(to_frame(records), console.width):
        console.print(table)
    console.print(f"{len(records)} records, {len(files)} files: {files[-1]}")


def _pictures(records: "list[Record]") -> "dict[str, Lookup]":
    """Access to the images of every dataset that is still where and what it was."""
    from bench.data.decode import decode
    from bench.data.fingerprint import fingerprint
    from bench.registry import load_collection

    def lookup(collection: "Collection") -> "Lookup":
        items = {item.name: item for item in collection.items}
        return lambda name: decode(items[name], collection)

    contents: dict[str, dict[str, str]] = {}  # name to fingerprints, each with its address
    for cell in (record.cell for record in records):
        contents.setdefault(cell.dataset_name, {})[cell.dataset_sha] = cell.dataset
    found = {}
    for name, versions in contents.items():
        try:
            collection = load_collection(next(iter(versions.values())))
        except UserError:
            continue  # the images are not here; tables and plots need none
        if {fingerprint(collection)} == versions.keys():
            found[name] = lookup(collection)
    return found


def _list(console: Console) -> int:
    from rich.table import Column, Table

    from bench.data.places import find_folder
    from bench.registry import (
        list_datasets,
        list_methods,
        unavailable_datasets,
        unavailable_methods,
    )
    from bench.sam.build import ARCHITECTURES
    from bench.sam.weights import cached_weights

    methods = Table("Method", "Options and defaults", "What it is", title="Methods")
    for method in list_methods():
        options = "\n".join(f"{key}={value}" for key, value in method.options.items())
        methods.add_row(method.name, _plain(options), _plain(method.summary))
    images = Column("Images", no_wrap=True)
    datasets = Table("Dataset", "Classes", images, "What it is", title="Datasets")
    for dataset in list_datasets():
        classes = ", ".join(dataset.classes)
        state = "drawn"
        if dataset.in_files:
            state = "here" if find_folder(dataset.name) else "not here"
        datasets.add_row(dataset.name, _plain(classes), state, _plain(dataset.summary))
    datasets.add_row("path/to/folder", "found or given", "yours", "any folder of images and masks")
    backbones = Table("Backbone", "Image side", "Weights", title="Backbones")
    for name, arch in ARCHITECTURES.items():
        if arch.weights is not None and arch.weights.is_file():
            weights = "shipped"
        elif cached_weights(name).is_file():
            weights = "in the cache"
        else:
            weights = f"weights fetch {name}, --checkpoint FILE or --weights random"
        backbones.add_row(name, f"{arch.image_size} px", weights)
    for table in (methods, datasets, backbones):
        console.print(table)
    for name, reason in {**unavailable_methods(), **unavailable_datasets()}.items():
        console.print(f"[yellow]unavailable[/] {_plain(name)}: {_plain(reason)}")
    return 0


def _cost_parser() -> argparse.ArgumentParser:
    parser = _ArgumentParser(
        prog="run_bench.py cost",
        description="Count what methods cost: parameters, operations, file size. Nothing is read,"
        " trained or downloaded.",
    )
    parser.add_argument("--methods", required=True, metavar="LIST", help="as in 'lora[rank=1|4]'")
    parser.add_argument("--backbone", metavar="LIST", default="sam_nano", help="[%(default)s]")
    parser.add_argument("--image-size", type=int, metavar="PX", help="[the backbone's own]")
    parser.add_argument("--classes", type=int, default=1, help="foreground classes [%(default)s]")
    parser.add_argument(
        "--batch-size", type=int, default=1, help="images of a training step [%(default)s]"
    )
    parser.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    return parser


def _cost(asked: argparse.Namespace, console: Console) -> int:
    import json

    from bench.card import cost_cards

    cards, refused = cost_cards(
        asked.methods, asked.backbone, asked.image_size, asked.classes, asked.batch_size
    )
    for sentence in refused:
        Console(stderr=True).print(f"[yellow]left out: {_plain(sentence)}[/]", soft_wrap=True)
    if asked.json:
        print(json.dumps(cards, indent=1))
        return 0
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    units = {
        "Trains\nM": ("trainable_params", 1e6),
        "Added\nM": ("added_params", 1e6),
        "Total\nM": ("total_params", 1e6),
        "Forward\nGFLOP": ("forward_flops", 1e9),
        "Step\nGFLOP": ("train_step_flops", 1e9),
        "File\nMiB": ("saved_bytes", 2**20),
    }
    classes = f"{asked.classes} foreground class{'es' if asked.classes > 1 else ''}"
    for backbone in dict.fromkeys(card["backbone"] for card in cards):
        rows = [card for card in cards if card["backbone"] == backbone]
        on = "from scratch" if backbone == "none" else backbone
        title = f"{on}, {rows[0]['image_size']} px, {classes}"
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
        table.add_column("Method", overflow="fold", min_width=24)
        for heading in units:
            table.add_column(heading, justify="right", no_wrap=True)
        for card in rows:
            figures = (f"{card[key] / unit:.4g}" for key, unit in units.values())
            table.add_row(_plain(card["method"]), *figures)
        console.print(table)
    console.print(
        f"Forward is one image, a training step {asked.batch_size}; FLOPs are 2 x multiply-adds."
        " Methods with prompts are counted with one an image."
    )
    return 0


def _weights_parser() -> argparse.ArgumentParser:
    parser = _ArgumentParser(
        prog="run_bench.py weights",
        description="Public checkpoints of the large backbones, kept in a cache.",
        epilog="The cache is $SAM_BENCH_CACHE, else sam-adapt-bench in the user's cache folder.",
    )
    parser.add_argument("action", choices=["list", "fetch", "check"])
    parser.add_argument("names", nargs="*", help="backbones; all of them for list and check")
    return parser


def _weights(asked: argparse.Namespace, console: Console) -> int:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from bench.fetch import cache_folder, digest
    from bench.sam.weights import PUBLIC, cached_weights, fetch, public

    names = asked.names or list(PUBLIC)
    for name in names:
        public(name)
    if asked.action == "fetch":
        _fetch(asked.names, PUBLIC, fetch, console)
        return 0
    table = Table("Backbone", "State", "File", "Licence", box=SIMPLE_HEAD)
    wrong = 0
    for name in names:
        path, file = cached_weights(name), public(name)
        state = "here" if path.is_file() else "not here"
        if asked.action == "check" and path.is_file():
            right = digest(path) == file.sha256
            state, wrong = ("right" if right else "[red]wrong SHA-256[/]"), wrong + (not right)
        table.add_row(name, state, path.name, file.licence)
    console.print(table)
    console.print(f"cache: {cache_folder()}", soft_wrap=True)
    if asked.action == "list":
        for name in names:
            console.print(f"{name}: {public(name).address}", soft_wrap=True)
    return 1 if wrong else 0


def _fetch(
    names: list[str],
    known: Iterable[str],
    fetch: "Callable[[str, Say], Path]",
    console: Console,
) -> None:
    """Fetch one thing after the other, with a bar for each."""
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    if not names:
        raise UserError(f"say what to fetch: {', '.join(known)}")
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    paths = {}
    with Progress(*columns, console=console) as bar:
        for name in names:
            task = bar.add_task(name, total=None)
            paths[name] = fetch(name, lambda done, whole, task=task: bar.update(  # type: ignore[misc]
                task, completed=done, total=whole
            ))  # fmt: skip
    for name, path in paths.items():
        console.print(f"{name}: {path}", soft_wrap=True)


def _data_parser() -> argparse.ArgumentParser:
    parser = _ArgumentParser(
        prog="run_bench.py data",
        description="Public image collections, kept in a cache and read by --dataset NAME.",
        epilog="The cache is $SAM_BENCH_CACHE, else sam-adapt-bench in the user's cache folder.",
    )
    parser.add_argument("action", choices=["list", "fetch", "check"])
    parser.add_argument("names", nargs="*", help="collections; all of them for list and check")
    return parser


def _data(asked: argparse.Namespace, console: Console) -> int:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from bench.data.download import check_collection, collection_folder, fetch_collection
    from bench.data.sources import SOURCES, find_source

    sources = {name: find_source(name) for name in asked.names or SOURCES}
    if asked.action == "fetch":
        fetched = [name for name, source in SOURCES.items() if source.archives]
        _fetch(asked.names, fetched, fetch_collection, console)
        return 0
    table = Table("Collection", "State", "Licence", box=SIMPLE_HEAD)
    sound = True
    for name, source in sources.items():
        state = "by hand" if source.how else "not here"
        if collection_folder(name).is_dir():
            state = "here"
        if asked.action == "check":
            condition = check_collection(name)
            sound = sound and condition.sound
            state = condition.text if condition.sound else f"[red]{condition.text}[/]"
        table.add_row(name, state, source.licence)
    console.print(table)
    console.print(f"cache: {collection_folder('')}", soft_wrap=True)
    if asked.action == "list":
        for name, source in sources.items():
            console.print(f"{name}: {source.how or source.address}", soft_wrap=True)
    return 0 if sound else 1


def _device(asked: str) -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *["cuda"][:count], *(f"cuda:{index}" for index in range(count))]
    if asked == "auto":
        return "cuda" if count else "cpu"
    if asked not in here:
        raise UserError(f"device '{asked}' is not here: give auto, {', '.join(here)}")
    return asked


def _plain(text: object) -> str:
    """Text that rich shows as it is, brackets included."""
    from rich.markup import escape

    return escape(str(text))
