"""Images per second, measured so that other processes have little influence on the result."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.parallel import tell

FEWEST_BLOCKS = 5  # that can show whether the machine was busy

_SCHEDULED = Path("/proc/thread-self/schedstat")  # ns on a CPU, ns waiting for one, time slices


@dataclass(frozen=True)
class Throughput:
    """Images per second over timed blocks.

    Attributes:
        median: over the blocks.
        iqr: interquartile range over the blocks; None if the time limit allowed only one block.
        blocks: images per second of each block, in the order of measurement.
    """

    median: float
    iqr: float | None
    blocks: tuple[float, ...]


def measure_throughput(
    call: Callable[[], Any],
    images_per_call: int,
    *,
    warmup_s: float = 1.0,
    block_s: float = 0.1,
    blocks: int = 15,
    steady: float = 0.0,
    limit_s: float = 30.0,
    sync: Callable[[], Any] | None = None,
    alone: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Throughput:
    """Measure the speed of `call` in blocks, after a warm-up.

    Without `sync`, the time in which this thread waited for a CPU that was in use by other threads
    does not count. Only Linux reports this time; elsewhere it counts.

    Args:
        call: runs the model once; its errors are passed on.
        images_per_call: number of images in one call.
        warmup_s: shortest duration of the warm-up in seconds; it makes at least one call.
        block_s: shortest duration of a block in seconds; it makes at least one call.
        blocks: largest number of blocks.
        steady: no further block starts once there are `FEWEST_BLOCKS`, and their interquartile
            range is below this share of their median; 0 to always time all blocks.
        limit_s: after this time in seconds, warm-up included, no further block starts; the first
            block always runs.
        sync: waits for the device, as `torch.cuda.synchronize` does; the time is read after it.
            None: `call` returns when its work is done, as on a CPU.
        alone: makes the context that the blocks run in, which may keep other processes still; the
            time that it takes to enter it does not count.

    Returns:
        Images per second: median, interquartile range (None for one block), and the value of each
        block.
    """
    wait = sync or (lambda: None)
    wait()
    start = time.perf_counter()
    # A device may accept calls much faster than it runs them, so the time alone cannot end a block.
    # The fastest call of the warm-up determines how many calls are made between two waits.
    fastest = float("inf")
    while (begun := time.perf_counter()) - start < warmup_s or fastest == float("inf"):
        call()
        wait()
        tell("measuring a speed", 0, blocks)
        fastest = min(fastest, time.perf_counter() - begun)
    calls = max(1, round(block_s / fastest)) if fastest > 0 else 1

    speeds: list[float] = []
    waited_since = time.perf_counter()
    with alone():
        start += time.perf_counter() - waited_since
        while len(speeds) < blocks and (not speeds or time.perf_counter() - start < limit_s):
            if len(speeds) >= FEWEST_BLOCKS and _spread(speeds) < steady:
                break
            speeds.append(_time_block(call, wait, calls, block_s, sync is None) * images_per_call)
            tell("measuring a speed", len(speeds), blocks)
    low, median, high = (float(q) for q in np.percentile(speeds, (25, 50, 75)))
    return Throughput(median, high - low if len(speeds) > 1 else None, tuple(speeds))


def _spread(speeds: list[float]) -> float:
    """Interquartile range as a share of the median."""
    low, median, high = np.percentile(speeds, (25, 50, 75))
    return float((high - low) / median)


def _time_block(
    call: Callable[[], Any], wait: Callable[[], Any], calls: int, block_s: float, on_cpu: bool
) -> float:
    """Calls per second in at least `block_s` seconds, with a wait after every `calls` calls."""
    done, elapsed = 0, 0.0
    waited = _waited() if on_cpu else 0.0
    begun = time.perf_counter()
    while done == 0 or elapsed < block_s:
        for _ in range(calls):
            call()
        wait()
        done += calls
        elapsed = time.perf_counter() - begun
        if on_cpu:
            elapsed -= _waited() - waited
    return done / elapsed


def _waited() -> float:
    """Seconds that this thread waited for a CPU; 0 if the system does not report it."""
    try:
        return int(_SCHEDULED.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0
