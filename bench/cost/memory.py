"""Peak memory of training, split into weights, gradients, optimiser state and activations."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Part = Literal["weights", "gradients", "optimizer", "activations"]
Source = Literal["cuda allocator", "tensor accounting"]

_FOREIGN_LIMIT = 512 * 2**20  # bytes; enough for the batch and for cuBLAS' workspaces


@dataclass(frozen=True)
class MemorySplit:
    """Peak memory of a training step and its parts, in bytes; the four parts sum to `peak`.

    Attributes:
        peak: highest number of bytes that are allocated at one moment of the step.
        weights: parameters and buffers of the model, frozen ones included.
        gradients: gradients of the parameters that exist at the peak.
        optimizer: state of the optimiser.
        activations: everything else: saved activations, the batch, temporary tensors.
        source: "cuda allocator" if the peak is the allocator's, otherwise "tensor accounting".
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
    *,
    prepare: Callable[[], Any] | None = None,
    rounding: int = 1,
) -> MemorySplit:
    """Run two training steps and split the peak memory of the second.

    The first step creates the optimiser's state and the memory that libraries allocate only once.
    On CUDA, the peak is that of the allocator. Weights, gradients and optimiser state are the sizes
    of their tensors at the peak of the tensor accounting; activations are the rest, including the
    allocator's rounding and the workspaces of kernels. On other devices, all values come from
    tensor accounting (see `StorageMeter`).

    Never call it inside `FlopCounterMode`, which keeps checkpointed activations alive.

    Args:
        step: one full step: forward, loss, backward, `optimizer.step()`, `zero_grad()`. It trains
            the model, and is called twice, or once after `prepare`.
        model: its parameters and buffers are the weights.
        optimizer: the optimiser that `step` calls.
        device: device of the model; tensors on other types of device do not count.
        prepare: called instead of the first step; must create the optimiser's state.
        rounding: sizes of storages are rounded up to a multiple of this, in bytes; on CUDA the peak
            is as the allocator rounds.

    Raises:
        RuntimeError: in addition to the model, its gradients and the optimiser's state, this
            process holds more than 512 MiB on the CUDA device.
    """
    device = torch.device(device)
    meter = StorageMeter(device, rounding)

    def tag(*_: Any) -> None:
        meter.tag([*model.parameters(), *model.buffers()], "weights")
        meter.tag((p.grad for p in model.parameters() if p.grad is not None), "gradients")
        meter.tag(tree_leaves(list(optimizer.state.values())), "optimizer")

    tag()
    if device.type == "cuda":
        _refuse_if_in_use(device, own_bytes=meter.live)
    # All gradients exist just before the optimiser's step, all of its state just after it.
    hooks = optimizer.register_step_pre_hook(tag), optimizer.register_step_post_hook(tag)
    try:
        with meter:
            (prepare or step)()
            tag()
            _restart(meter, device)
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


def _restart(meter: "StorageMeter", device: torch.device) -> None:
    meter.restart()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)


def _refuse_if_in_use(device: torch.device, own_bytes: int) -> None:
    foreign = torch.cuda.memory_allocated(device) - own_bytes
    if foreign > _FOREIGN_LIMIT:
        raise RuntimeError(
            f"this process holds {foreign / 2**20:.0f} MiB on {device} in addition to the model; "
            f"at most {_FOREIGN_LIMIT / 2**20:.0f} MiB are allowed: measure in a new process"
        )


def _device_of(tensor: Tensor) -> torch.device:
    if isinstance(tensor, FakeTensor) and not tensor.fake_mode.in_kernel_invocation:
        return tensor.fake_device
    return tensor.device


@dataclass(eq=False)
class _Block:
    """One storage that is not yet freed. The weak reference reports when it is freed."""

    nbytes: int
    part: Part
    alive: "weakref.ref[torch.UntypedStorage]"


class StorageMeter(TorchDispatchMode):
    """Counts the bytes of all tensors on one device, and stores the peak.

    A storage counts once, even if several views share it, from the first operator that returns or
    reads it until it is freed. Temporary memory inside a kernel and the allocator's rounding are
    not counted. It counts inside a `with` block, on any device, including the meta device.

    Args:
        device: tensors on other types of device do not count.
        rounding: the size of each storage is rounded up to a multiple of this number of bytes.

    Attributes:
        live: bytes now.
        peak: highest value of `live` since the start or the last `restart`.
    """

    def __init__(self, device: torch.device | str, rounding: int = 1) -> None:
        super().__init__()
        self._rounding = rounding
        self.live = 0  # bytes
        self.peak = 0  # bytes
        self._device_type = torch.device(device).type
        self._blocks: dict[int, _Block] = {}  # by address, which is reused after a block is freed
        self._at_peak: list[_Block] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operator; register its results, and its inputs, which may be older than this."""
        if func is torch.ops.prim.device.default:  # two of three calls of fake tensors; no memory
            return _device_of(args[0])
        kwargs = kwargs or {}
        self._note_all(args)
        self._note_all(kwargs)
        result = func(*args, **kwargs)
        self._note_all(result)
        self._keep_peak()
        return result

    def tag(self, tensors: Iterable[Any], part: Part) -> None:
        """Assign the storages of `tensors` to `part`, also in a peak that is already recorded.

        Storages that no operator has used yet are counted from now on. Values that are no tensors
        on this type of device are passed over.
        """
        for tensor in tensors:
            block = self._note(tensor)
            if block is not None:
                block.part = part
        self._keep_peak()

    def restart(self) -> None:
        """Forget the peak so far; the new one starts at the bytes that are alive now."""
        self.peak, self._at_peak = self.live, list(self._blocks.values())

    def split(self) -> dict[Part, int]:
        """Bytes of each of the four parts at the peak; "activations" are all that has no tag."""
        parts: dict[Part, int] = dict.fromkeys(("weights", "gradients", "optimizer"), 0)
        parts["activations"] = 0
        for block in self._at_peak:
            parts[block.part] += block.nbytes
        return parts

    def _note_all(self, values: Any) -> None:
        if isinstance(values, Tensor):
            self._note(values)
        elif isinstance(values, tuple | list):
            for value in values:
                self._note_all(value)
        elif isinstance(values, dict):
            for value in values.values():
                self._note_all(value)

    def _note(self, value: Any) -> _Block | None:
        if not isinstance(value, Tensor):
            return None
        storage = value.untyped_storage()
        address, nbytes = storage._cdata, storage.nbytes()
        nbytes += -nbytes % self._rounding
        block = self._blocks.get(address)
        if block is not None and block.nbytes == nbytes:
            return block
        if value.device.type != self._device_type:  # the storage of a fake tensor is on meta
            return None
        # A new storage, or a resized one: it gets a new block, so that the recorded peak keeps the
        # old size.
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
