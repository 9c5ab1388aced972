"""Peak memory of training, split into what holds it."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Part = Literal["weights", "gradients", "optimizer", "activations"]
Source = Literal["cuda allocator", "tensor accounting"]

_FOREIGN_LIMIT = 512 * 2**20  # bytes; leaves room for the batch and for cuBLAS' workspaces


@dataclass(frozen=True)
class MemorySplit:
    """Peak memory of a training step and its parts, in bytes; the four parts sum to `peak`.

    Attributes:
        peak: highest number of bytes alive at one moment.
        weights: parameters and buffers of the model, frozen ones included.
        gradients: those of the parameters, as far as they are alive at that moment.
        optimizer: the optimiser's state.
        activations: all else: saved activations, the batch, temporaries.
        source: "cuda allocator" where its peak was read, else "tensor accounting".
    """

    peak: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    source: Source


def measure_memory(
    step: Callable[[], Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device | str,
) -> MemorySplit:
    """Run two training steps and split the peak memory of the second.

    The first step creates the optimiser's state and whatever libraries allocate once. On CUDA the
    peak is the allocator's; weights, gradients and optimiser state are the sizes of their tensors
    at the peak of the tensor accounting, and activations are the rest, with the allocator's
    rounding and the workspaces of kernels. Elsewhere all of it is tensor accounting (see
    `StorageMeter`).

    Never run it inside `FlopCounterMode`, which keeps checkpointed activations alive.

    Args:
        step: one full step: forward, loss, backward, `optimizer.step()`, `zero_grad()`. It is
            called twice and does train the model.
        model: whose parameters and buffers are the weights.
        optimizer: the one that `step` calls.
        device: where the model is; tensors elsewhere do not count.

    Raises:
        RuntimeError: this process holds over 512 MiB on the CUDA device beside the model, its
            gradients and the optimiser's state.
    """
    device = torch.device(device)
    meter = StorageMeter(device)

    def tag(*_: Any) -> None:
        meter.tag([*model.parameters(), *model.buffers()], "weights")
        meter.tag((p.grad for p in model.parameters() if p.grad is not None), "gradients")
        meter.tag(tree_leaves(list(optimizer.state.values())), "optimizer")

    tag()
    if device.type == "cuda":
        _refuse_if_in_use(device, own_bytes=meter.live)
    # All gradients are alive just before the optimiser moves, all of its state just after.
    hooks = optimizer.register_step_pre_hook(tag), optimizer.register_step_post_hook(tag)
    try:
        with meter:
            step()
            meter.restart()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
                torch.cuda.reset_peak_memory_stats(device)
            step()
    finally:
        for hook in hooks:
            hook.remove()
    parts = meter.split()
    if device.type != "cuda":
        return MemorySplit(sum(parts.values()), **parts, source="tensor accounting")
    peak = torch.cuda.max_memory_allocated(device)
    parts["activations"] += peak - sum(parts.values())
    return MemorySplit(peak, **parts, source="cuda allocator")


def _refuse_if_in_use(device: torch.device, own_bytes: int) -> None:
    foreign = torch.cuda.memory_allocated(device) - own_bytes
    if foreign > _FOREIGN_LIMIT:
        raise RuntimeError(
            f"{device} already holds {foreign / 2**20:.0f} MiB of this process beside the model, "
            f"at most {_FOREIGN_LIMIT / 2**20:.0f} MiB are allowed: measure in a fresh process"
        )


@dataclass(eq=False)
class _Block:
    """One live storage. The weak reference tells when it dies."""

    nbytes: int
    part: Part
    alive: "weakref.ref[torch.UntypedStorage]"


class StorageMeter(TorchDispatchMode):
    """Counts the bytes of the tensors alive on one device, and keeps the peak.

    A storage counts once, whatever views share it, from the first operator that returns or reads
    it until it is freed. Scratch space inside a kernel and the allocator's rounding are not seen.
    It works on any device, the meta device included.
    """

    def __init__(self, device: torch.device | str) -> None:
        super().__init__()
        self.live = 0  # bytes
        self.peak = 0  # bytes
        self._device_type = torch.device(device).type
        self._blocks: dict[int, _Block] = {}  # by address, which is free again once a block dies
        self._at_peak: list[_Block] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator; note what it reads, for it may be older than the meter, and returns."""
        kwargs = kwargs or {}
        for leaf in tree_leaves((args, kwargs)):
            self._note(leaf)
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            self._note(leaf)
        self._keep_peak()
        return result

    def tag(self, tensors: Iterable[Any], part: Part) -> None:
        """Count the storages of `tensors` to `part`, also in a peak that is already past."""
        for tensor in tensors:
            block = self._note(tensor)
            if block is not None:
                block.part = part
        self._keep_peak()

    def restart(self) -> None:
        """Forget the peak so far."""
        self.peak, self._at_peak = self.live, list(self._blocks.values())

    def split(self) -> dict[Part, int]:
        """Bytes of each part at the peak."""
        parts: dict[Part, int] = dict.fromkeys(("weights", "gradients", "optimizer"), 0)
        parts["activations"] = 0
        for block in self._at_peak:
            parts[block.part] += block.nbytes
        return parts

    def _note(self, value: Any) -> _Block | None:
        if not isinstance(value, Tensor):
            return None
        storage = value.untyped_storage()
        if storage.device.type != self._device_type:
            return None
        address, nbytes = storage._cdata, storage.nbytes()
        block = self._blocks.get(address)
        if block is not None and block.nbytes == nbytes:
            return block
        # New, or resized: then a new block, so that a peak in the past keeps its sizes.
        self.live += nbytes - (block.nbytes if block else 0)
        block = _Block(
            nbytes,
            block.part if block else "activations",
            weakref.ref(storage, lambda reference: self._free(address, reference)),
        )
        self._blocks[address] = block
        return block

    def _free(self, address: int, reference: "weakref.ref[torch.UntypedStorage]") -> None:
        block = self._blocks.get(address)
        if block is not None and block.alive is reference:
            del self._blocks[address]
            self.live -= block.nbytes

    def _keep_peak(self) -> None:
        if self.live > self.peak:
            self.peak, self._at_peak = self.live, list(self._blocks.values())
