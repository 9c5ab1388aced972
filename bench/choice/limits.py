"""Limits of the user: which methods cannot fit by prediction, and in what order the rest runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.choice.arms import Arm
from bench.choice.race import Measured
from bench.cost.count import cost_card
from bench.cost.predict.fit import Plan
from bench.cost.predict.gpus import GIB, find_gpu, judge
from bench.cost.predict.views import kept_views
from bench.errors import UnsupportedError, UserError, check_number, shorten
from bench.plugins.registry import get_method
from bench.run.device_memory import verdict_of
from bench.run.durations import read_seconds
from bench.spec import Cell

DEVICES = {"cuda": "CUDA", "cpu": "the CPU"}  # that memory is predicted for, with their titles


@dataclass(frozen=True)
class Limits:
    """What a method may need; None for no limit.

    Attributes:
        max_memory: a memory, as "8GB", or the name of a GPU; the predicted training must fit.
        max_seconds: time of the whole command.
        max_params: parameters of the whole model, frozen ones included.
        min_speed: images per second in inference, as measured here.
        scratch: whether methods that are trained from scratch may take part.
        memory_for: "cpu" or "cuda", what the memory is predicted for; "" for the device of the
            runs, and for "cuda" where a GPU is named.
    """

    max_memory: str | None = None
    max_seconds: float | None = None
    max_params: int | None = None
    min_speed: float | None = None
    scratch: bool = True
    memory_for: str = ""

    def memory_device(self, device: str) -> str:
        """What the memory is predicted for: "cpu" or "cuda".

        Args:
            device: name of the torch device of the runs.

        Raises:
            UserError: the memory cannot be read.
        """
        named = self.max_memory is not None and find_gpu(self.max_memory).source != ""
        return self.memory_for or ("cuda" if named else device.split(":")[0])

    @property
    def measured(self) -> Measured:
        """Those that are compared with values that runs measure."""
        return Measured(self.max_params, self.min_speed)

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: a limit is no finite number above 0, or the memory cannot be read.
        """
        for option, value in (
            ("max-time", self.max_seconds),
            ("max-params", self.max_params),
            ("min-speed", self.min_speed),
        ):
            if value is not None:
                check_number(option, value)
        if self.max_memory is not None:
            if not isinstance(self.max_memory, str):
                raise UserError(
                    f"--max-memory is {self.max_memory!r}: give text, as '8GB' or 'rtx 4070'"
                )
            find_gpu(self.max_memory)
        if self.memory_for not in ("", *DEVICES):
            raise UserError(f"--memory-for cannot be '{self.memory_for}': give cuda or cpu")
        if self.memory_for and self.max_memory is None:
            raise UserError("--memory-for needs --max-memory: give both, or leave it out")


def read_limits(options: Mapping[str, Any]) -> Limits:
    """The limits as a user writes them, checked.

    Args:
        options: max_memory, memory_for, max_time, max_params, min_speed and no_scratch; None or
            missing for no limit. Times and numbers may be text or numbers.

    Raises:
        UserError: a value cannot be read or is not above 0.
    """
    seconds, params = options.get("max_time"), options.get("max_params")
    limits = Limits(
        options.get("max_memory"),
        read_seconds(seconds, "--max-time", "max-time") if isinstance(seconds, str) else seconds,
        parse_count(params) if isinstance(params, str) else params,
        options.get("min_speed"),
        not options.get("no_scratch", False),
        options.get("memory_for") or "",
    )
    limits.check()
    return limits


@dataclass(frozen=True)
class LeftOut:
    """A method that does not run.

    Attributes:
        name: of the method.
        reason: a phrase.
    """

    name: str
    reason: str


def parse_count(text: str) -> int:
    """A number of parameters as "500000", "5M" or "0.5M".

    Raises:
        UserError: the text is not such a number.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kM]?)\s*", text)
    if match is None:
        raise UserError(f"--max-params cannot be '{shorten(text)}': give a number as 500000 or 5M")
    number = float(match[1]) * {"": 1, "k": 1e3, "M": 1e6}[match[2]]
    check_number("max-params", round(number) if number < 1e300 else number)
    return round(number)


def apply_limits(
    arms: Sequence[Arm], limits: Limits, images: int, device: str
) -> tuple[list[tuple[Arm, float]], list[LeftOut]]:
    """Leave out the methods that cannot fit, and put the rest in order, fewest operations first.

    Parameters and operations are counted without weights or images. Memory is predicted
    (`bench.cost.predict`), which takes seconds for each method. A method whose memory cannot be
    predicted takes part.

    Args:
        arms: the methods.
        limits: of the user.
        images: number of training images.
        device: what memory is predicted for, "cpu" or "cuda".

    Returns:
        The methods that take part, each with the operations of the training of one run; and the
        others with the reasons.

    Raises:
        UserError: the memory cannot be read, or an option of a method is out of range.
    """
    kept: list[tuple[float, int, Arm]] = []
    left_out = []
    judged: dict[str, tuple[str, float]] = {}  # arms that differ in the learning rate are equal
    for arm in arms:
        cell = arm.cells[0]
        key = replace(cell, recipe=replace(cell.recipe, lr=0.0)).id
        if key not in judged:
            judged[key] = _judge(cell, limits, images, device)
        reason, operations = judged[key]
        if reason:
            left_out.append(LeftOut(arm.name, reason))
        else:
            kept.append((operations, arm.position, arm))
    ordered = sorted(kept, key=lambda one: one[:2])
    return [(arm, operations) for operations, _, arm in ordered], left_out


def _judge(cell: Cell, limits: Limits, images: int, device: str) -> tuple[str, float]:
    """Why a method is left out, or "", and the operations of one of its runs."""
    method, task = get_method(cell.method), replace(cell.task, weights="random")
    if method.from_scratch and not limits.scratch:
        return "it is trained from scratch", 0.0
    try:
        counts = cost_card(method, cell.options, task).counts
    except UnsupportedError as error:
        return f"it cannot do this task: {error}", 0.0
    if limits.max_params is not None and counts.total_params > limits.max_params:
        return f"it has {counts.total_params / 1e6:.2f} M parameters", 0.0
    recipe = cell.recipe
    if limits.max_memory is not None:
        views = kept_views(method, task, recipe, images, device)
        plan = Plan(method, cell.options, task, recipe, views, device)
        try:
            peak = plan.memory().cell_peak
        except UnsupportedError:  # not predicted: it may fit
            peak = 0
        memory = find_gpu(limits.max_memory).memory_bytes
        fits = judge(peak, memory) if device == "cuda" else verdict_of(device, peak, memory)
        if fits == "no":
            return f"it needs {peak / GIB:.1f} GiB and more (predicted for {DEVICES[device]})", 0.0
    return "", float(counts.train_step_flops * recipe.batch_size * recipe.steps)
