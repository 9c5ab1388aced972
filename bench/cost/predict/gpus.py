"""Memory and speed of known GPUs, and when a predicted peak fits into a GPU."""

import re
from dataclasses import dataclass
from typing import Literal

from bench.errors import UserError, read_number, shorten

Verdict = Literal["fits", "probably", "no"]
Margin = Literal["smallest", "largest"]
GIB = 2**30

# What a GPU needs in addition to the tensors; not measured here, see docs/cost.md. The CUDA context
# takes 0.3 to 0.6 GiB. nnU-Net's issue 2996 reports 21.5 GB of tensors, 22.6 GB reserved by the
# allocator (5 % more) and 23.5 GB shown by nvidia-smi for one run; twice that share is assumed.
CONTEXT_BYTES = (int(0.3 * GIB), int(0.6 * GIB))  # at least, at most
WORKSPACE_BYTES = (0, 32 * 2**20)  # of cuBLAS; 32 MiB on Hopper, 8 MiB on older GPUs
RESERVED = (1.0, 1.10)  # memory that the allocator reserves, as a multiple of the tensors


@dataclass(frozen=True)
class Gpu:
    """A GPU as its maker describes it; speeds are None where a size in GB was given, not a name.

    Attributes:
        name: as in the table, in lower case; or the size, as "12 GB".
        memory_gib: memory in GiB.
        bandwidth: of the memory, in GB/s.
        fp32: peak of fp32 operations without tensor cores, in TFLOP/s.
        bf16: peak of dense bf16 operations with fp32 sums, in TFLOP/s.
        source: document with the figures; "" for a size.
    """

    name: str
    memory_gib: float
    bandwidth: float | None = None
    fp32: float | None = None
    bf16: float | None = None
    source: str = ""

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return int(self.memory_gib * GIB)


_AMPERE = "NVIDIA Ampere GA102 GPU architecture, white paper"
_ADA = "NVIDIA Ada GPU architecture, white paper"
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("rtx 3080", 10, 760, 29.8, 59.5, _AMPERE),
        Gpu("rtx 3090", 24, 936, 35.6, 71.0, _AMPERE),
        Gpu("rtx a6000", 48, 768, 38.7, 154.8, "NVIDIA RTX A6000, data sheet"),
        Gpu("rtx 4070", 12, 504, 29.1, 58.3, _ADA),
        Gpu("rtx 4080", 16, 717, 48.7, 97.5, _ADA),
        Gpu("rtx 4090", 24, 1008, 82.6, 165.2, _ADA),
        Gpu("a10", 24, 600, 31.2, 125, "NVIDIA A10, data sheet"),
        Gpu("l4", 24, 300, 30.3, 121, "NVIDIA L4, data sheet"),
        Gpu("l40s", 48, 864, 91.6, 362, "NVIDIA L40S, data sheet"),
        Gpu("a100 40gb", 40, 1555, 19.5, 312, "NVIDIA A100, data sheet"),
        Gpu("a100 80gb", 80, 2039, 19.5, 312, "NVIDIA A100, data sheet (SXM)"),
        Gpu("h100", 80, 3350, 67, 989, "NVIDIA H100, data sheet (SXM)"),
    )
}


def find_gpu(text: str) -> Gpu:
    """The GPU of a name as `rtx 4070`, or of a memory size as `12GB`; a GB counts as a GiB.

    Upper and lower case, and the words "NVIDIA" and "GeForce", do not matter.

    Raises:
        UserError: the text is neither a known name nor a size above 0.
    """
    words = " ".join(text.lower().replace("nvidia", "").replace("geforce", "").split())
    if words in GPUS:
        return GPUS[words]
    size = re.fullmatch(r"(\S+?)\s*(?:gb|gib|g)", words)
    if size is None or not re.match("[0-9.+-]", size[1]):
        raise UserError(
            f"GPU '{shorten(text)}' is not known: give a memory size as 12GB, or one of"
            f" {', '.join(GPUS)}"
        )
    read_number("gpu", size[1], "a memory in GB")
    return Gpu(f"{size[1]} GB", float(size[1]))


def largest_peak(memory: int, margin: Margin = "largest") -> int:
    """The largest peak of tensors that fits into a GPU, in bytes; below 0 for a tiny memory.

    Args:
        memory: memory of the GPU in bytes.
        margin: subtract the "largest" or the "smallest" memory that a GPU needs in addition to the
            tensors: the CUDA context, workspaces, and what the allocator reserves.
    """
    index = 1 if margin == "largest" else 0
    return int((memory - CONTEXT_BYTES[index] - WORKSPACE_BYTES[index]) / RESERVED[index])


def judge(peak: int, memory: int) -> Verdict:
    """Whether tensors with this peak fit into a GPU.

    Args:
        peak: predicted peak of the tensors, in bytes.
        memory: memory of the GPU, in bytes.

    Returns:
        "fits" if the peak fits with the largest margins, "probably" if it fits only with the
        smallest margins, otherwise "no".
    """
    if peak <= largest_peak(memory):
        return "fits"
    return "probably" if peak <= largest_peak(memory, "smallest") else "no"
