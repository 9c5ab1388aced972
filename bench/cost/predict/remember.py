"""Fake tensors, faster: the shapes of an operator's results are computed once for equal inputs.

The blocks of an encoder repeat the same operators on the same shapes. PyTorch remembers them, too,
but finding an entry in its memory takes most of the time of a prediction. Here, keys are tuples.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

_CPU = torch.device("cpu")
_PLAIN = {type(None), bool, int, float, str}
_PLAIN |= {torch.dtype, torch.device, torch.layout, torch.memory_format}


class _UnknownError(Exception):
    """The results of an operator do not follow from the shapes of its inputs."""


class _Output(NamedTuple):
    """How to make a result from the tensors among the inputs, which are numbered in their order."""

    is_input: int | None  # the result is this input, as for operators that write into it
    storage_of: int | None  # the result shares the storage of this input; None for a new storage
    size: torch.Size
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype


class _Inputs:
    """The tensors among the inputs of an operator, in their order, and who owns each storage."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.owners: dict[int, int] = {}  # address of a storage to its first tensor's number

    def key(self, value: Any) -> Any:
        """What the shapes of the results depend on; `value` is an argument, or contains them."""
        kind = type(value)
        if kind in _PLAIN:
            return kind, value
        if kind is tuple or kind is list:
            return tuple(self.key(part) for part in value)
        if not issubclass(kind, FakeTensor) or value.constant is not None:
            raise _UnknownError
        owner = self.owners.setdefault(value.untyped_storage()._cdata, len(self.tensors))
        self.tensors.append(value)
        return value.dtype, value.shape, value.stride(), value.storage_offset(), owner

    def output(self, result: Any) -> _Output:
        """How `result` is made from these inputs."""
        if not isinstance(result, FakeTensor) or result.constant is not None:
            raise _UnknownError
        numbers = (number for number, tensor in enumerate(self.tensors) if tensor is result)
        owner = self.owners.get(result.untyped_storage()._cdata)
        size, stride, offset = result.shape, result.stride(), int(result.storage_offset())
        return _Output(next(numbers, None), owner, size, stride, offset, result.dtype)


_Recipe = _Output | list[_Output | None] | Literal["nothing", "run again"]
_recipes: dict[Any, _Recipe] = {}  # for all models, since the encoders of most methods are alike


class RememberingFakeMode(FakeTensorMode):
    """A mode for fake tensors on the CPU that makes results as an earlier, equal call did.

    The first call of an operator is run as by `FakeTensorMode`, and so is each call whose result
    depends on values, or which changes the shape of an input.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.cache_enabled = False  # that of the base class
        empty = FakeTensor(self, torch.empty(0, device="meta"), _CPU)
        self._attributes = dict(vars(empty))

    def dispatch(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the result of the operator `func`."""
        kwargs, inputs = kwargs or {}, _Inputs()
        try:
            key = (func, inputs.key(args), inputs.key(tuple(kwargs.items())))
        except _UnknownError:
            return super().dispatch(func, types, args, kwargs)
        recipe = _recipes.get(key)
        if recipe is None or recipe == "run again":
            result = super().dispatch(func, types, args, kwargs)
            if recipe is None:
                _recipes[key] = _recipe(func, result, inputs)
            return result
        if recipe == "nothing":
            return None
        with torch._C._DisableTorchDispatch():
            if isinstance(recipe, _Output):
                return self._make(recipe, inputs.tensors)
            return [part and self._make(part, inputs.tensors) for part in recipe]

    def _make(self, output: _Output, tensors: list[Tensor]) -> Tensor:
        if output.is_input is not None:
            return tensors[output.is_input]
        size, stride, dtype = output.size, output.stride, output.dtype
        if output.storage_of is None:
            plain = torch.empty_strided(size, stride, dtype=dtype, device="meta")
        else:
            storage = tensors[output.storage_of].untyped_storage()
            plain = torch.empty(0, dtype=dtype, device="meta")
            plain.set_(storage, output.offset, size, stride)
        # As `FakeTensor(...)`, which takes three times as long to set the same attributes.
        fake = Tensor._make_subclass(
            FakeTensor, plain, dispatch_device=True, device_for_backend_keys=_CPU
        )
        vars(fake).update(self._attributes)
        return fake


def _recipe(func: Any, result: Any, inputs: _Inputs) -> _Recipe:
    resizes = any(argument.is_out for argument in func._schema.arguments)
    if resizes or torch.Tag.inplace_view in func.tags:
        return "run again"
    if result is None:
        return "nothing"
    try:
        if isinstance(result, tuple | list):
            return [part if part is None else inputs.output(part) for part in result]
        return inputs.output(result)
    except _UnknownError:
        return "run again"
