"""The memory of a device that is free for a run, and whether a predicted peak fits into it."""

import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from bench.cost.predict.gpus import CONTEXT_BYTES, WORKSPACE_BYTES, Verdict, largest_peak

# What a process on the CPU needs in addition to its tensors: workspaces of kernels, images, pieces
# that the C library does not give back. Measured: docs/cost.md, "In runs".
CPU_EXTRA_BYTES = (0, 256 * 2**20)  # at least, at most
CPU_FACTOR = (1.0, 1.8)  # memory of the process as a multiple of the tensors


def available_bytes(device: str) -> int | None:
    """Bytes that this process can still get on a device; None where the system does not say.

    On CUDA, what is free next to the context of this process, which is created if there is none.
    On a CPU, the least of the free memory of the machine and of the limits of control groups
    (containers, jobs) and of the process (`ulimit -v`).

    Args:
        device: name of a torch device.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return min([*_of_machine(), *_of_groups(), *_of_process()], default=None)


def largest_run_peak(device: str, available: int, margin: Literal["smallest", "largest"]) -> int:
    """The largest peak of tensors that fits, in bytes; below 0 where nothing fits.

    Args:
        device: name of a torch device.
        available: of `available_bytes`.
        margin: subtract the "largest" or the "smallest" memory that a run needs in addition.
    """
    index = 1 if margin == "largest" else 0
    if device.startswith("cuda"):  # the context is in use already, so it is not subtracted again
        return largest_peak(available + CONTEXT_BYTES[index], margin)
    return int((available - CPU_EXTRA_BYTES[index]) / CPU_FACTOR[index])


def fit_together(device: str, peaks: Sequence[int], available: int) -> bool:
    """Whether the tensors of several processes fit at the same time, with the largest margins.

    Args:
        device: name of a torch device.
        peaks: predicted peak of each process, in bytes.
        available: bytes that were free before the first of them started.
    """
    each = (
        CONTEXT_BYTES[1] + WORKSPACE_BYTES[1] if device.startswith("cuda") else CPU_EXTRA_BYTES[1]
    )
    left = available - each * (len(peaks) - 1)
    return sum(peaks) <= largest_run_peak(device, left, "largest")


def verdict_of(device: str, peak: int, available: int) -> Verdict:
    """Whether tensors with this peak fit: "fits", "probably" (with small margins) or "no".

    Args:
        device: name of a torch device.
        peak: predicted peak of a run, in bytes.
        available: of `available_bytes`.
    """
    if peak <= largest_run_peak(device, available, "largest"):
        return "fits"
    return "probably" if peak <= largest_run_peak(device, available, "smallest") else "no"


def _of_machine() -> Iterator[int]:
    memory = Path("/proc/meminfo")
    for line in memory.read_text().splitlines() if memory.exists() else ():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """What each control group of this process has left, of version 2 and version 1.

    Pages of files, which the system gives back when memory is short, do not count as used.
    """
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base = root / controllers
        names = ("memory.max", "memory.current", "inactive_file")
        if controllers:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        # Inside a container the path may be that of the host: then only `base` exists.
        group = base / path.lstrip("/")
        for folder in {base, group, *(p for p in group.parents if base in p.parents)}:
            yield from _left_in_group(folder, *names)


def _left_in_group(folder: Path, limit: str, usage: str, files: str) -> Iterator[int]:
    try:
        most = (folder / limit).read_text().strip()
        used = int((folder / usage).read_text())
        rows = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        reclaimable = next((int(value) for name, value in rows if name == files), 0)
    except OSError:  # the group has no limit, or is not visible from here
        return
    if most != "max":
        yield max(0, int(most) - used + reclaimable)


def _of_process() -> Iterator[int]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = Path("/proc/self/statm")
    if limit != resource.RLIM_INFINITY and pages.exists():
        yield max(0, limit - int(pages.read_text().split()[0]) * resource.getpagesize())
