"""Public checkpoints of the large backbones."""

import argparse

from rich.console import Console

from bench.cli.fetching import add_accept_hash, fetch_all
from bench.cli.parsing import AddOptions, ArgumentParser, plain


def parser() -> argparse.ArgumentParser:
    """The parser of `weights`."""
    parser = ArgumentParser(
        command="weights",
        description="Public checkpoints of the large backbones, kept in a cache.",
        epilog="The cache is $SAM_BENCH_CACHE, else sam-adapt-bench in the user's cache folder.",
    )
    add = AddOptions(parser)
    add(
        "action  list addresses, download, or compare checksums", choices=["list", "fetch", "check"]
    )
    add("names  backbones; all of them for list and check", nargs="*")
    add_accept_hash(add)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """List, fetch or check checkpoints; returns the exit code, 1 if a check finds a wrong file.

    A check passes over checkpoints that are not downloaded.

    Raises:
        UserError: a backbone has no public checkpoint, a download fails, or names nothing.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from bench.files import cache_folder, check_own_file, file_sha256
    from bench.sam.weights import cached_weights, fetch, public, public_files

    names = arguments.names or list(public_files())
    for name in names:
        public(name)
    if arguments.action == "fetch":
        fetch_all(arguments.names, public_files(), fetch, console, arguments.accept_hash)
        return 0
    table = Table("Backbone", "State", "File", "Licence", box=SIMPLE_HEAD)
    wrong = 0
    for name in names:
        path, file = cached_weights(name), public(name)
        check_own_file(path)
        state = "downloaded" if path.is_file() else "not downloaded"
        if arguments.action == "check" and path.is_file():
            right = file_sha256(path) == file.expected_sha256
            state = "SHA-256 correct" if right else "[red]SHA-256 wrong[/]"
            wrong += not right
        table.add_row(name, state, path.name, file.licence)
    console.print(table)
    console.print(plain(f"cache: {cache_folder()}"), soft_wrap=True)
    if arguments.action == "list":
        for name in names:
            console.print(f"{name}: {public(name).address}", soft_wrap=True)
    return 1 if wrong else 0
