"""The cost of one model under one recipe; definitions in docs/protocol/costs.md."""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from bench.cost import (
    Throughput,
    checkpoint_bytes,
    count_forward_flops,
    count_macs_fvcore,
    count_params,
    count_train_step_flops,
    measure_memory,
    measure_throughput,
    on_meta,
    trained_state,
)
from bench.learn.loop import Reused, Supervised, Views, make_optimizer, train_step
from bench.learn.losses import get_loss
from bench.sam.prompts import PromptRule, Prompts
from bench.spec import Cost, Recipe

# A figure within 2 to 5 s, and an interquartile range that tells when the machine was busy.
WARMUP_S, BLOCK_S, BLOCKS, LIMIT_S = 0.5, 0.1, 9, 5.0


def measure_cost(
    model: nn.Module, recipe: Recipe, *, num_classes: int, size: int, depth: int = 1
) -> Cost:
    """Count and time what `model` costs; its weights stay as they are.

    For a model that takes prompts one box or click an image is counted, as its rule says.
    Operations, memory and inference speed are those of the plain model; training speed is that of
    the trainer, which runs frozen stages once an image.

    Args:
        model: on the device to measure on.
        recipe: gives batch size and precision of a training step.
        num_classes: K.
        size: side S of the images in pixels.
        depth: slices of a stack. Forward operations are those of a stack, speeds count slices.
    """
    device = next(model.parameters()).device
    trainable, total = count_params(model)
    rows = recipe.batch_size * depth
    batch = _noise(rows, num_classes, size, getattr(model, "prompt_rule", None), depth)
    forward, step, macs = _count(model, recipe, batch)
    cost = Cost(
        trainable_params=trainable,
        total_params=total,
        checkpoint_bytes=checkpoint_bytes(trained_state(model)),
        forward_flops=forward,
        forward_macs_fvcore=macs,
        train_step_flops=step if trainable else None,
    )
    batch = _to(batch, device)
    cost = _inference_speed(model, recipe, batch, cost)
    return _training(copy.deepcopy(model), recipe, batch, cost) if trainable else cost


def _inference_speed(model: nn.Module, recipe: Recipe, batch: Views, cost: Cost) -> Cost:
    model.eval()
    view = Reused(model, recipe.precision, reuse=False)
    prompts = _joined(batch)
    with torch.no_grad():
        speed = _speed(lambda: view.logits(batch.images, prompts), batch)
    return replace(cost, infer_images_per_s=speed.median, infer_images_per_s_iqr=speed.iqr)


def _train_speed(
    view: Reused, optimizer: torch.optim.Optimizer, recipe: Recipe, batch: Views
) -> Throughput:
    rows, prompts = view.prepare(batch.images), _joined(batch)
    return _speed(lambda: train_step(view, optimizer, recipe, rows, batch.masks, prompts), batch)


def _training(model: nn.Module, recipe: Recipe, batch: Views, cost: Cost) -> Cost:
    model.train()
    optimizer = make_optimizer(model, recipe)
    speed = _train_speed(Reused(model, recipe.precision), optimizer, recipe, batch)
    plain = Reused(model, recipe.precision, reuse=False)

    def step() -> None:
        train_step(plain, optimizer, recipe, batch.images, batch.masks, _joined(batch))
        optimizer.zero_grad(set_to_none=True)

    optimizer.zero_grad(set_to_none=True)
    memory = measure_memory(step, model, optimizer, batch.images.device)
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


def _count(model: nn.Module, recipe: Recipe, batch: Views) -> tuple[int, int, int | None]:
    """Forward FLOPs of one stack, FLOPs of one training step, and fvcore's forward MACs."""
    meta = on_meta(model).eval()
    prompts = Prompts.join(list(batch.prompts[: batch.depth])) if batch.prompts else None
    one = torch.zeros_like(batch.images[: batch.depth], dtype=torch.float32)
    on_meta_beside = () if prompts is None else (prompts.to(torch.device("meta")),)
    with torch.no_grad():
        forward = count_forward_flops(lambda: meta(one.to("meta"), *on_meta_beside))
    step = 0
    if count_params(meta)[0]:
        images = torch.zeros_like(batch.images, dtype=torch.float32, device="meta")
        masks = batch.masks.to("meta")
        loss = get_loss(recipe.loss)
        joined = _joined(batch)
        beside = () if joined is None else (joined.to(torch.device("meta")),)

        def value() -> Tensor:
            if isinstance(meta, Supervised):
                return meta.training_loss(images, masks, loss)
            return loss(meta(images, *beside), masks)

        meta.train()
        step = count_train_step_flops(lambda: value().backward())
    on_cpu = copy.deepcopy(model).cpu()
    return forward, step, count_macs_fvcore(on_cpu, one, *(() if prompts is None else (prompts,)))


def _speed(call: Callable[[], object], batch: Views) -> Throughput:
    sync = torch.cuda.synchronize if batch.images.is_cuda else None
    return measure_throughput(
        call,
        len(batch),
        warmup_s=WARMUP_S,
        block_s=BLOCK_S,
        blocks=BLOCKS,
        limit_s=LIMIT_S,
        sync=sync,
    )


def _noise(count: int, num_classes: int, size: int, rule: PromptRule | None, depth: int) -> Views:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=random)
    masks = torch.randint(num_classes, (count, size, size), dtype=torch.uint8, generator=random)
    prompts = (rule.example(size, 1),) * count if rule else None
    return Views(images, masks, prompts, depth=depth)


def _joined(batch: Views) -> Prompts | None:
    return Prompts.join(list(batch.prompts)) if batch.prompts else None


def _to(views: Views, device: torch.device) -> Views:
    prompts = views.prompts and tuple(prompt.to(device) for prompt in views.prompts)
    return Views(views.images.to(device), views.masks.to(device), prompts, depth=views.depth)
