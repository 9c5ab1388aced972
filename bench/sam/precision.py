"""Which devices compute in bfloat16 themselves. Elsewhere it is emulated, and much slower."""

import torch

# Instruction sets with which oneDNN computes matrix products of bfloat16. With AVX2 alone, a linear
# layer takes 12 times and a convolution 40 times as long as in fp32.
_CPUS = ("AVX512", "AMX")


def computes_bf16(device: str) -> bool:
    """Whether a device computes in bfloat16 at least about as fast as in fp32.

    Args:
        device: name of an available torch device: "cpu", "cuda" or "cuda:N". A GPU of another
            machine, where this one has none, is taken to do so: GPUs since 2020 do.
    """
    if torch.device(device).type == "cpu":
        return torch.backends.cpu.get_cpu_capability().startswith(_CPUS)
    if not torch.cuda.is_available():
        return True
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)
