"""Has the code become costlier? Exact counts against a stored baseline, speed against a revision.

python tests/benchmarks/regress.py                    counts only: seconds, the gate of CI
python tests/benchmarks/regress.py --against main     also speed, in turns with that revision
python tests/benchmarks/regress.py --write            accept the counts of today as the baseline

Ends with 0 if nothing became costlier, 1 if something did, 2 for a wrong command. Explained in
docs/benchmarks.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation

import fingerprints
from fingerprints import Difference, Fingerprints
from pairing import CLOCKS
from rich.console import Console
from rich.table import Table
from versions import ROOT, NotComparableError, Version, checkout, compare

BASELINE = Path(__file__).with_name("baseline.json")
WORK = "train full,train lora,train frozen_head,infer lora,loop"


def main(arguments: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    console = console or Console(highlight=False)
    if asked.write:
        fingerprints.write(fingerprints.count_all(), asked.baseline)
        console.print(f"wrote {asked.baseline}")
        return 0
    if not asked.baseline.is_file():
        parser.error(f"no baseline at {asked.baseline}: make one with --write")
    costlier = check_counts(asked.baseline, console)
    if asked.against:
        try:
            costlier |= check_speed(asked, console)
        except ValueError as error:
            parser.error(str(error))
    return int(costlier)


def check_counts(baseline: Path, console: Console) -> bool:
    """Print what differs from the baseline; returns whether any of it binds."""
    stored, now = fingerprints.read(baseline), fingerprints.count_all()
    found = fingerprints.differences(stored, now)
    binding = any(difference.binds for difference in found)
    if not found:
        console.print(f"counts: {len(now.methods)} methods, all as in {baseline.name}")
        return False
    console.print(_counts_table(found))
    for line in _other_packages(stored, now):
        console.print(line)
    console.print(
        "counts: [bold red]changed[/]; if that is meant, run again with --write"
        if binding
        else "counts: peak memory differs under another PyTorch, which proves nothing"
    )
    return binding


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


def _counts_table(found: Sequence[Difference]) -> Table:
    table = Table("method", "measure", "baseline", "now", "change")
    for one in found:
        if one.stored is None or one.now is None:
            change = "new" if one.stored is None else "gone"
        else:
            change = f"{one.now - one.stored:+,}"
        shown = ("-" if value is None else f"{value:,}" for value in (one.stored, one.now))
        table.add_row(one.method, one.measure, *shown, change if one.binds else f"({change})")
    return table


def _other_packages(stored: Fingerprints, now: Fingerprints) -> list[str]:
    return [
        f"{name}: {stored.packages.get(name)} in the baseline, {now.packages.get(name)} here"
        for name in dict.fromkeys((*stored.packages, *now.packages))
        if stored.packages.get(name) != now.packages.get(name)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baseline", metavar="FILE", type=Path, default=BASELINE)
    parser.add_argument("--write", action="store_true", help="make the baseline anew, and stop")
    parser.add_argument("--against", metavar="REV", help="time against this commit, branch or tag")
    parser.add_argument("--work", metavar="LIST", default=WORK, help="what to time [%(default)s]")
    parser.add_argument("--pairs", metavar="N", type=int, default=40, help="blocks of each version")
    parser.add_argument("--limit", metavar="R", type=float, default=1.05, help="slower above this")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
