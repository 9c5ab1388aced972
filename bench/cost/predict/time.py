"""Predicted time of a training step and of a whole cell.

The time of a call is its operations, the bytes that its operators read and write, and the number of
operators, each divided by a speed of the device. docs/cost.md says how far predictions were off.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.cost.predict.gpus import Gpu
from bench.cost.predict.work import CellWork, Work
from bench.sam.precision import emulate_bf16, multiplies_bf16

REACHED = (0.4, 0.7)  # shares of published peaks that training reaches: operations, bandwidth
# The same for what the probe measures. On CPUs, steps of this suite in bf16 reach more, since their
# products are smaller and stay in caches (tests/benchmarks/time_error.py); the rest is assumed.
PROBE_REACHED = {"cpu bf16": (1.5, 1.5), "cpu fp32": (0.8, 1.5), "cuda": (0.7, 1.0)}
OPERATOR_S = {"cpu": 37e-6, "cuda": 10e-6}  # fitted to records; assumed
ROUGH, PROBED = 2.5, 2.0  # factors of the interval: from a data sheet, from a probe
PROBE_S = 5.0
VIEW_S = 0.03  # seconds of a CPU to make an augmented view of a million pixels; measured


@dataclass(frozen=True)
class Speed:
    """Speed of a device.

    Attributes:
        flops: operations per second that training reaches.
        bandwidth: bytes per second that it reaches.
        factor: the true time is likely between the predicted one divided by and times this.
        operator_s: seconds that each operator takes in addition, however small its tensors are.
    """

    flops: float
    bandwidth: float
    factor: float
    operator_s: float = 0.0

    @property
    def training_flops(self) -> float:
        """Operations per second of a training of which only the operations are known.

        Bytes and operators take about as long as the operations (see the benchmark).
        """
        return self.flops / 2


@dataclass(frozen=True)
class Hours:
    """Predicted hours of one cell.

    Attributes:
        low: lower end of the interval.
        likely: the most likely value.
        high: upper end.
    """

    low: float
    likely: float
    high: float


def speed_of(gpu: Gpu, precision: str) -> Speed | None:
    """The speed of a known GPU; None if only its memory is known.

    Args:
        gpu: with its published peaks.
        precision: "bf16"; any other word counts as "fp32".
    """
    peak = gpu.bf16 if precision == "bf16" else gpu.fp32
    if peak is None or gpu.bandwidth is None:
        return None
    flops, bandwidth = REACHED[0] * peak * 1e12, REACHED[1] * gpu.bandwidth * 1e9
    return Speed(flops, bandwidth, ROUGH, OPERATOR_S["cuda"])


def probe_speed(device: str, precision: str, seconds: float = PROBE_S) -> Speed:
    """Measure the speed of this machine with matrix products and additions.

    Args:
        device: name of a torch device, as "cpu" or "cuda:1".
        precision: "bf16" or "fp32".
        seconds: shortest duration of the whole probe; each of the two parts makes at least two
            calls.
    """
    emulate_bf16()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    square = torch.ones(1024, 1024, dtype=dtype, device=device)
    long = torch.ones(2**24, device=device)
    products = _calls_per_s(lambda: square @ square, device, seconds / 2)
    additions = _calls_per_s(lambda: long.add_(1), device, seconds / 2)
    kind = device.split(":")[0]
    sums = "bf16" if precision == "bf16" and multiplies_bf16() else "fp32"
    shares = PROBE_REACHED["cuda" if kind == "cuda" else f"cpu {sums}"]
    flops, bandwidth = products * 2 * 1024**3, additions * 2 * long.nbytes
    return Speed(shares[0] * flops, shares[1] * bandwidth, PROBED, OPERATOR_S[kind])


def seconds_of(work: Work, speed: Speed) -> float:
    """The predicted seconds of a call, or of many."""
    moving = work.moved_bytes / speed.bandwidth
    return work.flops / speed.flops + moving + work.operators * speed.operator_s


def cell_hours(
    work: CellWork, speed: Speed, *, steps: int, views: int, evaluated: int, side: int
) -> Hours:
    """The hours of one cell: making its views, frozen stages once, training and evaluation.

    Args:
        work: of the parts of the cell.
        speed: of the device.
        steps: optimiser steps; 0 if nothing is trained.
        views: augmented images, or stacks of slices, of the training.
        evaluated: images, or stacks, of validation and test that pass through the model.
        side: of the images, in pixels.

    Returns:
        The likely number of hours, with an interval given by the factor of the speed. Decoding of
        image files is not included.
    """
    whole = work.step * steps + work.frozen * views + work.forward * evaluated
    hours = (seconds_of(whole, speed) + views * side**2 * VIEW_S / 1e6) / 3600
    return Hours(hours / speed.factor, hours, hours * speed.factor)


def _calls_per_s(call: Callable[[], object], device: str, seconds: float) -> float:
    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    call()
    wait()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        call()
        wait()
        calls += 1
    return calls / (time.perf_counter() - began)
