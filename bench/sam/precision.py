"""Which devices compute in bfloat16, and fast products of bfloat16 on a CPU that cannot.

PyTorch multiplies bfloat16 on a CPU with AVX2 alone 10 to 40 times as slowly as float32. The
products of `emulate_bf16` take bfloat16, sum in float32 and round the result to bfloat16, as
processors with AVX-512 or AMX do, and training takes about as long as in float32.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import DispatchKeySet, Tensor
from torch.library import Library, get_kernel

# Instruction sets with which oneDNN computes matrix products of bfloat16 itself.
_FAST_CPUS = ("AVX512", "AMX")

# The operators of PyTorch that multiply matrices, and which of their results are bfloat16 where
# the inputs are: all, or only the first (attention keeps the logarithms of its sums in float32).
_PRODUCTS = {
    "mm": None,
    "addmm": None,
    "baddbmm": None,
    "convolution": None,
    "convolution_backward": None,
    "_scaled_dot_product_flash_attention_for_cpu": 1,
    "_scaled_dot_product_flash_attention_for_cpu_backward": None,
}

_CACHED = 2**20  # float32 values of a factor or product that are made at a time


def computes_bf16(device: str) -> bool:
    """Whether a device computes in bfloat16 at least about as fast as in float32.

    Args:
        device: name of an available torch device: "cpu", "cuda" or "cuda:N". A CPU does, see
            `emulate_bf16`. A GPU of another machine, where this one has none, is taken to do so:
            GPUs since 2020 do.
    """
    if torch.device(device).type == "cpu" or not torch.cuda.is_available():
        return True
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def multiplies_bf16() -> bool:
    """Whether the CPU has instructions for products of bfloat16."""
    return torch.backends.cpu.get_cpu_capability().startswith(_FAST_CPUS)


def emulate_bf16() -> None:
    """On a CPU that does not multiply bfloat16, replace PyTorch's kernels for it in this process.

    The new kernels compute in float32 and round. Products of other types stay as they are, and
    nothing is replaced on a CPU that multiplies bfloat16.
    """
    if not multiplies_bf16():
        _replace_kernels()


@cache  # the kernels stay replaced as long as the library exists
def _replace_kernels() -> Library:
    library = Library("aten", "IMPL")
    kernels: dict[str, Callable[..., Any]] = {"bmm": _multiply_batches}
    kernels |= {name: partial(_multiply, rounded=rounded) for name, rounded in _PRODUCTS.items()}
    for name, multiply in kernels.items():
        kernel = partial(multiply, get_kernel(f"aten::{name}", "CPU"))
        library.impl(name, kernel, "CPU", with_keyset=True, allow_override=True)
    return library


def _multiply_batches(kernel: Any, keys: DispatchKeySet, left: Tensor, right: Tensor) -> Tensor:
    """Multiply (B, N, M) by (B, M, K): as `_multiply`, some matrices at a time.

    The product of all queries and keys is large. In parts, its float32 values stay in the cache.
    """
    if not _is_bf16(left):
        result: Tensor = kernel.call_boxed(keys, left, right)
        return result
    result = left.new_empty(left.shape[0], left.shape[1], right.shape[2])
    largest = max(left[0].numel(), right[0].numel(), result[0].numel()) if len(left) else 1
    count = max(1, _CACHED // max(1, largest))
    parts = (batch.split(count) for batch in (result, left, right))
    for product, *factors in zip(*parts, strict=True):
        product.copy_(kernel.call_boxed(keys, *map(_widen, factors)))
    return result


def _multiply(
    kernel: Any, keys: DispatchKeySet, *args: Any, rounded: int | None, **options: Any
) -> Any:
    """Call a kernel with float32 instead of bfloat16.

    Args:
        kernel: PyTorch's own.
        keys: of the call.
        *args: of the call, as its options.
        rounded: how many of its results, from the first, become bfloat16; None for all.
        **options: such as the mask of attention.
    """
    if not any(map(_is_bf16, args)):
        return kernel.call_boxed(keys, *args, **options)
    widened = {name: _widen(value) for name, value in options.items()}
    result = kernel.call_boxed(keys, *map(_widen, args), **widened)
    if isinstance(result, Tensor):
        return result.bfloat16()
    count = len(result) if rounded is None else rounded
    return (*map(_round, result[:count]), *result[count:])


def _is_bf16(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bfloat16


def _widen(value: Any) -> Any:
    return value.float() if _is_bf16(value) else value


def _round(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.bfloat16()
