"""What decides the last digits of a result: processor, instructions, libraries and their settings.

Two environments with the same description compute the same bits with one thread.
"""

import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SETTINGS = ("ATEN_", "DNNL_", "MKL_", "ONEDNN_")  # beginnings of names of environment variables
CPU_FIELDS = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features")


def numerics() -> dict[str, Any]:
    """Describe what decides the last digits of results, next to system and packages; imports torch.

    Returns:
        "cpu" and "torch_build" (hashes), "instructions" (in use) and "settings" (environment
        variables whose names begin with a word of `SETTINGS`).
    """
    import torch

    return {
        "cpu": _digest(_cpu()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch_build": _digest(torch.__config__.show()),
        "settings": {k: v for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS)},
    }


def same_machine(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether results of two environments must be equal to the last bit.

    Args:
        first: as `Figures.env`; "system", "packages" and "numerics" are compared.
        second: likewise. An environment without one of these three is another machine. The number
            of threads is not compared.
    """
    keys = ("system", "packages", "numerics")
    return all(key in first and first[key] == second.get(key) for key in keys)


def _cpu() -> str:
    """Model and instruction set of the first processor, as the system describes them."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return f"{platform.processor()} {platform.machine()}"
    first, _, _ = cpuinfo.read_text().partition("\n\n")
    lines = (line.partition(":") for line in first.splitlines())
    return "\n".join(f"{k.strip()}:{v}" for k, _, v in lines if k.strip() in CPU_FIELDS)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
