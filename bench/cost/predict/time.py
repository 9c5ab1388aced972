"""Predicted time of a training step and of a whole cell.

A step takes its operations divided by the speed of the device, plus the bytes of its activations
divided by the bandwidth, times the number of times that activations are written and read. A time
within the interval is likely, not certain; docs/cost.md says how far predictions were off.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.cost.count import Counts
from bench.cost.predict.gpus import Gpu

PASSES = 6  # how often the activations of a step are moved: written, read and differentiated
REACHED = (0.4, 0.7)  # shares of the peaks that training reaches: operations, bandwidth
ROUGH, PROBED = 2.5, 1.5  # factors of the interval: from a data sheet, from a probe
PROBE_S = 5.0


@dataclass(frozen=True)
class Speed:
    """Speed of a device.

    Attributes:
        flops: operations per second that training reaches.
        bandwidth: bytes per second that it reaches.
        factor: the true time is likely between the predicted one divided by and times this.
    """

    flops: float
    bandwidth: float
    factor: float


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
    return Speed(REACHED[0] * peak * 1e12, REACHED[1] * gpu.bandwidth * 1e9, ROUGH)


def probe_speed(device: str, precision: str, seconds: float = PROBE_S) -> Speed:
    """Measure the speed of this machine with matrix products and additions.

    Args:
        device: "cpu" or "cuda".
        precision: "bf16" or "fp32".
        seconds: shortest duration of the whole probe; each of the two parts makes at least two
            calls.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    square = torch.ones(1024, 1024, dtype=dtype, device=device)
    long = torch.ones(2**24, device=device)
    products = _calls_per_s(lambda: square @ square, device, seconds / 2)
    additions = _calls_per_s(lambda: long.add_(1), device, seconds / 2)
    return Speed(0.7 * products * 2 * 1024**3, additions * 2 * long.nbytes, PROBED)


def predict_hours(
    counts: Counts, activations: int, speed: Speed, steps: int, batch: int, evaluated: int
) -> Hours:
    """The hours of one cell: its training and its evaluation, without reading images.

    Args:
        counts: operations of the model; its training step is one of a single image.
        activations: bytes of all activations of a training step, those of the whole batch.
        speed: of the device.
        steps: optimiser steps.
        batch: images, or stacks of slices, in a step.
        evaluated: images, or stacks, of validation and test that pass through the model.

    Returns:
        The likely number of hours, with an interval given by the factor of the speed.
    """
    step = counts.train_step_flops * batch / speed.flops + PASSES * activations / speed.bandwidth
    seconds = steps * step + evaluated * counts.forward_flops / speed.flops
    hours = seconds / 3600
    return Hours(hours / speed.factor, hours, hours * speed.factor)


def _calls_per_s(call: Callable[[], object], device: str, seconds: float) -> float:
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    call()
    wait()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        call()
        wait()
        calls += 1
    return calls / (time.perf_counter() - began)
