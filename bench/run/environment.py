"""Describe the machine, the installed packages and the source that a cell runs with."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = (
    "torch",
    "torchvision",
    "segment-anything",
    "timm",
    "segmentation-models-pytorch",
    "numpy",
    "scipy",
)


@functools.cache
def source_state() -> dict[str, Any]:
    """The state of the source, computed once.

    Returns:
        "commit": hash of the commit of the checkout; "dirty": whether tracked files differ from it.
        Files below results/ do not count, because runs write there. Both are None outside a
        checkout or without git.
    """
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str | None:
        try:
            command = ["git", "-C", str(root), *words]
            process = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:  # git is not installed
            return None
        return process.stdout.strip() if process.returncode == 0 else None

    if not (root / ".git").exists():  # a wheel can be inside another repository
        return {"commit": None, "dirty": None}
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if changes is None else changes != ""}


def environment(device: str) -> dict[str, Any]:
    """Versions, hardware and source of this run, as stored in `Record.env`. Imports torch.

    Args:
        device: such as "cpu", "cuda" (the current CUDA device) or "cuda:1".

    Returns:
        "commit" and "dirty" of `source_state`, "python", "system", "cpu", "instructions" (vector
        instructions that torch uses, as "AVX2"), "cores", "threads" (of torch), "device" (as
        given), "gpu" (name of that CUDA device; None on a CPU) and "packages" (name to version,
        None if a package is not installed).
    """
    import torch

    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        **source_state(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
        "gpu": gpu,
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
