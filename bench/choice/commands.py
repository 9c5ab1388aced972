"""The commands that follow a choice: train, predict, and learn more."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

from bench.ask.request import Request
from bench.choice.arms import Evidence
from bench.choice.criterion import DICE
from bench.choice.verdict import Verdict
from bench.plugins.registry import get_method
from bench.spec import Cell

BUDGETS = (5, 10, 20)  # numbers of labelled images of a learning curve
_NAMES = {"backbones": "backbone", "datasets": "dataset"}  # fields with other names as options
_APART = ("methods", "datasets", "seeds", "folds", "labels", "lr")  # written by each command


def next_commands(verdict: Verdict, request: Request, program: str, out: Path) -> list[str]:
    """The commands to train the recommended method, to predict with it, and to learn more.

    Args:
        verdict: with a recommended method.
        request: what was asked; its settings are repeated, with all steps where short runs were
            compared. The limits are not: the methods of the verdict are within them.
        program: name of the program.
        out: the results folder.

    Raises:
        ValueError: no method is recommended.
    """
    best = verdict.recommended
    if best is None:
        raise ValueError("no method is recommended")
    where = ["--dataset", request.datasets]
    common = [*where, *_settings(request), "--out", str(out)]
    alone = [*where, *_settings(_of_one(request, best.arm.cells[0])), "--out", str(out)]
    one = ["--methods", best.arm.cells[0].label, *_rates([best.arm.cells[0]])]
    runs = ["--folds", str(request.folds)] if request.folds > 1 else []
    cells = [member.evidence.arm.cells[0] for member in verdict.set]
    names = ",".join(dict.fromkeys(cell.label for cell in cells))
    seeds = 2 * max(1, len(best.arm.cells) // request.folds)
    train = ["train", *one, *alone, "--labels", request.labels, "--model", "best.safetensors"]
    criterion = verdict.race.criterion
    again = [*runs, "--seeds", str(seeds)]
    again += [] if criterion is DICE else ["--by", criterion.name]
    again += [] if request.labels == Request.labels else ["--labels", request.labels]
    commands = [
        train,
        ["predict", "--model", "best.safetensors", "NEW_IMAGES"],
        ["choose", "--methods", names, *_rates(cells), *common, *again],
    ]
    budgets = _budgets(best, request)
    if budgets:
        commands.append([*one, *alone, *runs, "--labels", budgets, "--seeds", "3"])
    return [shlex.join([program, *words]) for words in commands]


def _of_one(request: Request, cell: Cell) -> Request:
    """The request with the backbone of one cell only.

    A method without a backbone has the image size of one of several: the size is named instead.
    """
    if len(request.backbone_names) == 1:
        return request
    if cell.task.backbone != "none":
        return replace(request, backbones=cell.task.backbone)
    return replace(request, backbones=Request.backbones, image_size=cell.task.image_size)


def _budgets(best: Evidence, request: Request) -> str:
    """Label budgets that every run has images for, as for `--labels`; "" if there are none.

    Stacks of slices need whole volumes.
    """
    if request.depth > 1:
        return ""
    sizes = [run.record.env.get("split", {}).get("train", 0) for run in best.runs.values()]
    known = [str(budget) for budget in BUDGETS if budget <= min(sizes, default=0)]
    return ",".join([*known, "all"]) if known else ""


def _rates(cells: Sequence[Cell]) -> list[str]:
    """The learning rates of methods, unless all are the methods' own."""
    own = [cell.recipe.lr == (get_method(cell.method).lr or 0.0) for cell in cells]
    if all(own) or cells[0].protocol != "equal":
        return []
    return ["--lr", "|".join(dict.fromkeys(f"{cell.recipe.lr:g}" for cell in cells))]


def _settings(request: Request) -> Iterator[str]:
    """The options of a request that are not the defaults."""
    for field in fields(Request):
        value = getattr(request, field.name)
        if field.name in _APART or value == field.default:
            continue
        option = "--" + _NAMES.get(field.name, field.name).replace("_", "-")
        yield from [option] if value is True else [option, str(value)]
