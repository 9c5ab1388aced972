"""The main command: train, evaluate and measure the cells of a grid, then write the report."""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.cells import add_run_options, prepare_run, run_and_report
from bench.cli.completion import PrintCompletion
from bench.cli.data_check import add_selection_options
from bench.cli.listing import show_list
from bench.cli.numbers import (
    NumbersInText,
)
from bench.cli.parsing import AddOptions, ArgumentParser, read_path
from bench.errors import UserError
from bench.wording import PROJECT, project_version

if TYPE_CHECKING:
    from bench.run.schedule import RunSettings
    from bench.spec import Cell

EXAMPLES = """examples:
  %(prog)s --methods lora,adapter --dataset steel
  %(prog)s --methods "lora[rank=1|4|16,targets=qv|qkvo],full" --dataset steel --seeds 3
  %(prog)s --methods lora,unet --dataset path/to/folder --out results/mine

commands (COMMAND --help shows their options):
  suite list|run|ledger        run a published ablation and compare it with the published figures
  report                       rewrite tables and plots of a results folder from its records
  report A B --out C           one report of the records of several results folders
  status                       what runs where, what is done, what failed, and the time left
  cells                        list the cells of a grid and whether they are done
  compare A B                  what changed between two results folders, with intervals
  merge A B --out C            copy the records and models of several results folders into one
  verify                       check that tables and figures match the records
  conventions FOLDER           score stored predictions as other projects do
  cost                         parameters, FLOPs and file size of methods, without data or weights
  backbones                    which methods run on which backbones, and the reasons why not
  weights list|fetch|check     public checkpoints of the large backbones; accept a licence
  data list|fetch|check        public image collections
  data check FOLDER            say what is read of a folder of images and masks
  data preview NAME            a picture of augmented training images
  data import SOURCE TARGET    convert a folder of another layout (COCO, VOC, YOLO, nnU-Net, ...)
  choose                       the best method for your images, within limits
  models                       list the trained models that runs kept, or remove the worse ones
  train --model FILE           train the final model of a method on train and validation images
  predict --model FILE IMAGES  predict images with a kept model
  export --model FILE          write a kept model in the format of another library
  check-method NAME            check that a method keeps its contract
  check-dataset NAME           check that a dataset keeps its contract
  guard                        check that a change of the code left accuracy, cost and speed alone
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the main command.

    Its `dest` are names of fields of `Request` and `RunSettings`, except `list`, `json`, `out`,
    `dry_run`, `print_completion`, and `plugins` where it is given.
    """
    parser = ArgumentParser(
        command="",
        usage="%(prog)s --methods LIST --dataset LIST [options] | COMMAND ...",
        description="Compare ways of adapting the Segment Anything Model: accuracy and cost.",
        epilog=EXAMPLES,
    )
    add_grid_options(parser)
    add_recipe_options(parser)
    add_run_options(parser)
    others = AddOptions(parser.add_argument_group("instead of running"))
    others(
        "--list NAME  list methods, datasets and backbones, or show one in full, then exit",
        nargs="?",
        const="",
    )
    others("--json  with --list: as JSON")
    others(
        "--print-completion SHELL  print a script that completes sam-bench in bash, zsh or"
        " tcsh, then exit",
        action=PrintCompletion,
    )
    others("--version", action="version", version=f"{PROJECT} {project_version()}")
    return parser


def add_grid_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which cells: methods, datasets, weights."""
    what = AddOptions(parser.add_argument_group("what to run (comma lists make a grid)"))
    what("--methods LIST  as in lora[rank=1|4|16],adapter")
    what("--dataset LIST  names, or folders of images and masks", dest="datasets")
    what("--backbone LIST  foundation models [%(default)s]", dest="backbones", default="sam_nano")
    what(
        "--seeds N|LIST  number of seeds, or a list as 0,1,2 [1]",
        type=NumbersInText("bench.ask.request:read_seeds"),
        default="1",
    )
    what("--folds K  cross-validate [1]", default=1)
    what(
        "--labels LIST  training images with labels, as 1,5,all",
        type=NumbersInText("bench.ask.request:read_labels"),
        default="all",
    )
    what(
        "--split T:V:T  images to train, validate and test, as 7:2:1 [12:3:5]",
        type=NumbersInText("bench.data.split:canonical_ratio"),
    )
    what(
        "--test-dataset NAME  test on all images of another dataset or folder with the same classes"
    )
    add_selection_options(what)
    what("--allow-leakage  run even if training and test images overlap")
    weights = AddOptions(parser.add_argument_group("weights"))
    weights("--weights KIND  pretrained or random", default="pretrained")
    weights("--checkpoint FILE  your own weights", type=read_path)


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the recipe; those not given are None, for the recipe's own value.

    Only protocol, depth, accumulation and checkpointing have defaults here.
    """
    recipe = AddOptions(parser.add_argument_group("recipe (equal for all methods)"))
    recipe("--protocol NAME  [%(default)s]", default="equal")
    recipe("--image-size N  side of the model's input in pixels [the backbone's, or as published]")
    recipe("--depth N  slices of a volume in one sample [1]", default=1)
    recipe("--epochs N  passes over the augmentation bank")
    recipe("--steps N  optimiser steps")
    recipe("--batch-size N  images per step")
    recipe(
        "--fit NAME  square (both sides resized) or pad (aspect ratio kept, as in SAM)"
        " [%(default)s]",
        default="square",
    )
    recipe(
        "--lr X  peak learning rate, or several as '1e-3|3e-3' [the method's]",
        type=NumbersInText("bench.ask.request:read_rates"),
    )
    recipe("--precision KIND  bf16 (autocast) or fp32; default: bf16 if the device computes in it")
    recipe("--loss NAME  another loss than the recipe's")
    recipe("--augmentation NAME  another bank than the recipe's")
    recipe(
        "--evaluation NAME  whole (resized), tiles (native resolution), generator (SAM's"
        " masks of everything), or proposals (objects of --proposer as prompts)"
    )
    recipe(
        "--proposer METHOD  with --evaluation proposals: the method that finds the objects, as lora"
    )
    recipe(
        "--objects RULE  how touching objects are separated: components (not at all),"
        " watershed (of the class map), distances (two learned maps), or rays (StarDist's"
        " polygons) [components]"
    )
    recipe(
        "--zoom N  with tiles: enlarge images N times before windows are cut; auto: the best"
        " N up to 4 on validation images [1]",
        type=NumbersInText("bench.ask.request:read_zoom"),
    )
    recipe(
        "--mask-grid NAME  coarse (SAM's own grid of masks) or fine (a further stage of the"
        " decoder predicts at each pixel of the input) [%(default)s]",
        default="coarse",
    )
    recipe(
        "--accumulate N  pass a batch in N parts and add their gradients: less memory, same"
        " batch size [1]",
        default=1,
    )
    recipe("--checkpointing  recompute activations in the backward pass: less memory, more time")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the requested cells and write the report, list them (`--dry-run`), or show the list.

    Args:
        arguments: of `parser`.
        console: to print on.

    Returns:
        The exit code: 0, or 1 if a cell has a status other than "ok".

    Raises:
        UserError: an option is missing, a name or a value is not allowed, or as `run_and_report`.
    """
    if arguments.list is not None:
        return show_list(arguments.list, arguments.json, console)
    if arguments.json:
        raise UserError("--json goes with --list: give both")
    cells, notes, settings = expand_request(arguments, console)
    return run_and_report(cells, notes, settings, arguments, console)


def expand_request(
    arguments: argparse.Namespace, console: Console
) -> "tuple[list[Cell], list[str], RunSettings]":
    """The cells that are requested, notes on them, and how they are to run.

    Args:
        arguments: with the options of a grid, a recipe and a run.
        console: shows what is read.

    Raises:
        UserError: an option is missing, or a name or a value is not allowed.
    """
    from bench.ask.grid import expand
    from bench.ask.request import FP32_NOTE, Request, pick_fields
    from bench.cli.reading import proposing_groups, showing_reading

    for option, value in (("methods", arguments.methods), ("dataset", arguments.datasets)):
        if value is None:
            raise UserError(f"--{option} is missing: see --list for names and --help for examples")
    settings = prepare_run(arguments)
    request = Request(**pick_fields(Request, vars(arguments))).on_device(settings.find_device())
    with proposing_groups(arguments.out), showing_reading(console):
        cells, notes = expand(request)
    if request.precision != arguments.precision:
        notes.insert(0, FP32_NOTE)
    return cells, notes, settings
