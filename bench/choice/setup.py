"""Prepare a race: from a request and limits to the methods that take part."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.ask.grid import expand
from bench.ask.request import Request
from bench.choice.arms import Arm, make_arms
from bench.choice.criterion import DICE, Criterion
from bench.choice.limits import DEVICES, LeftOut, Limits, apply_limits
from bench.choice.tune import with_variants
from bench.cost.predict.time import probe_speed
from bench.errors import UserError
from bench.files import parse_json, write_atomic
from bench.plugins.registry import list_methods
from bench.run.process import isolate
from bench.run.schedule import RunSettings
from bench.run.setup import prompt_origin
from bench.spec import Cell

RUNS = 3  # seeds with one split, or folds
DIVISORS = (1, 2, 4)  # of the steps
PROBE_S = 1.0  # seconds of the measurement of the speed of this machine


@dataclass(frozen=True)
class Setup:
    """A race that can begin.

    Attributes:
        arms: the methods, in the order in which they run.
        left_out: methods that cannot fit.
        notes: sentences on datasets.
        conditions: sentences on how the methods are compared that belong to the verdict.
        operations: id of a cell to the operations of its training.
    """

    arms: tuple[Arm, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    operations: dict[str, float]
    conditions: tuple[str, ...] = ()


def all_methods() -> str:
    """Every method that needs no prompts, as for `--methods`."""
    return ",".join(method.name for method in list_methods() if method.prompts == "none")


def complete(request: Request, criterion: Criterion) -> Request:
    """The request with the methods and seeds that are missing in it ("").

    All methods without prompts; three seeds with one split, one seed with folds. On the validation
    part only Dice is measured, so any other criterion compares held-out parts, of three folds if
    the request has one.
    """
    folds = RUNS if request.folds == 1 and criterion is not DICE else request.folds
    seeds = request.seeds or (str(RUNS) if folds == 1 else "1")
    methods = request.methods or all_methods()
    return replace(request, methods=methods, seeds=seeds, folds=folds)


def check_settings(settings: RunSettings) -> None:
    """Check that the settings of runs are possible in a race.

    Raises:
        UserError: batches are to be divided as the memory needs, which changes cells, or only a
            part of the grid is to run.
    """
    if settings.fit_memory:
        raise UserError("--fit-memory cannot be used with choose: give --accumulate N")
    if settings.shard:
        raise UserError("--shard cannot be used with choose, which compares all methods")


def set_up(
    request: Request, criterion: Criterion, limits: Limits, device: str, *, tune: bool
) -> Setup:
    """Expand a request, apply the limits, and put the methods in order.

    Args:
        request: one dataset and one label budget.
        criterion: what methods are compared by.
        limits: of the user.
        device: name of the torch device of the runs.
        tune: whether variants of each method take part.

    Raises:
        UserError: the request is not valid, names several datasets or label budgets, or no
            method is left.
    """
    limits.check()
    for option, values in (("dataset", request.dataset_names), ("labels", request.label_budgets)):
        if len(values) != 1:
            raise UserError(f"--{option} names {len(values)}: a choice is made for one")
    cells, notes = expand(request)
    if tune:
        if request.protocol != "equal":
            raise UserError("--tune needs --protocol equal: published recipes are kept as they are")
        cells = with_variants(cells)
    arms = make_arms(cells, {cell.id: prompt_origin(cell) for cell in cells})
    kind = limits.memory_device(device)
    taking_part, left_out = apply_limits(arms, limits, _images(request), kind)
    if not taking_part:
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in left_out)
        raise UserError(f"no method fits these limits: raise one of them ({reasons})")
    operations = {cell.id: count for arm, count in taking_part for cell in arm.cells}
    ordered = in_turn([arm for arm, _ in taking_part])
    conditions = []
    if limits.max_memory is not None:
        other = next(name for name in DEVICES if name != kind)
        conditions.append(
            f"Memory was predicted for {DEVICES[kind]}; --memory-for {other} predicts it for"
            f" {DEVICES[other]}."
        )
    return Setup(
        tuple(ordered),
        tuple(left_out),
        tuple(notes),
        operations,
        tuple(conditions),
    )


def in_turn(arms: Sequence[Arm]) -> list[Arm]:
    """One arm of each method, then the second of each, and so on; otherwise in the same order.

    So methods with several variants have had equally many runs, but for one, whenever the time is
    up. The variants of a method are in the order of the request.
    """
    places: dict[str, list[int]] = {}
    for arm in arms:
        places.setdefault(_method(arm), []).append(arm.position)
    turns = {place: turn for part in places.values() for turn, place in enumerate(sorted(part))}
    return sorted(arms, key=lambda arm: turns[arm.position])


def _method(arm: Arm) -> str:
    cell = arm.cells[0]
    return f"{cell.method} {cell.task.backbone}"


def _images(request: Request) -> int:
    from bench.data.split import split
    from bench.plugins.registry import load_collection

    (labels,) = request.label_budgets
    collection = load_collection(request.dataset_names[0])
    return len(split(collection, folds=request.folds, labels=labels, ratio=request.ratio).train)


def training_speed(device: str, precision: str, threads: int) -> float:
    """Operations per second that training reaches on this machine, measured in its own process.

    Args:
        device: name of a torch device.
        precision: "bf16" or "fp32".
        threads: CPU threads of a cell.
    """
    speeds: list[float] = []
    isolate(send_training_speed, device, precision, threads, on_event=speeds.append)
    return speeds[0]


def send_training_speed(
    device: str, precision: str, threads: int, send: Callable[[float], None]
) -> None:
    """Measure the speed with a number of threads, and send it; the body of a process."""
    torch.set_num_threads(threads)
    send(probe_speed(device, precision, PROBE_S).training_flops)


def shorten(
    setup: Setup, seconds: float, speed: float, folder: Path, elapsed: float = 0.0
) -> Setup:
    """Complete short runs where the time is too short for one run of all methods.

    The steps are halved, then divided by four, until one run of every method is expected to take
    half of the rest of the time at most. What was decided for a set of cells and a time is stored
    in the results folder, so that a command that goes on later decides the same.

    Args:
        setup: with the full number of steps.
        seconds: time of the command.
        speed: operations per second that training reaches on this machine.
        folder: the results folder.
        elapsed: seconds of the time that have passed.
    """
    file = folder / "choice" / f"{_key(setup.arms, seconds)}.json"
    divisor = _decided(file)
    if divisor is None:
        expected = sum(setup.operations[arm.cells[0].id] for arm in setup.arms) / speed
        fitting = (n for n in DIVISORS if expected / n <= (seconds - elapsed) / 2)
        divisor = next(fitting, DIVISORS[-1])
        write_atomic(file, json.dumps({"divide_steps_by": divisor}) + "\n")
    if divisor == 1:
        return setup
    arms: list[Arm] = []
    operations: dict[str, float] = {}
    for arm in setup.arms:
        cells = tuple(_shorter(cell, divisor) for cell in arm.cells)
        count = setup.operations[arm.cells[0].id] / divisor
        operations |= {cell.id: count for cell in cells}
        arms.append(replace(arm, cells=cells))
    steps = arms[0].cells[0].recipe.steps
    note = (
        f"The time is too short for full runs of all methods: they are compared after {steps}"
        " steps, with a complete schedule. The commands below train with all steps."
    )
    return replace(
        setup, arms=tuple(arms), operations=operations, conditions=(*setup.conditions, note)
    )


def _shorter(cell: Cell, divisor: int) -> Cell:
    steps = max(1, cell.recipe.steps // divisor)
    return replace(cell, recipe=replace(cell.recipe, steps=steps))


def _decided(file: Path) -> int | None:
    """The divisor that was stored; None if there is none, or a file that cannot be read."""
    try:
        divisor = parse_json(file.read_text())["divide_steps_by"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return divisor if divisor in DIVISORS else None


def _key(arms: Sequence[Arm], seconds: float) -> str:
    """A name for a set of cells, in whatever order, and a time."""
    names = sorted(cell.id for arm in arms for cell in arm.cells)
    return hashlib.sha256("\n".join([*names, f"{seconds:g} s"]).encode()).hexdigest()[:16]
