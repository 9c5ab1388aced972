"""Remembered shapes against those that PyTorch's own fake tensors compute."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.cost.predict import fake
from bench.cost.predict.memory import MemoryPrediction, predict_memory
from bench.cost.predict.remember import RememberingFakeMode
from bench.plugins.registry import get_method
from bench.spec import Recipe, Task


def operators(x: Tensor, y: Tensor) -> list[Tensor]:
    """New tensors, views, writes into an input, several results, lists, and changed shapes."""
    results = [x @ y.T, x.half(), x.T, x[1:, ::2], x.unflatten(1, (2, 2)), torch.zeros(3, 2)]
    results += [x.add_(1), *x.split(1), *x.max(dim=1), x.mul(True), x.mul(1.0)]
    results += [torch.cat([x, y]), torch.cat([x, x]), *torch._foreach_add([x, y], 1)]
    torch._foreach_mul_([x, y], 2)
    results += [y.clone().t_(), y.clone().unsqueeze_(0), y.clone().resize_(2, 3)]
    torch.max(x, dim=1, out=(results[0].resize_(0), torch.empty(0, dtype=torch.long)))
    return results


def description(results: list[Tensor]) -> list[tuple[object, ...]]:
    storages = [tensor.untyped_storage()._cdata for tensor in results]
    return [
        (tensor.shape, tensor.stride(), tensor.dtype, tensor.device, storages.index(storage))
        for tensor, storage in zip(results, storages, strict=True)
    ]


def test_the_second_call_gives_what_the_first_gave() -> None:
    described = []
    for mode in (FakeTensorMode(), RememberingFakeMode(), RememberingFakeMode()):
        with mode:
            x, y = torch.empty(3, 4), torch.empty(3, 4)
            described += [description([x, y, *operators(x, y)]) for _ in range(2)]
    assert all(one == described[0] for one in described)


def test_two_views_of_one_tensor_are_not_taken_for_two_tensors() -> None:
    with RememberingFakeMode():
        both = torch.empty(2, 4)
        for x, y in ((both[0], both[1]), (both[0].clone(), both[1].clone())):
            views = [torch.atleast_1d(x, y)[1], torch.broadcast_tensors(x, y)[1]]
            assert all(
                view.untyped_storage()._cdata == y.untyped_storage()._cdata for view in views
            )


def test_values_of_small_constants_are_not_remembered() -> None:
    with RememberingFakeMode():
        assert [torch.tensor(value).item() for value in (1.0, 2.0, 2)] == [1.0, 2.0, 2]


def pytorch_only() -> FakeTensorMode:
    return FakeTensorMode(allow_non_fake_inputs=True)


def both_ways(
    predict: Callable[[], MemoryPrediction], monkeypatch: pytest.MonkeyPatch
) -> list[MemoryPrediction]:
    predicted = [predict(), predict()]
    monkeypatch.setattr(fake, "RememberingFakeMode", pytorch_only)
    return [*predicted, predict()]


def test_predictions_equal_those_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    task, recipe = Task(3, 64, "sam_nano", "random"), Recipe(1e-3, batch_size=2)
    method = get_method("frozen_head")
    first, again, plain = both_ways(lambda: predict_memory(method, {}, task, recipe), monkeypatch)
    assert first == again == plain


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "med_sa", "medsam", "samed", "swin_unetr"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_predictions_of_methods_equal_those_without_memory(
    name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = get_method(name)
    backbone = "none" if method.from_scratch else "sam_vit_b"
    task, recipe = Task(3, 256, backbone, "random"), Recipe(1e-3, batch_size=2)

    def predict() -> MemoryPrediction:
        return predict_memory(method, {}, task, recipe, device=device)

    first, again, plain = both_ways(predict, monkeypatch)
    assert first == again == plain
