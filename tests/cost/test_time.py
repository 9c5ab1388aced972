"""The work of a cell and the time that it takes, by hand and against other counts."""

import pytest
import torch
from torch import nn

from bench.cost.count import cost_card
from bench.cost.predict.time import Speed, cell_hours, seconds_of
from bench.cost.predict.work import CellWork, Work, WorkMeter, predict_work
from bench.plugins.registry import get_method
from bench.spec import Recipe, Task

NANO = Task(3, 64, "sam_nano", "random")
FP32 = Recipe(1e-3, batch_size=2, precision="fp32")


def test_a_product_and_a_view_by_hand() -> None:
    with WorkMeter() as meter:
        torch.ones(2, 3).T.relu() @ torch.ones(2, 5)
    # ones (2 x 3), relu (read and write), ones (2 x 5), product (3 x 2, 2 x 5 and 3 x 5)
    assert meter.work == Work(2 * 3 * 2 * 5, 4 * (6 + 12 + 10 + 6 + 10 + 15), 4)


def test_operations_of_a_step_equal_those_of_the_cost_card() -> None:
    method, task = get_method("unet"), Task(3, 32, "none", "random")
    work = predict_work(method, {}, task, FP32)
    counts = cost_card(method, {}, task, batch=2).counts
    assert work.step.flops == counts.train_step_flops
    assert work.forward.flops == counts.forward_flops
    assert work.frozen == Work()


def test_frozen_stages_count_once_for_each_view_if_they_are_kept() -> None:
    method = get_method("frozen_head")
    kept, again = (predict_work(method, {}, NANO, FP32, views=views) for views in (10, 10**9))
    assert again.frozen == Work()
    assert again.step.flops == kept.step.flops + 2 * kept.frozen.flops  # a batch of two
    assert kept.frozen.flops > kept.step.flops


def test_checkpointing_computes_the_blocks_again() -> None:
    method = get_method("bias_only")
    recipes = (FP32, Recipe(1e-3, batch_size=2, precision="fp32", checkpointing=True))
    plain, again = (predict_work(method, {}, NANO, recipe).step.flops for recipe in recipes)
    blocks = sum(
        2 * parameter.numel() * 64 * 2  # a multiply-add for each of 8 x 8 tokens of two images
        for name, module in method.build(NANO).named_modules()
        if ".blocks." in f".{name}." and isinstance(module, nn.Linear)
        for parameter in [module.weight]
    )
    # Nothing needs the output of the last layer, a third of the weights; attention is added.
    assert 2 / 3 * blocks < again - plain < blocks


def test_seconds_and_hours_by_hand() -> None:
    speed = Speed(1e12, 1e10, 2.0, 1e-5)
    step, frozen, forward = Work(4e12, 2e10, 1e5), Work(1e12, 0, 0), Work(0, 1e10, 0)
    assert seconds_of(step, speed) == pytest.approx(4 + 2 + 1)
    hours = cell_hours(
        CellWork(step, frozen, forward), speed, steps=10, views=5, evaluated=3, side=1000
    )
    assert hours.likely * 3600 == pytest.approx(10 * 7 + 5 * 1 + 3 * 1 + 5 * 0.03)
    assert (hours.low, hours.high) == pytest.approx((hours.likely / 2, hours.likely * 2))


def test_the_benchmark_recovers_the_constants_of_a_device() -> None:
    from time_error import factor, fit

    work = [Work(1e9, 2e8, 100), Work(5e9, 1e8, 300), Work(2e9, 9e8, 50), Work(1e8, 1e8, 900)]
    speed = fit(work, [seconds_of(one, Speed(1e11, 2e10, 1.0, 4e-5)) for one in work])
    assert (speed.flops, speed.bandwidth) == pytest.approx((1e11, 2e10))
    assert speed.operator_s == pytest.approx(4e-5)
    assert factor(2.0, 1.0) == factor(1.0, 2.0) == 2
