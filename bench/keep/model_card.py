"""The model card: a Markdown page next to a kept model."""

import json
import shlex
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.data.fit import FITS
from bench.files import write_atomic
from bench.keep.header import MAGNIFIED, ModelHeader, Score
from bench.objects.rules import get_rule
from bench.plugins.registry import get_method
from bench.spec import AUTO, MASK_GRIDS, Recipe, Task
from bench.wording import code_block, counted, plain_markdown

SHOWN_NAMES = 200  # images that the card lists by name
# Metrics that the card shows, of those that the record has, with the factor to per cent.
METRICS = {
    "dice_dataset": "Dice, %",
    "iou_dataset": "IoU, %",
    "pq_dataset": "panoptic quality, %",
    "boundary_iou": "boundary IoU, %",
}


def write_card(path: Path, header: ModelHeader, scores: Sequence[Score] = ()) -> Path:
    """Write the card of a kept model next to it, over an earlier one; return its path.

    Args:
        path: of the model; the card has the suffix .md instead.
        header: of the model.
        scores: of all records with the same settings except seed and fold; empty for those in
            `header.repeats`, which only a final model has.

    Raises:
        UserError: the file cannot be written, or the method is not on this machine.
    """
    return write_atomic(path.with_suffix(".md"), model_card(path, header, scores))


def model_card(path: Path, header: ModelHeader, scores: Sequence[Score] = ()) -> str:
    """The text of the card, in Markdown; arguments as of `write_card`.

    It has the size of the model's file if that exists.

    Raises:
        UserError: the method is not on this machine.
    """
    cell = header.cell
    parts = {
        f"{cell.full_label} for {cell.dataset_name}": list(_what(header)),
        "Data": list(_data(header)),
        "Recipe": list(_recipe(header)),
        "Scores": list(_scores(header, scores or header.repeats)),
        "Costs": list(_costs(path, header)),
        "Limits": list(_limits(header)),
    }
    sections = []
    for number, (title, lines) in enumerate(parts.items()):
        body = "\n".join(f"- {plain_markdown(line)}" for line in lines)
        sections.append(f"{'##' if number else '#'} {plain_markdown(title)}\n\n{body}\n")
    return "\n".join([*sections, _loading(path, header)])


def spread(scores: Sequence[Score]) -> str:
    """Mean and standard deviation of the Dice of some records, as in "92.2 ± 0.9 % (3 runs)".

    Only records with a Dice count: one has no deviation, and without any it is "not defined".
    """
    values = [100 * score.dice for score in scores if score.dice is not None]
    if not values:
        return "not defined"
    runs = counted(len(values), "run")
    if len(values) == 1:
        return f"{values[0]:.1f} % ({runs}, so its spread is unknown)"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} % ({runs})"


def _what(header: ModelHeader) -> Iterator[str]:
    cell, task = header.cell, header.cell.task
    method = get_method(cell.method)
    yield f"Method: `{cell.label}` ({method.summary} Paper: <{method.paper}>)"
    yield f"Classes: {', '.join(header.classes)} (index 0 to {task.num_classes - 1})"
    weights = f", SHA-256 `{cell.weights_sha}`" if cell.weights_sha else ""
    yield f"Backbone: {task.backbone}, weights {task.weights}{weights}"
    stack = f", {task.depth} slices at once" if task.depth > 1 else ""
    channels = f"; channels {task.channels}" if task.channels else ""
    crop = f"; trained on images cropped by {task.crop}" if task.crop else ""
    size = f"{task.image_size} x {task.image_size} px"
    size += "" if task.fit == Task.fit else f" (fit {task.fit}: {FITS[task.fit]})"
    yield f"Input: {size}{stack}{channels}{crop}; prompts: {header.prompts}"
    if task.mask_grid != Task.mask_grid:
        yield f"Grid of masks: {task.mask_grid} ({MASK_GRIDS[task.mask_grid]})"
    kind = "final model of the command `train`" if header.final else "model of one cell"
    yield f"This file: {kind} `{cell.id}`, made by sam-adapt-bench {header.version}"


def _data(header: ModelHeader) -> Iterator[str]:
    traits = header.images
    yield f"Dataset: {header.cell.dataset_name}, fingerprint `{header.cell.dataset_sha}`"
    for name, text in header.origin.items():
        if text:
            yield f"{name.capitalize()}: {text}"
    for part, names in header.trained_on.items():
        more = ", and more" if len(names) > SHOWN_NAMES else ""
        listed = ", ".join(names[:SHOWN_NAMES])
        yield f"Trained on {counted(len(names), 'image')} of the {part} part: {listed}{more}"
    colours, types = " and ".join(traits.colours), " and ".join(traits.types)
    yield f"Images: {colours}, {types}, {traits.width} x {traits.height} px (median)"
    yield f"Intensities: {header.scaling}"


def _recipe(header: ModelHeader) -> Iterator[str]:
    recipe = header.cell.recipe
    yield f"Protocol: {header.cell.protocol}, seed {header.cell.seed}"
    yield f"{counted(recipe.steps, 'step')} of {counted(recipe.batch_size, 'image')}, {recipe.loss}"
    yield f"{recipe.optimizer}, learning rate {recipe.lr:g} ({recipe.schedule}), {recipe.precision}"
    zoom = ""
    if recipe.zoom != Recipe.zoom:
        why = "; chosen on validation images" if recipe.zoom == AUTO else ""
        zoom = f" of images enlarged {counted(header.zoom, 'time')}{why}"
    yield f"Augmentation: {recipe.augmentation}; evaluation: {recipe.evaluation}{zoom}"
    if recipe.proposer:
        yield f"Objects to prompt at evaluation: found by {recipe.proposer}, another model"
    if recipe.objects != Recipe.objects:
        yield f"Objects: {recipe.objects} ({get_rule(recipe.objects).text})"


def _scores(header: ModelHeader, scores: Sequence[Score]) -> Iterator[str]:
    if header.final:
        yield "**This very model was tested on nothing.**"
        if not scores:
            yield "No run with the same settings was found: run the comparison to learn its Dice"
            return
        yield f"The same settings, trained on the train part, have a test Dice of {spread(scores)}"
        return
    for name, words in METRICS.items():
        value = header.metrics.get(name)
        if value is not None:
            yield f"{words}, on the test part: {100 * value:.1f}"
    if scores:
        yield f"Test Dice of all runs with these settings: {spread(scores)}"
    if header.validation_dice is not None:
        yield f"Dice on the validation part: {100 * header.validation_dice:.1f} %"
    yield "Definitions: docs/protocol/metrics.md of the project"


def _costs(path: Path, header: ModelHeader) -> Iterator[str]:
    cost = header.cost
    if path.exists():
        yield f"This file: {path.stat().st_size / 2**20:.2f} MiB, without the backbone's weights"
    trainable, total = cost.get("trainable_params"), cost.get("total_params")
    if trainable is not None and total is not None:
        yield f"Parameters: {trainable:,} trained of {total:,}"
    for name, words, scale in (
        ("forward_flops", "GFLOP per image", 1e9),
        ("train_peak_bytes", "GiB of memory in training", 2**30),
        ("infer_images_per_s", "images per second", 1.0),
    ):
        if cost.get(name) is not None:
            yield f"{cost[name] / scale:.3g} {words}"
    machine = header.env.get("gpu") or header.env.get("cpu")
    if machine:
        yield f"Trained on: {machine}"


def _limits(header: ModelHeader) -> Iterator[str]:
    traits = header.images
    yield (
        f"It knows {' and '.join(traits.colours)} images with values of type"
        f" {' and '.join(traits.types)}; others are refused unless `--levels` or"
        " `--allow-other-images` is given"
    )
    task, evaluation = header.cell.task, header.cell.recipe.evaluation
    if header.prompts == "oracle" or task.depth > 1:
        yield "Images are predicted whole, whatever their size: cut large ones"
    elif evaluation == "whole":
        yield (
            f"Images with a side above {MAGNIFIED * traits.longest:.0f} px are predicted in"
            " windows, so that things keep the size that they had in training"
        )
    if task.fit == "square":
        yield "Images are resized to a square, so their aspect is not kept; SAM itself keeps it"
    if header.prompts == "oracle":
        yield (
            "It needs boxes or points. Its scores used prompts made from the truth; prompts that a"
            " person draws give other results"
        )
    yield "Other instruments, stains or magnifications were not tested"
    if header.cell.leaks:
        yield "Images of different parts overlap (`--allow-leakage`): its scores are too high"


def _loading(path: Path, header: ModelHeader) -> str:
    weights = header.cell.task.weights
    words = ["predict", "--model", path.name, "IMAGES", "--out", "predictions"]
    if weights not in ("pretrained", "random"):
        words += ["--checkpoint", weights]
    if header.prompts == "oracle":
        words += ["--prompts", "boxes.csv"]
    # Of names with line breaks, quotes or backticks, too, both blocks can be run as they are.
    code = f"""import bench

model = bench.load_model({json.dumps(path.name, ensure_ascii=False)})
segmentation = model.predict("image.png")"""
    command = code_block(f"run_bench.py {shlex.join(words)}")
    return f"## How to load it\n\n{command}\n\n{code_block(code, 'python')}\n"
