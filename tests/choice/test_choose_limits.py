"""Limits of `choose`: how they are read, and which methods they leave out."""

from dataclasses import replace
from typing import Any

import pytest
from planted_races import planted_cells

import bench
from bench.choice.arms import make_arms
from bench.choice.limits import Limits, apply_limits, parse_count
from bench.errors import UserError
from bench.run.durations import read_seconds


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_memory", 8, "--max-memory is 8: give text, as '8GB'"),
        ("min_speed", "5", "--min-speed is '5': give a number above 0"),
        ("max_time", float("inf"), "--max-time is inf: give a number above 0"),
        ("max_time", float("nan"), "--max-time is nan: give a number above 0"),
        ("max_time", True, "--max-time is True: give a number above 0"),
        ("max_params", 1.5, "--max-params is 1.5: give a whole number"),
        ("max_params", [5], "--max-params is [5]: give a whole number"),
    ],
)
def test_limits_of_a_wrong_type_are_one_sentence(option: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        bench.choose("x", **{option: value})
    assert str(error.value).startswith(message)


def test_times_and_counts() -> None:
    times = [read_seconds(text, "--max-time", "max-time") for text in ("90s", "20min", "1.5h")]
    assert times == [90, 1200, 5400]
    assert [parse_count(text) for text in ("500000", "5M", "0.5M")] == [500000, 5000000, 500000]


def test_limits_leave_methods_out_with_the_reason_and_order_the_rest() -> None:
    cells = planted_cells(["frozen_head", "unet"], runs=1)
    scratch = [
        replace(cell, task=replace(cell.task, backbone="none", weights="random"))
        for cell in cells["unet"]
    ]
    arms = make_arms([*scratch, *cells["frozen_head"]])
    kept, left_out = apply_limits(arms, Limits(scratch=False), images=8, device="cpu")
    assert [(one.name, one.reason) for one in left_out] == [("unet", "it is trained from scratch")]
    assert [arm.name for arm, _ in kept] == ["frozen_head"]
    ordered, _ = apply_limits(arms, Limits(), images=8, device="cpu")
    assert [arm.name for arm, _ in ordered] == ["frozen_head", "unet"]  # fewest operations first
    _, none_fits = apply_limits(arms, Limits(max_params=1000), images=8, device="cpu")
    assert {one.name for one in none_fits} == {"frozen_head", "unet"}
    assert all("M parameters" in one.reason for one in none_fits)


def test_memory_is_predicted_for_the_device_of_the_runs_or_a_named_gpu() -> None:
    size, gpu = Limits(max_memory="8GB"), Limits(max_memory="rtx 4070")
    assert [one.memory_device("cpu") for one in (size, gpu)] == ["cpu", "cuda"]
    assert size.memory_device("cuda:1") == "cuda"
    assert Limits(max_memory="rtx 4070", memory_for="cpu").memory_device("cuda") == "cpu"
    with pytest.raises(UserError, match="--memory-for needs --max-memory"):
        Limits(memory_for="cuda").check()


@pytest.mark.slow
@pytest.mark.parametrize(("device", "title"), [("cuda", "CUDA"), ("cpu", "the CPU")])
def test_a_training_that_does_not_fit_the_memory_is_left_out(device: str, title: str) -> None:
    (cell,) = planted_cells(["full"], runs=1)["full"]
    big = replace(cell, task=replace(cell.task, backbone="sam_vit_b", image_size=1024))
    kept, left_out = apply_limits(make_arms([big]), Limits(max_memory="2GB"), 8, device)
    assert not kept
    assert f"GiB and more (predicted for {title})" in left_out[0].reason
