"""Is this checkout slower than another revision? Both do the same work in turns.

python tests/benchmarks/regress.py --against main

Ends with 0 if nothing became slower, 1 if something did, 2 for a wrong command. Explained in
docs/benchmarks.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation

from pairing import CLOCKS
from rich.console import Console
from rich.table import Table
from versions import ROOT, NotComparableError, Version, checkout, compare

WORK = "train full,train lora,train frozen_head,infer lora,loop"


def main(arguments: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    try:
        return int(check_speed(asked, console or Console(highlight=False)))
    except ValueError as error:
        parser.error(str(error))


def check_speed(asked: argparse.Namespace, console: Console) -> bool:
    """Time every piece of work in turns and print the ratios; returns whether any is slower.

    Raises:
        ValueError: there is no such revision.
    """
    names = [name.strip() for name in asked.work.split(",")]
    title = f"time of this checkout / time of {asked.against} ({asked.clock} clock)"
    table = Table("work", "ratio", "95 % interval", "pairs", "", title=title, title_justify="left")
    slower = False
    with checkout(asked.against) as tree, Version(ROOT) as now, Version(tree) as base:
        for name in names:
            console.print(f"timing {name} ...", style="dim")
            try:
                found = compare(now, base, name, pairs=asked.pairs, clock=asked.clock)
            except NotComparableError as error:
                table.add_row(name, "-", "-", "-", f"not compared: {error}")
                continue
            verdict = found.against(asked.limit)
            slower |= verdict == "above"
            word = {"above": "[bold red]slower[/]", "within": "ok", "unclear": "unclear"}[verdict]
            table.add_row(name, *found.shown(), word)
    console.print(table)
    console.print(
        f"slower: the whole interval lies above {asked.limit:g}; unclear: part of it does"
    )
    return slower


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="REV", required=True, help="a commit, branch or tag")
    parser.add_argument("--work", metavar="LIST", default=WORK, help="what to time [%(default)s]")
    parser.add_argument("--pairs", metavar="N", type=int, default=40, help="blocks of each version")
    parser.add_argument("--limit", metavar="R", type=float, default=1.05, help="slower above this")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
