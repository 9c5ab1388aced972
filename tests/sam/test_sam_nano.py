"""The embedded weights: there, small, told of, and able to segment what they are pointed at."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.sam import load_sam
from bench.sam.build import NANO_WEIGHTS, training_record
from bench.sam.nano.evaluate import held_out, labelled, prompted_iou
from bench.sam.nano.pretrain import CELL, Plan, Scenes, learning_rate, mask_loss, sample_prompts
from bench.spec import Task


def test_the_weights_are_shipped_with_their_record() -> None:
    assert NANO_WEIGHTS.stat().st_size < 12_000_000
    record = training_record()
    curve = record["curve"]
    assert isinstance(curve, list)
    assert curve[-1]["step"] * Plan.images == record["images_seen"]
    assert {"legs", "hardware", "torch", "corpus", "prompts_seen"} <= record.keys()


def test_boxes_and_clicks_find_objects_that_random_weights_do_not() -> None:
    scenes = list(islice(held_out(4), 4))
    torch.manual_seed(0)
    trained = prompted_iou(load_sam(Task(2)).eval(), scenes)
    random = prompted_iou(load_sam(Task(2, weights="random")).eval(), scenes)
    for prompt in ("box", "click"):
        assert trained[prompt].mean() > random[prompt].mean() + 0.2
    assert (trained["oracle click"] >= trained["click"]).all()


@pytest.mark.slow
def test_real_instances_are_found_by_their_box(data_root: Path) -> None:
    sam = load_sam(Task(2)).eval()
    for name in ("dsb2018", "emps"):
        assert prompted_iou(sam, labelled(data_root / name))["box"].mean() > 0.65


def test_a_resumed_run_sees_the_same_scenes() -> None:
    whole, rest = Scenes(0, 0, 6, 4), Scenes(0, 4, 6, 4)
    for key, value in whole[5].items():
        assert torch.equal(value, rest[1][key])


def test_prompts_lie_on_their_objects() -> None:
    instances = np.zeros((256, 256), np.uint16)
    instances[40:80, 100:180], instances[200:220, 8:20] = 1, 2
    image = np.zeros((256, 256, 3), np.uint8)
    sample = sample_prompts(np.random.default_rng(0), image, instances, 6)
    assert sample["image"].shape == (3, 256, 256)
    for target, box, (x, y) in zip(
        sample["targets"], sample["boxes"], sample["clicks"].long(), strict=True
    ):
        number = int(instances[y, x])
        share = (instances == number).reshape(128, CELL, 128, CELL).mean((1, 3))
        assert np.array_equal(target.numpy(), (share * 255).astype(np.uint8))
        rows, columns = np.nonzero(instances == number)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.allclose(box, tight, atol=20)  # four deviations of the jitter


def test_the_rate_rises_stays_and_falls() -> None:
    plan = Plan(steps=1000, lr=1.0, warmup=100, decay_from=0.7)
    rates = [learning_rate(plan, step) for step in (0, 99, 500, 700, 850, 999)]
    assert rates == pytest.approx([0.01, 1, 1, 1, 0.5, 1 / 300])


@pytest.mark.parametrize("focal", [False, True])
def test_a_right_mask_costs_less_than_a_wrong_one(focal: bool) -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., :4] = 1
    right, empty = (target * 2 - 1) * 9, torch.full_like(target, -9.0)
    assert mask_loss(right, target, focal) < 0.01
    assert mask_loss(empty, target, focal) > 0.9
