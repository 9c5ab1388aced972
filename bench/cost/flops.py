"""Operations of a forward pass and of a training step.

There are two counters. Torch's counter sees the operators that run, those of the backward pass
included. It gives FLOPs: 2 x multiply-adds of matrix products, convolutions and scaled dot product
attention; normalisation and elementwise operations count as 0. fvcore reads a traced forward pass
and gives multiply-adds, with estimates for a few other operators (`count_macs_fvcore`).
"""

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as symbolic
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, flop_registry

_log = logging.getLogger(__name__)


def on_meta(model: nn.Module) -> nn.Module:
    """Return a copy of `model` on the meta device, where tensors have shapes but no values.

    No weight is copied in between. Only parameters and buffers change their device; tensors in
    other places (a list, a plain attribute) do not.
    """
    moved: dict[int, Any] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)
        for p in model.parameters()
    }
    moved |= {id(buffer): torch.empty_like(buffer, device="meta") for buffer in model.buffers()}
    return copy.deepcopy(model, memo=moved)


def count_flops(call: Callable[[], Any]) -> int:
    """Count the FLOPs (2 x multiply-adds) of a call: a forward pass, or a training step.

    Gradients are enabled during the call, because without them torch's counter fails on modules
    whose output is a view of a trainable parameter, as in SAM's prompt encoder. Use a model from
    `on_meta` and inputs on the meta device, so that nothing is computed; there, the backward pass
    of attention counts 2 x its forward pass, while with a flash kernel, which recomputes the
    logits, it counts 2.5 x. Gradients that no trainable parameter needs are not computed and
    therefore not counted. Operations that activation checkpointing computes twice count twice. The
    operations of the optimiser are elementwise and count as 0.

    Args:
        call: runs the model once, with loss and backward pass for a training step; its result is
            not used. On the meta device it must not read a value (`loss.item()`), because tensors
            there have none.
    """
    return int(_run_counted(call).get_total_flops())


def count_flops_of_parts(forward: Callable[[], Any], module: nn.Module) -> dict[str, int]:
    """FLOPs (2 x multiply-adds) of one call of `forward` in each part of `module`.

    Args:
        forward: calls `module`; as in `count_flops`.
        module: its direct children are the parts.

    Returns:
        Names of children to their FLOPs, and "" to those outside all children; their sum is
        `count_flops(forward)`. Names without FLOPs are left out.
    """
    counter = _run_counted(forward)
    root = type(module).__name__
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    parts: dict[str, int] = {}
    for name in sorted(flops):  # a module comes before what is inside it
        outer = name.rpartition(".")[0]
        while outer not in ("", root) and outer not in flops:
            outer = outer.rpartition(".")[0]
        if outer == root:
            part = name.removeprefix(f"{root}.").partition(".")[0]
            parts[part] = parts.get(part, 0) + flops[name]
    rest = int(counter.get_total_flops()) - sum(parts.values())
    return {name: count for name, count in {**parts, "": rest}.items() if count}


def flops_of_operator(
    operator: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
) -> int:
    """FLOPs (2 x multiply-adds) of one call of an operator, as the counts of this module add them.

    Args:
        operator: as a dispatch mode receives it.
        arguments: of the call.
        keywords: of the call.
        result: what the call returned.

    Returns:
        The FLOPs; 0 for operators other than matrix products, convolutions and attention.
    """
    if operator is torch.ops.aten.convolution_backward.default:
        shapes = [list(value.shape) for value in arguments[:3]]
        return _convolution_backward(*shapes, *arguments[3:])
    formula = flop_registry.get(operator.overloadpacket)
    return 0 if formula is None else int(formula(*arguments, **keywords, out_val=result))


def count_macs_fvcore(model: nn.Module, images: Tensor, *others: Any) -> int | None:
    """Count the multiply-adds of `model(images, *others)` with fvcore, as a second opinion.

    Twice this number differs from `count_flops` by fvcore's estimates for other operators:
    5 per element of a layer, group or instance norm (4 without scale and shift), 2 per element of a
    BatchNorm, 4 per output element of bilinear resizing, 1 per output element of nearest resizing,
    1 per input element of adaptive average pooling. Operations that do not influence the output
    (such as SAM's IoU head if only masks are returned) are not in a trace and not counted. The
    model is traced in evaluation mode; its training flags are restored.

    Args:
        model: on the CPU; SAM's image encoder cannot be traced on the meta device.
        images: (B, 3, S, S) float in [0, 1].
        others: further arguments of any type, such as prompts; they are constants of the trace.

    Returns:
        The number of multiply-adds of the whole batch; None if the trace ends with a RuntimeError
        (which is logged). Other errors are passed on.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with warnings.catch_warnings(), _plain_attention(), torch.no_grad():
            warnings.simplefilter("ignore")  # fvcore and the tracer warn of their deprecation
            return _fvcore_total(_WithConstants(model, others), images)
    except RuntimeError as error:  # raised by torch's tracer
        _log.warning("fvcore counts nothing: the model cannot be traced (%s)", error)
        return None
    finally:
        for module, training in modes.items():
            module.training = training


class _WithConstants(nn.Module):
    """A model with all arguments but the images fixed, since a trace takes only tensors."""

    def __init__(self, model: nn.Module, others: tuple[Any, ...]) -> None:
        super().__init__()
        self.model = model
        self.others = others

    def forward(self, images: Tensor) -> Any:
        return self.model(images, *self.others)


def _fvcore_total(model: nn.Module, images: Tensor) -> int:
    from fvcore.nn import FlopCountAnalysis  # here, because its import warns
    from fvcore.nn.jit_handles import conv_flop_count, get_shape

    def attention(inputs: list[Any], outputs: list[Any]) -> int:
        *batch, queries, width = get_shape(inputs[0])  # (..., N, d)
        keys, values_width = get_shape(inputs[1])[-2], get_shape(inputs[2])[-1]
        return math.prod(batch) * queries * keys * (width + values_width)

    def same_padding(inputs: list[Any], outputs: list[Any]) -> int:
        return int(conv_flop_count(*(get_shape(value) for value in (*inputs[:2], outputs[0]))))

    analysis = FlopCountAnalysis(model, images)
    # Without these two handles, fvcore ignores attention and padding="same" without a warning.
    analysis.set_op_handle("aten::scaled_dot_product_attention", attention)
    analysis.set_op_handle("aten::_convolution_mode", same_padding)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return int(analysis.total())


def _run_counted(call: Callable[[], Any]) -> FlopCounterMode:
    # On the meta device, a selection by a boolean mask (SAM's point prompts) has no known shape.
    # The count assumes that all elements are selected. This changes no number, because only
    # elementwise operations, which count as 0, use such selections.
    patch = symbolic.patch  # type: ignore[attr-defined]  # torch adds it when it is imported
    everything_selected = patch(meta_nonzero_assume_all_nonzero=True)
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    with everything_selected, _plain_attention(), torch.enable_grad(), counter:
        call()
    return counter


def _convolution_backward(
    out: list[int], x: list[int], weight: list[int], *others: Any, out_shape: Any = None
) -> int:
    """FLOPs of the backward pass: those of the forward pass for each requested gradient.

    Torch's own formula counts the weight gradient of grouped convolutions once for every group.

    Args:
        out: shape of the output's gradient.
        x: shape of the input.
        weight: shape of the weight.
        others: further arguments of the operator: bias, stride, padding, dilation, transposed,
            output padding, groups, and which gradients are requested (input, weight, bias).
        out_shape: shape of the operator's result; not needed.
    """
    transposed, requested = others[4], others[7]
    return sum(requested[:2]) * int(conv_flop_count(x, weight, out, transposed))


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Disable the fused inference kernel of `nn.MultiheadAttention`, which no counter supports."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
