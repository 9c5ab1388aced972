"""Count what methods cost, without data or weights."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.cli.numbers import Number, NumbersInText
from bench.cli.parsing import AddOptions, ArgumentParser, plain
from bench.spec import MASK_GRIDS, Task

if TYPE_CHECKING:
    from bench.cost.count import CostCard
    from bench.cost.predict.table import PredictedRow


def parser() -> argparse.ArgumentParser:
    """The parser of `cost`."""
    parser = ArgumentParser(
        command="cost",
        description="Count parameters, floating-point operations and file size of methods. No data"
        " or weights are read, nothing is trained.",
    )
    add = AddOptions(parser)
    add("--methods LIST  as in 'lora[rank=1|4]'", required=True)
    add("--backbone LIST  [%(default)s]", default="sam_nano")
    add("--image-size PX  [the backbone's own]")
    add("--depth N  slices in one sample [%(default)s]", default=1)
    add("--classes  foreground classes [%(default)s]", type=Number("classes"), default=1)
    add(
        "--batch-size  images, or stacks, in a training step [%(default)s]",
        type=Number("batch-size"),
        default=1,
    )
    add("--mask-grid  as for a run [%(default)s]", choices=tuple(MASK_GRIDS), default="coarse")
    predicted = AddOptions(parser.add_argument_group("predictions (seconds for each method)"))
    predicted("--memory  also predict the memory of training on CUDA")
    predicted(
        "--gpu NAME  also predict whether it fits: a size as 12GB, or 'rtx 4070'",
        type=NumbersInText("bench.cost.predict.gpus:find_gpu"),
    )
    predicted("--images N  labelled images [%(default)s]", default=500)
    predicted("--steps N  optimiser steps [%(default)s]", default=200)
    predicted("--precision", choices=("bf16", "fp32"), default="bf16")
    predicted("--checkpointing  as for a run")
    predicted("--accumulate N  as for a run", default=1)
    predicted("--probe  predict hours on this machine: measure its speed for five seconds")
    add("--json  a list of objects instead of a table")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the counts, and predictions on request, as tables or JSON; returns the exit code 0.

    Methods that do not work on a backbone are left out and named on stderr.

    Raises:
        UserError: a name or a value is not allowed, or no method works on any backbone.
    """
    import json

    from bench.ask.method_words import parse_methods
    from bench.cost.count import cost_cards

    counted, refused = cost_cards(
        parse_methods(arguments.methods),
        arguments.backbone,
        arguments.image_size,
        arguments.classes,
        arguments.batch_size,
        arguments.depth,
        arguments.mask_grid,
    )
    cards = [card.to_dict() for card in counted]
    for sentence in refused:
        Console(stderr=True).print(f"[yellow]left out: {plain(sentence)}[/]", soft_wrap=True)
    predictions = _predict(arguments, counted) if _predicts(arguments) else []
    if arguments.json:
        print(json.dumps(_joined(cards, predictions), indent=1))
        return 0
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    units = {
        "Trains\nM": ("trainable_params", 1e6),
        "Added\nM": ("added_params", 1e6),
        "Total\nM": ("total_params", 1e6),
        "Forward\nGFLOP": ("forward_flops", 1e9),
        "Step\nGFLOP": ("train_step_flops", 1e9),
        "File\nMiB": ("saved_bytes", 2**20),
    }
    classes = f"{arguments.classes} foreground class{'es' if arguments.classes > 1 else ''}"
    fine = arguments.mask_grid != Task.mask_grid
    grid = f", mask grid {arguments.mask_grid}" if fine else ""
    for backbone in dict.fromkeys(card["backbone"] for card in cards):
        rows = [card for card in cards if card["backbone"] == backbone]
        on = "from scratch" if backbone == "none" else backbone
        title = f"{on}, {rows[0]['image_size']} px, {classes}{grid}"
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
        table.add_column("Method", overflow="fold", min_width=24)
        for heading in units:
            table.add_column(heading, justify="right", no_wrap=True)
        for card in rows:
            figures = (f"{card[key] / unit:.4g}" for key, unit in units.values())
            table.add_row(plain(card["method"]), *figures)
        console.print(table)
    if predictions:
        _show(predictions, arguments, console)
    what = "image" if arguments.depth == 1 else f"stack of {arguments.depth} slices"
    console.print(
        f"Forward: one {what}; training step: {arguments.batch_size}. FLOPs are 2 x multiply-adds."
        " Methods with prompts are counted with one prompt per image."
    )
    return 0


def _predicts(arguments: argparse.Namespace) -> bool:
    return bool(arguments.memory or arguments.gpu or arguments.probe)


def _predict(arguments: argparse.Namespace, cards: "Sequence[CostCard]") -> "list[PredictedRow]":
    """One prediction for each card."""
    import torch

    from bench.ask.method_words import parse_methods
    from bench.cost.predict.gpus import find_gpu
    from bench.cost.predict.table import predict_rows
    from bench.cost.predict.time import probe_speed
    from bench.errors import UserError
    from bench.spec import Recipe

    if arguments.accumulate > arguments.batch_size:
        raise UserError(
            f"--accumulate is {arguments.accumulate}, but a batch has {arguments.batch_size}: give"
            " a number up to the batch size"
        )
    gpu = None if arguments.gpu is None else find_gpu(arguments.gpu)
    speed = None
    if arguments.probe:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        speed = probe_speed(device, arguments.precision)
    recipe = Recipe(
        0.0,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        precision=arguments.precision,
        checkpointing=arguments.checkpointing,
        accumulate=arguments.accumulate,
    )
    tasks = dict.fromkeys(
        replace(card.task, backbone=backbone)
        for card in cards
        for backbone in arguments.backbone.replace(" ", "").split(",")
        if card.task.backbone in ("none", backbone)
    )
    labels = {(card.label, card.task.backbone, card.task.image_size) for card in cards}
    methods = parse_methods(arguments.methods)
    rows = predict_rows(methods, list(tasks), recipe, arguments.images, gpu, speed)
    return [row for row in rows if row.key in labels]


def _joined(cards: list[dict[str, Any]], rows: "Sequence[PredictedRow]") -> list[dict[str, Any]]:
    """The cards as JSON shows them, each with its prediction."""
    predictions = {row.key: row.to_dict() for row in rows}
    return [
        {**card, **predictions.get((card["method"], card["backbone"], card["image_size"]), {})}
        for card in cards
    ]


def _show(rows: "Sequence[PredictedRow]", arguments: argparse.Namespace, console: Console) -> None:
    """Print the predictions as a table, and below it what makes a training fit."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    gib = 2**30
    table = Table(
        box=SIMPLE_HEAD,
        title=f"Predicted memory in GiB on CUDA, batch of {arguments.batch_size}",
        title_justify="left",
        padding=0,
        pad_edge=False,
    )
    table.add_column("Method", overflow="fold", min_width=14)
    headings = ["Peak", "Weights", "Grad.", "Optim.", "Activ.", "Kept"]
    extra = ["Fits", "Batch"] if arguments.gpu else []
    timed = ["Hours"] if any(row.hours for row in rows) else []
    for heading in (*headings, *extra, *timed):
        table.add_column(heading, justify="right", no_wrap=True)
    notes = []
    for row in rows:
        name = f"{row.label} {row.plan.task.backbone.removeprefix('sam_')}"
        if row.memory is None:
            notes.append(f"{name}: {row.reason}")
            continue
        memory = row.memory
        sizes = (memory.cell_peak, memory.weights, memory.gradients, memory.optimizer)
        figures = [f"{size / gib:.2f}" for size in (*sizes, memory.activations, memory.kept)]
        words = [row.verdict or "", "-" if row.largest is None else str(row.largest)]
        hours = [f"{row.hours.low:.2g}-{row.hours.high:.2g}" if row.hours else "-"]
        table.add_row(plain(name), *figures, *words[: len(extra)], *hours[: len(timed)])
        if row.verdict not in (None, "fits") and row.plan.method.lr:
            notes.append(f"{name}: {row.change or 'no change makes it fit'}")
    console.print(table)
    for note in notes:
        console.print(plain(note), soft_wrap=True)
    console.print(
        "Peak: of the whole run, validation included; parts: of the training step. Margins for CUDA"
        " are assumed, not measured: see docs/cost.md."
    )
    if arguments.gpu:
        console.print(
            "Fits: with the largest margins, or only with the smallest (probably). Batch: the"
            " largest that fits with the largest margins."
        )
