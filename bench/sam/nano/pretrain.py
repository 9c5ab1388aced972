"""Train the embedded `sam_nano` as a promptable segmenter: `python -m bench.sam.pretrain`.

SAM's own recipe (Kirillov et al., 2023, https://arxiv.org/abs/2304.02643, appendix A) at small
scale: points and boxes, best of three masks for a single click, an IoU head, and a corrective
click fed back together with the first mask. Departures, since training starts from noise:
20 focal : 1 dice would stay at empty masks, so weighted cross entropy with Dice leads for the first
part; linear layers learn by Muon (Jordan et al., 2024), which reached a box IoU of 0.29 after
500 steps where AdamW stood at 0.02; and most steps are taken on scenes of half the side, objects
no smaller, which cost a quarter, before the positions are resized for the last ones.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.sam.build import NANO_WEIGHTS, build_sam, resize_positions
from bench.sam.decoder import predict_masks
from bench.sam.nano.corpus import make_scene

SIZE = 256
CELL = 2  # px of the image that one value of the decoder's masks covers


@dataclass(frozen=True)
class Plan:
    """The whole recipe; `prompts` counts prompts per image, half of them boxes, half clicks."""

    steps: int = 9000
    small_steps: int = 7000  # the first of them, on scenes of half the side
    images: int = 4
    small_prompts: int = 16
    prompts: int = 8
    lr: float = 2e-3
    warmup: int = 100
    decay_from: float = 0.7  # share of the steps after which the rate falls linearly to zero
    focal_from: float = 0.5  # share of the steps led by weighted cross entropy
    correct_from: float = 0.3  # from here on every fourth step adds a corrective click
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0


class Scenes(Dataset[dict[str, Tensor]]):
    """Scene i and its prompts depend on (seed, i) alone, so that a resumed run sees the same."""

    def __init__(self, seed: int, start: int, stop: int, prompts: int, size: int = SIZE) -> None:
        self.seed, self.start, self.stop = seed, start, stop
        self.prompts, self.size = prompts, size

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, self.start + index))
        image, instances = make_scene(rng, self.size)
        return sample_prompts(rng, image, instances, self.prompts)


def sample_prompts(
    rng: np.random.Generator, image: np.ndarray, instances: np.ndarray, prompts: int
) -> dict[str, Tensor]:
    """Draw objects of one scene with a jittered box and a click inside each.

    Returns:
        image (3, S, S) uint8; targets (P, S/2, S/2) uint8 share of each cell that is object, in
        255ths; boxes (P, 4) x0 y0 x1 y1 and clicks (P, 2) x y in pixels, float32.
    """
    count, size = int(instances.max()), len(instances)
    chosen = rng.permutation(np.resize(rng.permutation(count), prompts)) + 1
    masks = instances[None] == chosen[:, None, None]
    shares = masks.reshape(prompts, size // CELL, CELL, size // CELL, CELL).mean(
        (2, 4), dtype=np.float32
    )
    boxes = np.empty((prompts, 4), np.float32)
    clicks = np.empty((prompts, 2), np.float32)
    for row, mask in enumerate(masks):
        ys, xs = np.nonzero(mask)
        pick = rng.integers(len(ys))
        clicks[row] = xs[pick] + 0.5, ys[pick] + 0.5
        box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
        sides = np.tile(box[2:] - box[:2], 2)
        # SAM: noise of 10 % of the side, at most 20 px at 1024 px, 5 px here.
        boxes[row] = np.clip(box + rng.normal(0, np.minimum(0.1 * sides, 5.0)), 0, size)
    return {
        "image": torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        "targets": torch.from_numpy((shares * 255).astype(np.uint8)),
        "boxes": torch.from_numpy(boxes),
        "clicks": torch.from_numpy(clicks),
    }


def normalise(images: Tensor) -> Tensor:
    """Images (B, 3, S, S) uint8 to SAM's zero mean and unit deviation."""
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    deviation = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    return (images.float() - mean) / deviation


def mask_loss(logits: Tensor, targets: Tensor, focal: bool) -> Tensor:
    """Loss of each mask: logits and soft targets (N, M, h, w) to (N, M)."""
    probability = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    overlap = (probability * targets).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + targets.sum((-2, -1)) + 1)
    if focal:
        wrong = probability * (1 - targets) + (1 - probability) * targets
        alpha = 0.25 * targets + 0.75 * (1 - targets)
        return 20 * (alpha * wrong.square() * cross).mean((-2, -1)) + dice
    return 2 * ((1 + 4 * targets) * cross).mean((-2, -1)) + dice


def soft_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of the thresholded masks with the thresholded targets, (N, M, h, w) to (N, M)."""
    mask, truth = logits > 0, targets > 0.5
    union = (mask | truth).sum((-2, -1))
    return (mask & truth).sum((-2, -1)) / union.clamp(min=1)


def corrective_clicks(
    logits: Tensor, targets: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A click within the error of each mask (N, h, w): positions (N, 1, 2) px, labels (N, 1)."""
    wrong = (logits > 0) != (targets > 0.5)
    weights = wrong.flatten(1).float() + 1e-6
    cell = torch.multinomial(weights, 1, generator=random)[:, 0]
    width = logits.shape[2]
    xy = torch.stack([cell % width, cell // width], dim=1).float() * CELL + CELL / 2
    label = targets.flatten(1).gather(1, cell[:, None]) > 0.5
    return xy[:, None], label.int()


def step_loss(
    sam: Sam, batch: dict[str, Tensor], focal: bool, correct: bool, random: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Loss of one batch, and the mean IoU it reached with boxes and with one click."""
    rows = batch["targets"].shape[0] * batch["targets"].shape[1]
    half = rows // 2
    # Even rows are prompted by their box, odd rows by their click.
    order = torch.cat([torch.arange(0, rows, 2), torch.arange(1, rows, 2)])
    targets = (batch["targets"].flatten(0, 1)[order].float() / 255)[:, None]
    boxes = batch["boxes"].flatten(0, 1)[order[:half]]
    clicks = batch["clicks"].flatten(0, 1)[order[half:]][:, None]
    positive = torch.ones(half, 1, dtype=torch.int)
    positions = sam.prompt_encoder.get_dense_pe()

    def decode(sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            masks, quality = predict_masks(sam.mask_decoder, source, positions, sparse, dense)
        return masks.float(), quality.float()

    with torch.autocast("cpu", torch.bfloat16):
        embeddings = sam.image_encoder(normalise(batch["image"]))
    source = embeddings[order // batch["targets"].shape[1]]
    by_box, no_mask = sam.prompt_encoder(None, boxes, None)
    by_click, _ = sam.prompt_encoder((clicks, positive), None, None)
    logits, quality = decode(torch.cat([by_box, by_click]), no_mask[:1])

    single = mask_loss(logits[:, :1], targets, focal)
    three = mask_loss(logits[half:, 1:], targets[half:].expand(-1, 3, -1, -1), focal)
    best, choice = three.min(1, keepdim=True)
    iou = soft_iou(logits, targets)
    loss = single.mean() + best.mean() + F.mse_loss(quality, iou)
    report = {
        "box_iou": iou[:half, 0].mean().item(),
        "click_iou": iou[half:, 1:].gather(1, choice).mean().item(),
    }
    if correct:
        with torch.no_grad():
            first = logits[:, :1].detach()
            extra, labels = corrective_clicks(first[:, 0], targets[:, 0], random)
        by_box, dense = sam.prompt_encoder((extra[:half], labels[:half]), boxes, first[:half])
        by_click, dense_click = sam.prompt_encoder(
            (torch.cat([clicks, extra[half:]], 1), torch.cat([positive, labels[half:]], 1)),
            None,
            first[half:],
        )
        logits, quality = decode(torch.cat([by_box, by_click]), torch.cat([dense, dense_click]))
        iou = soft_iou(logits, targets)
        loss = loss + mask_loss(logits[:, :1], targets, focal).mean()
        loss = loss + F.mse_loss(quality[:, 0], iou[:, 0])
        report["corrected_iou"] = iou[:, 0].mean().item()
    return loss, report


def learning_rate(plan: Plan, step: int) -> float:
    """Linear rise, again after the change of side; plateau, linear fall to zero."""
    since = step - plan.small_steps if step >= plan.small_steps else step
    rise = min(1.0, (since + 1) / plan.warmup)
    fall = (plan.steps - step) / (plan.steps * (1 - plan.decay_from))
    return plan.lr * min(rise, fall, 1.0)


def make_optimizers(sam: Sam, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the weights of linear layers, AdamW for all else; one learning rate for both."""
    matrices = [layer.weight for layer in sam.modules() if isinstance(layer, torch.nn.Linear)]
    taken = {id(weight) for weight in matrices}
    rest = [parameter for parameter in sam.parameters() if id(parameter) not in taken]
    return [
        torch.optim.Muon(matrices, plan.lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, plan.lr, (0.9, 0.98), weight_decay=0.01),
    ]


def batches(plan: Plan, start: int, stop: int, size: int) -> Iterator[dict[str, Tensor]]:
    """Batches of the steps from `start` to `stop`, made by one worker process."""
    prompts = plan.prompts if size == SIZE else plan.small_prompts
    scenes = Scenes(plan.seed, start * plan.images, stop * plan.images, prompts, size)
    yield from DataLoader(scenes, batch_size=plan.images, num_workers=1, prefetch_factor=8)


def train(plan: Plan, folder: Path) -> tuple[Sam, list[dict[str, float]], list[dict[str, Any]]]:
    """Train from the last checkpoint in `folder`, or from noise.

    Returns:
        The averaged weights, the curve, and the legs: commit and plan from each start on.
    """
    torch.manual_seed(plan.seed)
    torch.set_flush_denormal(True)  # vanishing gradients would slow the CPU down
    checkpoint = folder / "checkpoint.pt"
    state: dict[str, Any] = {"step": 0, "curve": [], "legs": []}
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        print(f"resumed at step {state['step']}", flush=True)
    state["legs"].append(
        {"from_step": state["step"], "commit": head_commit(), "plan": asdict(plan)}
    )
    for size, stop in ((SIZE // 2, plan.small_steps), (SIZE, plan.steps)):
        if state["step"] < stop:
            state = train_side(plan, size, stop, state, checkpoint)
    sam = build_sam("sam_nano", SIZE)
    sam.load_state_dict(state["average"])
    return sam, state["curve"], state["legs"]


def train_side(
    plan: Plan, size: int, stop: int, state: dict[str, Any], checkpoint: Path
) -> dict[str, Any]:
    """Take the steps on scenes of one side, from `state` on; the state after them.

    The averaged weights of another side are taken up with their positions resized.
    """
    sam = build_sam("sam_nano", size)
    average = torch.optim.swa_utils.AveragedModel(
        sam, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(plan.ema)
    )
    optimizers = make_optimizers(sam, plan)
    if state.get("size") == size:
        sam.load_state_dict(state["model"])
        average.module.load_state_dict(state["average"])
        average.n_averaged.fill_(1)
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    elif "size" in state:
        sam.load_state_dict(resize_positions(state["average"], sam))
    step, curve = state["step"], state["curve"]
    began, sums, seen = time.perf_counter(), dict[str, float](), 0
    for batch in batches(plan, step, stop, size):
        rate = learning_rate(plan, step)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        focal = step >= plan.focal_from * plan.steps
        correct = step >= plan.correct_from * plan.steps and step % 4 == 3
        random = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        loss, report = step_loss(sam, batch, focal, correct, random)
        sam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(sam.parameters(), plan.clip)
        for optimizer in optimizers:
            optimizer.step()
        average.update_parameters(sam)
        step, seen = step + 1, seen + 1
        for key in ("box_iou", "click_iou"):
            sums[key] = sums.get(key, 0.0) + report[key]
        if step % 100 == 0 or step == stop:
            speed = seen * plan.images / (time.perf_counter() - began)
            row = {"step": step, "side": size, "lr": rate, "images_per_s": round(speed, 1)}
            curve.append(row | {key: round(value / seen, 4) for key, value in sums.items()})
            print(json.dumps(curve[-1]), flush=True)
            began, sums, seen = time.perf_counter(), {}, 0
        if step % 250 == 0 or step == stop:
            state = {
                "size": size,
                "step": step,
                "model": sam.state_dict(),
                "average": average.module.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "curve": curve,
                "legs": state["legs"],
            }
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
    return state


def head_commit() -> str:
    """The commit that this process runs from; empty outside a checkout."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def describe(
    plan: Plan, curve: list[dict[str, float]], legs: list[dict[str, Any]]
) -> dict[str, Any]:
    """The training record that is shipped beside the weights."""
    return {
        "model": "sam_nano",
        "corpus": "procedural scenes of bench/sam/nano/corpus.py; no photograph was used",
        "legs": legs,
        "images_seen": plan.steps * plan.images,
        "prompts_seen": plan.images
        * (plan.small_steps * plan.small_prompts + (plan.steps - plan.small_steps) * plan.prompts),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads, bf16 autocast",
        "torch": torch.__version__,
        "curve": curve,
    }


def main(arguments: list[str] | None = None) -> int:
    """Train, then write the weights and their record."""
    from safetensors.torch import save_file

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--folder", type=Path, default=Path("results/local/pretrain"))
    parser.add_argument("--weights", type=Path, default=NANO_WEIGHTS, help="file to write")
    asked = parser.parse_args(arguments)
    asked.folder.mkdir(parents=True, exist_ok=True)
    small = asked.steps * Plan.small_steps // Plan.steps
    plan = Plan(steps=asked.steps, small_steps=small, seed=asked.seed)
    sam, curve, legs = train(plan, asked.folder)
    save_file({k: v.contiguous() for k, v in sam.state_dict().items()}, asked.weights)
    asked.weights.with_suffix(".json").write_text(json.dumps(describe(plan, curve, legs), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
