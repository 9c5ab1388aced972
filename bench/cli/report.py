"""Rewrite tables, plots and overview from all records."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.parsing import ArgumentParser, add_out
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.items import Collection
    from bench.report.gallery import Lookup
    from bench.spec import Record
    from bench.store import Store


def parser() -> argparse.ArgumentParser:
    """The parser of `report`."""
    parser = ArgumentParser(
        prog="run_bench.py report",
        description="Rewrite tables, plots and overview from all records of a results folder.",
    )
    parser.add_argument(
        "--html",
        action="store_true",
        help="also write report.html: one file with everything, which opens offline",
    )
    add_out(parser)
    return parser


def run(asked: argparse.Namespace, console: Console) -> int:
    """Rewrite the report of a folder."""
    from bench.store import Store

    if not (asked.out / "records").is_dir():
        raise UserError(f"no records in {asked.out}: run some methods first, or give --out FOLDER")
    write_all(Store.open(asked.out), console, html=asked.html)
    return 0


def write_all(store: "Store", console: Console, *, html: bool = False) -> None:
    """Write the report of all records of a store, as a page too if asked, and print its tables."""
    from bench.report import terminal_table, to_frame, write_report

    records = store.read_all()
    collections = _collections(records)
    pictures = {name: _lookup(collection) for name, collection in collections.items()}
    try:
        files = write_report(records, store.folder, pictures)
        if html:
            files.append(_write_page(records, collections, store))
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename or store.folder} ({error.strerror}): "
            "make room or mend it, then run the report again"
        ) from error
    for table in terminal_table(to_frame(records), console.width):
        console.print(table)
    console.print(f"{len(records)} records, {len(files)} files: {files[-1]}")


def _write_page(
    records: "list[Record]", collections: "dict[str, Collection]", store: "Store"
) -> Path:
    """The page shows pictures of such images only as may be shown anywhere."""
    from bench.report import comparison, to_frame
    from bench.report.page import Report, find_ledgers, write_page

    frame = to_frame(records)
    images = {
        name: _lookup(collection)
        for name, collection in collections.items()
        if collection.images_may_be_shown
    }
    report = Report(
        records,
        frame,
        comparison(frame),
        find_ledgers(records, collections),
        images,
        store.folder / "predictions",
    )
    return write_page(report, store.folder / "report.html")


def _lookup(collection: "Collection") -> "Lookup":
    from bench.data.decode import decode

    items = {item.name: item for item in collection.items}
    return lambda name: decode(items[name], collection)


def _collections(records: "list[Record]") -> "dict[str, Collection]":
    """Every dataset that is still where and what it was, by its name."""
    from bench.data.fingerprint import fingerprint
    from bench.registry import load_collection

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
            found[name] = collection
    return found
