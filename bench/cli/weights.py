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
        "action  list addresses, download, compare checksums, or accept the licence of weights that"
        " cannot be downloaded",
        choices=["list", "fetch", "check", "accept"],
    )
    add("names  backbones; all of them for list and check", nargs="*")
    add_accept_hash(add)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Do the action; returns the exit code, 1 if a check finds a wrong file.

    A check passes over checkpoints that are not downloaded.

    Raises:
        UserError: a backbone has no public checkpoint, a download fails, or names nothing.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from bench.data.public.accepted import licence_accepted
    from bench.files import cache_folder, check_own_file, file_sha256
    from bench.sam.weights import accept, cached_weights, fetch, gated, public, public_files

    if arguments.action == "accept":
        for name in arguments.names:
            console.print(f"{name}: accepted {accept(name)}", soft_wrap=True)
        return 0
    names = arguments.names or [*public_files(), *gated()]
    own = {name: backbone for name, backbone in gated().items() if name in names}
    names = [name for name in names if name not in own]
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
    for name, backbone in own.items():
        state = "accepted" if licence_accepted(str(backbone.gated)) else "licence not accepted"
        table.add_row(name, state, "--checkpoint FILE", backbone.licence)
    console.print(table)
    console.print(plain(f"cache: {cache_folder()}"), soft_wrap=True)
    if arguments.action == "list":
        for name in names:
            console.print(f"{name}: {public(name).address}", soft_wrap=True)
        for name, backbone in own.items():
            console.print(f"{name}: licence {backbone.gated}", soft_wrap=True)
    return 1 if wrong else 0
