"""Where a cell ran."""

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
    """Commit of the checkout and whether tracked files differ from it; None outside a checkout.

    What a run itself writes (results/) does not make the checkout dirty.
    """
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str | None:
        try:
            asked = ["git", "-C", str(root), *words]
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if not (root / ".git").exists():  # a wheel may lie inside somebody else's repository
        return {"commit": None, "dirty": None}
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if changes is None else changes != ""}


def environment(device: str) -> dict[str, Any]:
    """Versions, hardware and state of the source; imports torch."""
    import torch

    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else None
    return {
        **source_state(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
        "gpu": gpu,
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
