"""Image collections: list, download and check public ones; preview and import folders."""

import argparse
from pathlib import Path

from rich.console import Console

from bench.cli.data_check import add_selection_options, check_folders
from bench.cli.data_import import add_import, run_import
from bench.cli.fetching import add_accept_hash, fetch_all
from bench.cli.parsing import AddOptions, ArgumentParser, plain, read_path
from bench.errors import UserError


def parser() -> argparse.ArgumentParser:
    """The parser of `data`."""
    parser = ArgumentParser(
        command="data",
        description="Public image collections, kept in a cache and used by --dataset NAME, and a"
        " picture of augmented images of a collection or folder, and folders of other layouts.",
        epilog="The cache is $SAM_BENCH_CACHE, else sam-adapt-bench in the user's cache folder.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, purpose in (
        ("list", "list collections, their sources, and which are downloaded"),
        ("fetch", "download collections that have a stable public address"),
        (
            "check",
            "say what is read of folders and datasets; compare downloaded files with their"
            " checksums",
        ),
    ):
        add = AddOptions(actions.add_parser(name, help=purpose, description=purpose))
        folders = ", folders" if name == "check" else ""
        add(f"names  collections{folders} [all public ones]", nargs="*")
        if name == "fetch":
            add_accept_hash(add)
        if name == "check":
            add_selection_options(add)
    purpose = "draw a picture of augmented images of a collection"
    add = AddOptions(actions.add_parser("preview", help=purpose, description=purpose))
    add("name  collection, or a folder of images and masks")
    add("--augmentation NAME  [%(default)s]", default="standard")
    add("--image-size PX  side of the views [%(default)s]", default=256)
    add(
        "--fit NAME  how images become squares, as in a run: square or pad [%(default)s]",
        default="square",
    )
    add_selection_options(add)
    add("--out FILE  [%(default)s]", type=read_path, default=Path("results/local/preview.png"))
    add_import(actions)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """List, fetch, check, preview or import collections; the last two and fetch write files.

    Returns:
        The exit code: 1 if a check finds files missing or wrong, otherwise 0.

    Raises:
        UserError: a name or a value is not allowed or missing, or a download fails.
    """
    if arguments.action in ("preview", "import"):
        return (_preview if arguments.action == "preview" else run_import)(arguments, console)
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from bench.data.public.download import check_collection, collection_folder, fetch_collection
    from bench.data.public.sources import SOURCES, find_source

    names = arguments.names
    if arguments.action == "check":
        names = [name for name in names if name in SOURCES]
        others = [name for name in arguments.names if name not in SOURCES]
        check_folders(others, arguments, console)
        if others and not names:
            return 0
    sources = {name: find_source(name) for name in names or SOURCES}
    if arguments.action == "fetch":
        fetched = [name for name, source in SOURCES.items() if source.archives]
        fetch_all(arguments.names, fetched, fetch_collection, console, arguments.accept_hash)
        return 0
    table = Table("Collection", "State", "Licence", box=SIMPLE_HEAD)
    sound = True
    for name, source in sources.items():
        state = "get by hand" if source.how else "not downloaded"
        if collection_folder(name).is_dir():
            state = "downloaded"
        if arguments.action == "check":
            condition = check_collection(name)
            sound = sound and condition.sound
            state = condition.text if condition.sound else f"[red]{condition.text}[/]"
        table.add_row(name, state, source.licence)
    console.print(table)
    console.print(plain(f"cache: {collection_folder('')}"), soft_wrap=True)
    if arguments.action == "list":
        for name, source in sources.items():
            console.print(f"{name}: {source.how or source.address}", soft_wrap=True)
    return 0 if sound else 1


def _preview(arguments: argparse.Namespace, console: Console) -> int:
    from bench.data.selection import Selection
    from bench.plugins.registry import load_collection
    from bench.report.plots.preview import write_preview

    if arguments.out.suffix.lower() != ".png":
        raise UserError(f"--out is '{arguments.out}': give a file that ends in .png")
    selection = Selection.parse(arguments.channels, arguments.crop)
    collection = load_collection(arguments.name, selection)
    path = write_preview(
        collection,
        arguments.augmentation,
        arguments.image_size,
        0,
        arguments.out,
        fit=arguments.fit,
    )
    console.print(plain(path), soft_wrap=True)
    return 0
