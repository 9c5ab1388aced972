"""The training of `sam_nano`: schedule, prompts, losses, and runs that are cut off."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.sam.build import build_sam
from bench.sam.decoder import predict_masks
from bench.sam.nano import evaluate
from bench.sam.nano import state as states
from bench.sam.nano.objective import (
    box_masks,
    fast_masks,
    leak_loss,
    mask_loss,
    order_loss,
    step_loss,
)
from bench.sam.nano.plan import Phase, Plan, anneal_plan, learning_rate
from bench.sam.nano.pretrain import Trainer, describe, main, start_anneal, train
from bench.sam.nano.samples import CELL, Batches, draw_prompts, share_prompts
from bench.sam.nano.state import export_state, fresh_state, load_state

TINY = Plan(
    phases=(Phase(64, 0, 4, 4), Phase(128, 4, 6, 4, falls=True)), images=2, correct_from=2, warmup=2
)


def _scene(size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    instances = np.zeros((size, size), np.uint16)
    instances[40:80, 100:180], instances[200:220, 8:20] = 1, 2
    return np.zeros((size, size, 3), np.uint8), instances


def test_the_rate_depends_on_the_absolute_step_alone() -> None:
    plan = Plan(phases=(Phase(128, 0, 1000, 8, 1.0), Phase(256, 1000, 1500, 8, 1.0, falls=True)))
    steps = (0, 99, 500, 999, 1000, 1250, 1499)
    rates = [learning_rate(plan, step) for step in steps]
    assert rates == pytest.approx([0.01, 1, 1, 1, 0.01, 0.5, 1 / 500])
    assert [plan.phase_at(step).side for step in steps] == [128] * 4 + [256] * 3
    assert learning_rate(plan, 500, restart=500) == pytest.approx(0.01)
    assert plan.prompts_until(1100) == 1100 * 8
    with pytest.raises(ValueError, match="from step 0"):
        Plan(phases=(Phase(128, 0, 10, 8), Phase(256, 11, 20, 8)))


def test_a_trial_anneal_leaves_the_steps_before_it_as_they_were() -> None:
    trial = anneal_plan(Plan(), 5000, 800)
    assert [(phase.first, phase.stop) for phase in trial.phases] == [(0, 5000), (5000, 5800)]
    assert trial.phases[-1].falls
    assert learning_rate(trial, 4999) == learning_rate(Plan(), 4999)
    assert anneal_plan(Plan(), Plan().steps - 100, 800).steps == Plan().steps + 700


def test_a_resumed_run_sees_the_same_scenes() -> None:
    whole, rest = Batches(TINY, 0, 4), Batches(TINY, 2, 4)
    for key, value in whole[3].items():
        assert torch.equal(value, rest[1][key])


def test_crowded_scenes_get_more_prompts() -> None:
    assert share_prompts([1, 4, 9, 16], 64, 0.0) == [16, 16, 16, 16]
    assert share_prompts([1, 4, 9, 16], 60, 0.5) == [6, 12, 18, 24]
    assert share_prompts([1, 4, 9, 16], 60, 1.0) == [2, 8, 18, 32]
    assert sum(share_prompts([1, 150, 7], 64, 0.5)) == 64


def test_prompts_lie_on_their_objects() -> None:
    image, instances = _scene()
    plan = replace(Plan(), exact_boxes=0.0)
    batch = draw_prompts(np.random.default_rng(0), [(image, instances)] * 2, 12, plan)
    assert batch["images"].shape == (2, 3, 256, 256)
    numbers = []
    for row, (x, y) in enumerate(batch["clicks"].long()):
        number = int(instances[y, x])
        numbers.append(number)
        share = (instances == number).reshape(128, CELL, 128, CELL).mean((1, 3))
        assert np.array_equal(batch["targets"][row].numpy(), (share * 255).astype(np.uint8))
        rows, columns = np.nonzero(instances == number)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert batch["tight"][row].tolist() == tight
        assert np.allclose(batch["boxes"][row], tight, atol=20)  # four deviations of the jitter
    assert np.bincount(numbers).tolist() == [0, 6, 6]
    assert np.bincount(batch["scene"]).tolist() == [6, 6]


def test_half_of_the_boxes_are_tight_and_half_of_the_clicks_innermost() -> None:
    scenes = [_scene()] * 2
    batch = draw_prompts(np.random.default_rng(0), scenes, 400, Plan())
    exact = (batch["boxes"] == batch["tight"]).all(1).float().mean()
    assert 0.4 < exact < 0.6
    middle = (batch["tight"][:, :2] + batch["tight"][:, 2:]) / 2
    # Of a rectangle the innermost pixels are as far from its long sides.
    central = ((batch["clicks"] - middle).abs() <= 1).any(1).float().mean()
    assert 0.4 < central < 0.7


def test_pixels_weigh_within_the_surroundings_only() -> None:
    near = box_masks(torch.tensor([[8.0, 8.0, 16.0, 16.0]]), 16, 0.5, 4.0)
    assert near[0, 0].nonzero().amin(0).tolist() == [2, 2]
    assert near.sum() == 64  # 16 x 16 px
    target = torch.zeros(1, 1, 16, 16)
    target[..., 4:8, 4:8] = 1
    right, empty = (target * 2 - 1) * 9, torch.full_like(target, -9.0)
    assert mask_loss(right, target, near) < 0.01
    assert mask_loss(empty, target, near) > 0.9
    everywhere = box_masks(torch.zeros(1, 4), 16, None)
    assert everywhere.all()
    assert mask_loss(empty, target, near) > mask_loss(empty, target, everywhere)


def test_foreground_outside_the_box_costs() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., 2:4, 2:4] = 1
    inside = box_masks(torch.tensor([[4.0, 4.0, 8.0, 8.0]]), 8)
    assert torch.equal(inside, target)
    right = (target * 2 - 1) * 99
    assert leak_loss(right, target, inside) < 1e-6
    leaking = right.clone()
    leaking[..., 6:8, 2:4] = 99  # as much outside as inside: 4 of 8 cells, and one for stability
    assert leak_loss(leaking, target, inside) == pytest.approx(4 / 9)
    narrow = torch.zeros_like(inside)  # a box that is off does not forbid what it cuts
    assert leak_loss(right, target, narrow) < 1e-6


def test_judging_the_masks_in_their_order_costs_least() -> None:
    iou = torch.tensor([[0.9, 0.5, 0.1]])
    assert order_loss(iou, iou) < order_loss(iou.roll(1, 1), iou)
    assert order_loss(iou + 0.3, iou) == pytest.approx(float(order_loss(iou, iou)))


def test_boxes_teach_no_quality_of_masks_that_they_do_not_train() -> None:
    torch.manual_seed(0)
    trainer = Trainer(TINY, TINY.phases[0], fresh_state())
    batch = Batches(TINY, 0, 1)[0]
    plan = replace(TINY, order_weight=0.0)
    gradients: list[torch.Tensor] = []
    head = trainer.sam.mask_decoder.iou_prediction_head

    def watch(_module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        output.register_hook(gradients.append)

    head.register_forward_hook(watch)
    step_loss(trainer.sam, batch, plan, False, torch.Generator())[0].backward()
    moved = gradients[0] != 0
    assert not moved[:2, 1:].any()
    assert moved[:2, 0].all()
    assert moved[2:].all()


def test_a_run_that_was_cut_off_goes_on_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "WATCHED_SCENES", 1)
    whole = train(TINY, tmp_path / "whole")
    for until in (1, 3, 5):
        part = train(TINY, tmp_path / "parts", until)
        assert part["step"] == until
    parts = train(TINY, tmp_path / "parts")
    for kind in ("model", "average"):
        for name, tensor in whole[kind].items():
            assert torch.equal(tensor, parts[kind][name]), name
    assert [leg["from_step"] for leg in parts["legs"]] == [0, 1, 3, 5]
    assert describe(TINY, parts)["images_seen"] == 12
    assert parts["curve"][-1]["step"] == 6
    assert 0 <= parts["curve"][-1]["procedural box"] <= 1


def test_the_compact_form_goes_on_where_no_checkpoint_is(tmp_path: Path) -> None:
    folder, compact = tmp_path / "run", tmp_path / "compact"
    with pytest.raises(UserError, match="no checkpoint"):
        export_state(folder, compact)
    done = train(TINY, folder, 2)
    assert main(["--folder", str(folder), "--export", str(compact)]) == 0
    state, origin = load_state(tmp_path / "elsewhere", compact)
    assert origin == str(compact)
    assert (state["step"], state["restart"], state["optimizers"]) == (2, 2, None)
    for name, tensor in done["average"].items():
        torch.testing.assert_close(tensor, state["average"][name], rtol=1e-3, atol=1e-6)
    assert sum(file.stat().st_size for file in compact.iterdir()) < 5_000_000
    assert json.loads((compact / "state.json").read_text())["legs"][0]["from_step"] == 0
    further = train(TINY, tmp_path / "elsewhere", 3, compact)
    assert further["step"] == 3
    # The checkpoint is ahead of the compact form now.
    assert load_state(tmp_path / "elsewhere", compact)[0]["optimizers"] is not None


def test_a_torn_write_leaves_the_checkpoint_whole(tmp_path: Path) -> None:
    train(TINY, tmp_path, 1)
    (tmp_path / "checkpoint.pt.part").write_bytes(b"cut off")
    assert load_state(tmp_path, None)[0]["step"] == 1


def test_steps_are_kept_and_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "WATCHED_SCENES", 1)
    with pytest.raises(UserError, match="no checkpoint is kept"):
        start_anneal(TINY, tmp_path, 2)
    monkeypatch.setattr(states, "KEEP_EVERY", 2)
    train(TINY, tmp_path, 2)
    plan, folder = start_anneal(TINY, tmp_path, 1)
    assert (plan.steps, folder.name) == (3, "step_000002_anneal_1")
    tried = train(plan, folder)
    assert (tried["step"], tried["size"]) == (3, 128)
    assert load_state(tmp_path, None)[0]["step"] == 2


def test_one_run_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "PATIENCE", 0)
    held = states.alone(tmp_path)
    with held, pytest.raises(UserError, match="another run"), states.alone(tmp_path):
        pass


@pytest.mark.parametrize(
    ("chosen", "base"), [("", "home/.local/state"), ("state", "home/.local/state"), ("/s", "/s")]
)
def test_states_are_kept_where_xdg_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, base: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", chosen)
    assert states.default_folder() == tmp_path / base / "sam-adapt-bench" / "sam_nano"


def test_the_fast_decoder_computes_what_sams_does() -> None:
    torch.manual_seed(0)
    sam = build_sam("sam_nano", 64)
    inputs = (torch.randn(3, 96, 8, 8), sam.prompt_encoder.get_dense_pe())
    prompts = (torch.randn(3, 2, 96), torch.randn(1, 96, 8, 8))
    for ours, theirs in zip(
        fast_masks(sam.mask_decoder, *inputs, *prompts),
        predict_masks(sam.mask_decoder, *inputs, *prompts),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
