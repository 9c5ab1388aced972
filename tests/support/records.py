"""Synthetic records: what a run would have written, with figures that tests choose."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.record_values import Cost
from bench.report.compare.comparison import make_comparisons
from bench.report.overview import write_report
from bench.report.records.frame import to_frame
from bench.spec import Cell, OptionValue, PromptSource, Recipe, Record, Status, Task

CLASSES = ("matrix", "carbide", "spheroidite")

ENV = {"cpu": "Example CPU", "gpu": None, "threads": 2, "packages": {"torch": "2.8.0"}}


def make_cell(
    method: str = "lora",
    *,
    dataset: str = "steel",
    seed: int = 0,
    fold: int = 0,
    folds: int = 1,
    options: Mapping[str, OptionValue] | None = None,
    backbone: str = "sam_nano",
    weights: str = "pretrained",
    image_size: int = 256,
    protocol: str = "equal",
    labels: int | None = None,
    recipe: Recipe | None = None,
) -> Cell:
    """A cell of three classes."""
    return Cell(
        method,
        dataset,
        Task(len(CLASSES), image_size, backbone, weights),
        recipe or Recipe(lr=1e-3),
        options=options or {},
        protocol=protocol,
        fold=fold,
        folds=folds,
        seed=seed,
        labels=labels,
        dataset_sha="d" * 64,
    )


def make_record(
    cell: Cell | None = None,
    *,
    dice: float = 0.8,
    image_dice: Sequence[float] | None = None,
    groups: Sequence[str] | None = None,
    cost: Cost | None = None,
    prompts: PromptSource = "none",
    env: Mapping[str, Any] | None = None,
    **metrics: float | None,
) -> Record:
    """A run that ended well.

    Args:
        cell: what was asked.
        dice: `dice_dataset`; the other metrics follow from it unless given.
        image_dice: per test image; default: 8 images around `dice`.
        groups: specimen of each image; default: each its own.
        cost: default: `make_cost()`.
        prompts: where prompts came from.
        env: default: `ENV`.
        metrics: further ones, or other values.
    """
    cell = cell or make_cell()
    scores = list(image_dice) if image_dice is not None else _around(dice, cell.seed)
    specimens = groups or [f"specimen_{i}" for i in range(len(scores))]
    return Record(
        cell,
        "ok",
        prompts=prompts,
        classes=CLASSES,
        metrics={**_metrics(dice, scores), **metrics},
        per_image=tuple(
            {"name": f"image_{i}", "group": group, **_image(score)}
            for i, (score, group) in enumerate(zip(scores, specimens, strict=True))
        ),
        history=_history(dice, cell.seed),
        cost=cost or make_cost(),
        env=ENV if env is None else env,
    )


def make_failure(
    cell: Cell | None = None, status: Status = "oom", error: str = "out of memory at step 3"
) -> Record:
    """A run that did not end well."""
    return Record(cell or make_cell(), status, error=error, env=ENV)


def make_cost(trainable: int = 50_000, images_per_s: float = 20.0, peak_mib: float = 200.0) -> Cost:
    """Costs in proportion; the four parts of the memory sum to its peak."""
    weights, peak = 2_250_000 * 4, int(peak_mib * 2**20)
    gradients, optimizer = 4 * trainable, 8 * trainable
    return Cost(
        trainable_params=trainable,
        total_params=2_250_000 + trainable,
        checkpoint_bytes=4 * trainable + 2048,
        forward_flops=1_400_000_000,
        forward_macs_fvcore=690_000_000,
        train_step_flops=8 * 2_800_000_000,
        train_peak_bytes=peak,
        weights_bytes=weights,
        gradients_bytes=gradients,
        optimizer_bytes=optimizer,
        activations_bytes=peak - weights - gradients - optimizer,
        memory_source="tensor accounting",
        train_images_per_s=images_per_s,
        train_images_per_s_iqr=images_per_s / 50,
        infer_images_per_s=3 * images_per_s,
        infer_images_per_s_iqr=images_per_s / 20,
        train_wall_s=2400 / images_per_s,
    )


def _around(dice: float, seed: int, images: int = 8) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, 0.02, images)
    return [float(score) for score in np.clip(dice + noise, 0.0, 1.0)]


def _image(dice: float) -> dict[str, float | None]:
    iou = dice / (2 - dice)
    return {"dice": dice, "iou": iou, "hd95": 60 * (1 - dice), "boundary_iou": 0.8 * iou}


def _metrics(dice: float, scores: Sequence[float]) -> dict[str, float | None]:
    iou = dice / (2 - dice)
    shares = dict(zip(CLASSES, (1.15, 1.0, 0.85), strict=True))
    return {
        "dice_dataset": dice,
        "iou_dataset": iou,
        "dice_image_mean": float(np.mean(scores)) if scores else None,
        "iou_image_mean": iou,
        "iou_dataset_all": iou,
        "pixel_accuracy": (1 + dice) / 2,
        "hd95_pooled_px": 60 * (1 - dice),
        "hd95_max_px": 80 * (1 - dice),
        "boundary_iou": 0.8 * iou,
        **{f"dice/{name}": min(1.0, share * dice) for name, share in shares.items()},
        **{f"iou/{name}": min(1.0, share * iou) for name, share in shares.items()},
    }


def _history(dice: float, seed: int, steps: int = 300) -> tuple[dict[str, float], ...]:
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(10, steps + 1, 10):
        done = 1 - np.exp(-step / 80)
        row = {
            "step": step,
            "epoch": step / 32,
            "loss": float(1.4 - dice * done + rng.normal(0, 0.02)),
        }
        if step % 50 == 0:
            row["val_dice"] = float(np.clip(dice * done + rng.normal(0, 0.01), 0, 1))
        rows.append(row)
    return tuple(rows)


def report_of(records: Iterable[Record], folder: Path) -> list[Path]:
    """Write the report of some records."""
    frame = to_frame(records)
    return write_report(frame, make_comparisons(frame), folder)
