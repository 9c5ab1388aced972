"""Image collections: which are public and here, and what augmentation makes of one."""

import argparse
from pathlib import Path

from rich.console import Console

from bench.cli.fetching import fetch_all
from bench.cli.parsing import ArgumentParser, plain
from bench.errors import UserError


def parser() -> argparse.ArgumentParser:
    """The parser of `data`."""
    parser = ArgumentParser(
        command="data",
        description="Public image collections, kept in a cache and read by --dataset NAME; a"
        " picture of what augmentation makes of one, or of a folder.",
        epilog="The cache is $SAM_BENCH_CACHE, else sam-adapt-bench in the user's cache folder.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, told in (
        ("list", "which there are, where they come from, and which are here"),
        ("fetch", "download what has a stable public address"),
        ("check", "compare what is here with what it should be"),
    ):
        action = actions.add_parser(name, help=told, description=told)
        action.add_argument("names", nargs="*", help="collections [all]")
    told = "a picture of what augmentation makes of a collection"
    preview = actions.add_parser("preview", help=told, description=told)
    preview.add_argument("name", help="collection, or a folder of images and masks")
    preview.add_argument("--augmentation", metavar="NAME", default="standard", help="[%(default)s]")
    preview.add_argument(
        "--image-size", metavar="PX", type=int, default=256, help="side of the views [%(default)s]"
    )
    preview.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        default=Path("results/local/preview.png"),
        help="[%(default)s]",
    )
    return parser


def run(asked: argparse.Namespace, console: Console) -> int:
    """List, fetch, check or preview collections; 1 if one is not what it should be."""
    if asked.action == "preview":
        return _preview(asked, console)
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from bench.data.public.download import check_collection, collection_folder, fetch_collection
    from bench.data.public.sources import SOURCES, find_source

    sources = {name: find_source(name) for name in asked.names or SOURCES}
    if asked.action == "fetch":
        fetched = [name for name, source in SOURCES.items() if source.archives]
        fetch_all(asked.names, fetched, fetch_collection, console)
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
    console.print(plain(f"cache: {collection_folder('')}"), soft_wrap=True)
    if asked.action == "list":
        for name, source in sources.items():
            console.print(f"{name}: {source.how or source.address}", soft_wrap=True)
    return 0 if sound else 1


def _preview(asked: argparse.Namespace, console: Console) -> int:
    from bench.plugins.registry import load_collection
    from bench.report.plots.preview import write_preview

    if asked.image_size < 1:
        raise UserError(f"--image-size is {asked.image_size}: give 1 or more")
    if asked.out.suffix.lower() != ".png":
        raise UserError(f"--out is '{asked.out}': give a file that ends in .png")
    collection = load_collection(asked.name)
    path = write_preview(collection, asked.augmentation, asked.image_size, 0, asked.out)
    console.print(plain(path), soft_wrap=True)
    return 0
