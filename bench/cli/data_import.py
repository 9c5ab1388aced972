"""The action `data import`: convert folders of other layouts."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cli.numbers import NumbersInText, read_levels
from bench.cli.parsing import AddOptions, plain, read_path
from bench.cli.reading import showing_reading
from bench.errors import UserError, read_number
from bench.wording import counted, program_name

PURPOSE = "convert a folder of another layout (COCO, VOC, YOLO, nnU-Net, ...) to images/ and masks/"


def add_import(actions: Any) -> None:
    """Add the action to the parser of `data`."""
    parser = actions.add_parser(
        "import",
        help=PURPOSE,
        description=f"{PURPOSE[0].upper()}{PURPOSE[1:]}. The folder SOURCE is not changed."
        " Layouts: docs/import.md.",
    )
    add = AddOptions(parser)
    add("source SOURCE  folder to read", type=read_path)
    add("target TARGET  folder to write [only recognise]", type=read_path, nargs="?")
    add("--layout NAME  of SOURCE [recognised]", default="")
    add('--masks GLOB  which files are masks, as "*_roi.png"', default="")
    add('--images GLOB  which files are images, as "*_flair.nii.gz"', default="")
    add(
        "--groups RULE  specimens: folders, none, or a regular expression for the path of an image",
        default="",
    )
    add("--instances  mask values number objects, not classes")
    add("--channels LIST  channels for red, green, blue, as 0,2,1", type=NumbersInText(_channels))
    add(
        "--levels LOW,HIGH  values of black and white, as --levels=-160,240",
        type=NumbersInText(read_levels),
    )
    add(
        "--runs WAY  run lengths of a CSV: columns (Kaggle) or rows [columns, if these fit]",
        default="",
    )
    add("--skip  leave out and list what cannot be converted")
    add("--overwrite  replace TARGET if an import made it")


def run_import(arguments: argparse.Namespace, console: Console) -> int:
    """Import a folder and print what was done; without a target, print what it looks like.

    Returns:
        The exit code 0.

    Raises:
        UserError: as `import_folder`, or an option has a wrong value.
    """
    from bench.data.layouts.draft import Options
    from bench.data.layouts.importing import choose_layout, import_folder
    from bench.data.layouts.registry import LAYOUTS
    from bench.data.layouts.source import Source

    source = arguments.source.expanduser()
    options = Options(
        images=arguments.images,
        masks=arguments.masks,
        groups=arguments.groups,
        instances=arguments.instances,
        channels=() if arguments.channels is None else _channels(arguments.channels),
        levels=None if arguments.levels is None else read_levels(arguments.levels),
        runs=_runs(arguments.runs),
        skip=arguments.skip,
    )
    if arguments.target is None:
        name, reason = choose_layout(Source(source), arguments.layout)
        _print(console, f"{LAYOUTS[name].title} ({name}): {reason}")
        _print(
            console, f"to import it: {program_name()} data import {shlex.quote(str(source))} TARGET"
        )
        return 0
    target = arguments.target.expanduser()
    with showing_reading(console):
        done = import_folder(
            source, target, layout=arguments.layout, options=options, overwrite=arguments.overwrite
        )
    _print(console, f"{LAYOUTS[done.layout].title} ({done.layout}): {done.reason}")
    _print(console, f"{counted(done.images, 'image')} in '{target}'")
    for sentence in done.sentences:
        _print(console, f"  {sentence}")
    if done.fault:
        _print(console, f"not ready yet: {done.fault}")
    else:
        _print(console, f"classes: {', '.join(done.classes)}")
        _print(console, f"next: {program_name()} data check {_as_path(target)}")
    return 0


def _as_path(target: Path) -> str:
    """A folder as a word of a command that cannot be taken for the name of a dataset."""
    alone = target.name == str(target)
    return shlex.quote(f"./{target}" if alone else str(target))


def _print(console: Console, text: str) -> None:
    console.print(plain(text), soft_wrap=True)


def _runs(text: str) -> str:
    if text not in ("", "columns", "rows"):
        raise UserError(f"--runs is '{text}': give columns or rows")
    return text


def _channels(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if len(words) > 3:
        raise UserError(f"--channels is '{text}': give one to three numbers from 0, as 0,2,1")
    return tuple(int(read_number("channels", word, "a channel of --channels")) for word in words)
