"""Measure what the model of a cell costs with its recipe; definitions: docs/protocol/costs.md."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch

from bench.cost.count import count_model
from bench.cost.flops import count_macs_fvcore, on_meta
from bench.cost.memory import MemorySplit, measure_memory
from bench.cost.throughput import Throughput, measure_throughput
from bench.learn.frozen import run_frozen_stages
from bench.learn.images import LabelledImages
from bench.learn.loop import make_optimizer, train_step
from bench.learn.model import Model, ModelInput
from bench.record_values import Cost

# A measurement takes 1 to 3 s on a quiet machine, and up to 5 s on a busy one, which its
# interquartile range shows.
WARMUP_S, BLOCK_S, BLOCKS, STEADY, LIMIT_S = 0.5, 0.1, 9, 0.05, 5.0

Alone = Callable[[], AbstractContextManager[object]]


def count_cost(model: Model) -> Cost:
    """Count what `model` costs, from its shape; the model does not change.

    Args:
        model: on any device; its recipe gives the batch size.

    Returns:
        A cost with only the values that need no measurement. `forward_macs_fvcore` is None if
        fvcore cannot trace the model.
    """
    meta = Model(on_meta(model.module), model.task, model.recipe)
    counts = count_model(meta, model.recipe.batch_size)
    return Cost(
        trainable_params=counts.trainable_params,
        total_params=counts.total_params,
        checkpoint_bytes=counts.saved_bytes,
        forward_flops=counts.forward_flops,
        forward_macs_fvcore=_count_macs(model, _noise(model)),
        train_step_flops=counts.train_step_flops if counts.trainable_params else None,
    )


def measure_cost(model: Model, alone: Alone = nullcontext, counted: Cost | None = None) -> Cost:
    """Measure what `model` costs, on random images; its weights do not change.

    The module is left in evaluation mode. Training is measured on a copy; during this time the
    module is on the CPU. It is moved back at the end.
    A model that takes prompts is measured with one box or click per image, according to its prompt
    rule. Operations, memory and inference speed are those of the whole model. Training speed is
    that of the training loop, which runs frozen stages once per image. For stacks of slices,
    forward operations are those of one stack, and speeds are slices per second.

    Args:
        model: on the device to measure on; its recipe gives batch size and precision.
        alone: makes the context of timed blocks, see `measure_throughput`.
        counted: of `count_cost`; None: it is counted here.

    Returns:
        The cost without `train_wall_s`. All values of training are None if nothing is trainable,
        and `forward_macs_fvcore` is None if fvcore cannot trace the model. Interquartile ranges
        are None where the time allowed only one block.

    Raises:
        RuntimeError: this process holds other memory on the CUDA device, see `measure_memory`.
        torch.OutOfMemoryError: the memory of the device does not suffice.
    """
    cost = count_cost(model) if counted is None else counted
    batch = _noise(model).to(model.device)
    cost = _measure_inference(model, batch, cost, alone)
    if not cost.trainable_params:
        return cost
    trained, device = Model(copy.deepcopy(model.module), model.task, model.recipe), model.device
    model.module.cpu()  # the device then holds the weights once, as in training
    try:
        return _measure_training(trained, batch, cost, alone)
    finally:
        model.module.to(device)


def _count_macs(model: Model, batch: LabelledImages) -> int | None:
    """Multiply-adds of one stack according to fvcore, which traces the model on the CPU."""
    rows = slice(batch.depth)
    images = torch.zeros_like(batch.images[rows], dtype=torch.float32)
    prompts = batch.joined_prompts(rows)
    module = copy.deepcopy(model.module).cpu()
    return count_macs_fvcore(module, images, *(() if prompts is None else (prompts,)))


def _measure_inference(model: Model, batch: LabelledImages, cost: Cost, alone: Alone) -> Cost:
    model.module.eval()
    prompts = batch.joined_prompts()
    with torch.no_grad():
        speed = _speed(lambda: model.forward(batch.images, prompts), batch, alone)
    return replace(cost, infer_images_per_s=speed.median, infer_images_per_s_iqr=speed.iqr)


def _training_speed(
    model: Model, optimizer: torch.optim.Optimizer, batch: LabelledImages, alone: Alone
) -> Throughput:
    # A separate function, so that the output of the frozen stages is freed when it returns.
    inputs, prompts = run_frozen_stages(model, batch.images), batch.joined_prompts()
    return _speed(lambda: train_step(model, optimizer, inputs, batch.masks, prompts), batch, alone)


def _measure_training(model: Model, batch: LabelledImages, cost: Cost, alone: Alone) -> Cost:
    model.module.train()
    optimizer = make_optimizer(model)
    speed = _training_speed(model, optimizer, batch, alone)

    memory = _measure_memory(model, optimizer, batch, trained=True)
    return replace(
        cost,
        train_images_per_s=speed.median,
        train_images_per_s_iqr=speed.iqr,
        train_peak_bytes=memory.peak,
        weights_bytes=memory.weights,
        gradients_bytes=memory.gradients,
        optimizer_bytes=memory.optimizer,
        activations_bytes=memory.activations,
        memory_source=memory.source,
    )


def measure_training_memory(model: Model) -> MemorySplit:
    """Measure the peak memory of a training step of the whole model on random images.

    The model is trained for two steps and left in training mode. Frozen stages run in each step.

    Args:
        model: on the device to measure on, with trainable parameters; its recipe gives batch size
            and precision.

    Returns:
        The peak and its parts in bytes.

    Raises:
        RuntimeError: this process holds other memory on the CUDA device, see `measure_memory`.
        ValueError: nothing is trainable.
    """
    batch = _noise(model).to(model.device)
    model.module.train()
    return _measure_memory(model, make_optimizer(model), batch)


def _measure_memory(
    model: Model,
    optimizer: torch.optim.Optimizer,
    batch: LabelledImages,
    trained: bool = False,
) -> MemorySplit:
    """Measure a step; with `trained`, earlier steps have created the state of the optimiser."""

    def use_batch() -> None:
        tensors = [batch.images, batch.masks]
        if (prompts := batch.joined_prompts()) is not None:
            tensors += [*prompts.boxes, *prompts.clicks, *prompts.classes]
        for tensor in tensors:
            tensor.detach()  # an operator that reads it, so that the meter counts it

    def step() -> None:
        images = ModelInput(batch.images)
        train_step(model, optimizer, images, batch.masks, batch.joined_prompts())
        optimizer.zero_grad(set_to_none=True)

    optimizer.zero_grad(set_to_none=True)
    device = batch.images.device
    # On a GPU, a step on whole images also lets libraries allocate what they keep.
    prepare = use_batch if trained and device.type == "cpu" else None
    return measure_memory(step, model.module, optimizer, device, prepare=prepare)


def _speed(call: Callable[[], object], batch: LabelledImages, alone: Alone) -> Throughput:
    return measure_speed(call, len(batch), batch.images.device, alone)


def measure_speed(
    call: Callable[[], object], images: int, device: torch.device, alone: Alone = nullcontext
) -> Throughput:
    """Measure images per second with the settings of all costs.

    Args:
        call: what is timed.
        images: in one call.
        device: that it runs on.
        alone: as for `measure_cost`.
    """
    return measure_throughput(
        call,
        images,
        warmup_s=WARMUP_S,
        block_s=BLOCK_S,
        blocks=BLOCKS,
        steady=STEADY,
        limit_s=LIMIT_S,
        sync=torch.cuda.synchronize if device.type == "cuda" else None,
        alone=alone,
    )


def _noise(model: Model) -> LabelledImages:
    """A batch of random images and masks on the CPU; equal in every call."""
    task, rule = model.task, model.prompt_rule
    count, size = model.recipe.batch_size * task.depth, task.image_size
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=random)
    shape = (count, size, size)
    masks = torch.randint(task.num_classes, shape, dtype=torch.uint8, generator=random)
    prompts = (rule.example(size, 1),) * count if rule else None
    return LabelledImages(images, masks, prompts, depth=task.depth)
