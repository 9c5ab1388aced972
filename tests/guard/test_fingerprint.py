"""Faults planted in methods and losses change fingerprints, and the cause is named."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import Task
from bench.guard.compare import _grouped
from bench.guard.differences import (
    apart,
    loss_differences,
    method_differences,
    prints_differ,
)
from bench.guard.fingerprint import Fingerprint, fingerprint, loss_values
from bench.guard.measure import count
from bench.learn import losses
from bench.plugins.registry import Method, get_method
from bench.sam.lora import LoRALinear, LowRank

Change = Callable[[Any], object]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    """As in the guard, whose fingerprints are equal bit by bit on one thread only."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clean() -> tuple[dict[str, int], Fingerprint]:
    return count("lora"), fingerprint(get_method("lora"))


def with_change(change: Change, method: Method) -> Method:
    def build(task: Task, **options: Any) -> nn.Module:
        model = method.build(task, **options)
        change(model)
        return model

    return replace(method, build=build)


def scale_updates(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, LowRank):
            part.scale *= 2


def exchange_queries_and_values(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, LoRALinear):
            part.of = "vkq"


def skip_last_block(model: Any) -> None:
    model.image_encoder.blocks = model.image_encoder.blocks[:-1]


def normalise_wrongly(model: Any) -> None:
    model.pixel_std = model.pixel_std * 1.02


def freeze_updates(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, LowRank):
            part.requires_grad_(False)


PLANTS: list[tuple[Change, str]] = [
    (scale_updates, "encoder: output of LowRank differs (norm 2 times the baseline's)"),
    (exchange_queries_and_values, "encoder: output of LoRALinear differs (norm"),
    (skip_last_block, "encoder: blocks.* runs 3 times instead of 4 times, forward FLOPs lower by "),
    (normalise_wrongly, "encoder: input of PatchEmbed differs (norm 0.98"),
    (
        freeze_updates,
        "encoder: LowRank is no longer trained, trainable parameters lower by 6,144 in",
    ),
]


@pytest.mark.parametrize(("change", "cause"), PLANTS, ids=[c.__name__ for c, _ in PLANTS])
@pytest.mark.parametrize("exact", [True, False])
def test_a_planted_fault_is_one_line_with_its_cause(
    change: Change,
    cause: str,
    exact: bool,
    clean: tuple[dict[str, int], Fingerprint],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faulty = with_change(change, get_method("lora"))
    monkeypatch.setattr("bench.guard.measure.get_method", lambda name: faulty)
    counts, print_ = count("lora"), fingerprint(faulty)
    differences = method_differences("lora", (clean[0], counts), (clean[1], print_), exact)
    (line,) = [change.text for change in _grouped(differences, "method")]
    assert line.startswith(cause)
    assert line.endswith(" in 1 method: lora")


def test_the_same_code_gives_the_same_bits(clean: tuple[dict[str, int], Fingerprint]) -> None:
    again = fingerprint(get_method("lora"))
    assert again == clean[1]
    assert method_differences("lora", (clean[0],) * 2, (clean[1], again), exact=True) == []


def test_two_threads_stay_within_the_limits(clean: tuple[dict[str, int], Fingerprint]) -> None:
    torch.set_num_threads(2)
    try:
        other = fingerprint(get_method("lora"))
    finally:
        torch.set_num_threads(1)
    assert not prints_differ(clean[1], other, exact=False)


def test_a_dice_loss_without_smoothing_is_named_and_not_every_method(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = loss_values()
    assert loss_differences(before, loss_values(), exact=True) == []
    dice = losses._dice

    def rough(p: Tensor, t: Tensor, dims: tuple[int, ...], *, power: int, smooth: float) -> Tensor:
        return dice(p, t, dims, power=power, smooth=0.0)

    monkeypatch.setattr(losses, "_dice", rough)
    (change,) = _grouped(loss_differences(before, loss_values(), exact=False), "loss function")
    assert change.cause == "loss is not finite where a class is neither labelled nor predicted"
    assert {"dice", "ce_dice", "squared_dice", "binary_dice", "bce_binary_dice"} <= {*change.names}
    assert not {"ce", "focal", "jaccard"} & {*change.names}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.0], [3.0, 4.0 + 2e-4], 2e-4 / 12.5**0.5),
        ([3.0, 4.0], [3.0, 4.0 + 2e-6], 0.0),
        ([0.0], [1e-9], float("inf")),
        ([float("nan")], [float("nan")], 0.0),
        ([1.0], [float("nan")], float("inf")),
        ([1.0], [], float("inf")),
    ],
)
def test_vectors_are_compared_relative_to_their_size(
    old: list[float], new: list[float], expected: float
) -> None:
    assert apart(old, new, 1e-5) == pytest.approx(expected)
