"""Check that a change of the code left results, cost and speed as they were."""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, plain, read_path
from bench.errors import UserError
from bench.files import shipped_results
from bench.wording import counted, program_name

if TYPE_CHECKING:
    from bench.guard.baseline import Figures
    from bench.guard.compare import Change

BASELINE = Path("results/reference/guard.json")


def parser() -> argparse.ArgumentParser:
    """The parser of the command `guard`."""
    parser = ArgumentParser(
        command="guard",
        description="Compare every method with a baseline: its logits, losses and gradients before"
        " and after one optimiser step, its parameters and operations, and for a few methods a"
        " short training. One line for each cause of a difference; exit code 1 if there is one.",
    )
    add = AddOptions(parser)
    add(
        f"--baseline FILE  [{BASELINE} below the working folder, else the one of this version]",
        type=read_path,
    )
    add(
        "--write FILE  measure a new baseline and write it to FILE [that of --baseline]; with"
        " --plugins, a new FILE covers the methods of your plugins, without training",
        type=read_path,
        nargs="?",
        const=False,
    )
    add("--json  one JSON object instead of lines")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Compare with the baseline and print one line for each cause, or write a new baseline.

    Returns:
        The exit code: 1 if there are differences, otherwise 0; 0 after writing.

    Raises:
        UserError: the baseline cannot be read or written, a run for a new one failed, or its grid
            names something that cannot be used.
    """
    from bench.guard import baseline
    from bench.guard.compare import RUNS, compare
    from bench.guard.measure import measure, methods_of
    from bench.plugins.registry import methods_lacking_a_library, unavailable_methods

    if arguments.write is not None:
        return _write(arguments.write or arguments.baseline or BASELINE, console)
    start = time.perf_counter()
    path = arguments.baseline or _default_baseline()
    request, stored = baseline.read_request(path), baseline.read(path)
    now = measure(request, RUNS, methods_of(stored.covers))
    unavailable, lacking = unavailable_methods(), methods_lacking_a_library()
    changes, notes = compare(stored, now, unavailable, lacking)
    if stored.covers == "built-in":
        notes += _new_plugins(methods_of("plugins"))
    seconds = time.perf_counter() - start
    if arguments.json:
        print(json.dumps(_as_object(path, changes, notes, seconds), indent=1))
    else:
        _show(path, now, changes, notes, seconds)
    return 1 if changes else 0


def _write(path: Path, console: Console) -> int:
    from bench.guard import baseline
    from bench.guard.compare import SEEDS
    from bench.guard.measure import measure, methods_of

    covers = baseline.COVERS[bool(methods_of("plugins")) and path != BASELINE]
    request, covers, note = baseline.request_to_write(path, covers)
    methods = methods_of(covers)
    if not methods:
        raise UserError(f"{path} covers methods of plugins, and there are none: give --plugins")
    console.print(f"[dim]{plain(note)}[/]", soft_wrap=True)
    baseline.write(measure(request, SEEDS, methods, covers), path)
    console.print(f"wrote {plain(path)}: {counted(len(methods), 'method')}", soft_wrap=True)
    return 0


def _new_plugins(names: list[str]) -> list[str]:
    """A note on methods of plugins, which a baseline of the built-in methods does not cover."""
    if not names:
        return []
    return [
        f"new, without a baseline: {', '.join(names)} ({program_name()} guard --write FILE "
        "--plugins FOLDER makes one)"
    ]


def _default_baseline() -> Path:
    return BASELINE if BASELINE.is_file() else shipped_results() / "reference" / BASELINE.name


def _as_object(
    path: Path, changes: "list[Change]", notes: list[str], seconds: float
) -> dict[str, Any]:
    return {
        "baseline": str(path),
        "changes": [vars(change) for change in changes],
        "notes": notes,
        "seconds": round(seconds, 1),
    }


def _show(
    path: Path, now: "Figures", changes: "list[Change]", notes: list[str], seconds: float
) -> None:
    """Print notes and changes in full: lines are not wrapped, so that they can be searched."""
    for note in notes:
        print(note)
    for change in changes:
        print(change.text)
    if changes:
        print(
            f"guard: {counted(len(changes), 'difference')} from {path}; if this is intended, write"
            " a new baseline: guard --write"
        )
        return
    summary = f"{counted(len(now.counts), 'method')} compared, {len(now.runs)} trained"
    print(f"guard: {summary}, all as in {path} ({seconds:.0f} s)")
