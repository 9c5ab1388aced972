"""Peak memory of training and of inference, predicted on tensors without values.

The same code that measures memory (`bench.cost.memory`) runs the same training step, so there is
no second model of what a step keeps. Definitions are in docs/protocol/costs.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.cost.memory import MemorySplit, StorageMeter, measure_memory
from bench.cost.predict.fake import DEVICES, fake_model
from bench.errors import UserError, no_such
from bench.learn.frozen import MOST_BYTES
from bench.learn.loop import make_optimizer, train_step
from bench.learn.model import Model, ModelInput
from bench.plugins.registry import Method
from bench.sam.prompts import Prompts
from bench.spec import OptionValue, Recipe, Task

CUDA_ROUNDING = 512  # bytes; PyTorch's CUDA allocator rounds every tensor up to a multiple of it
VALIDATION_BATCH = 8  # images at once in `bench.evaluate.whole.predict_logits`


@dataclass(frozen=True)
class MemoryPrediction:
    """Predicted peak of a training step and its parts, in bytes; all but `inference` sum to `peak`.

    For a model without trainable parameters they are the parts of inference.

    Attributes:
        weights: parameters and buffers of the model, frozen ones included.
        gradients: gradients of parameters that exist at the peak.
        optimizer: state of the optimiser.
        activations: everything else in the step: saved activations, the batch, temporaries.
        kept: what training keeps on the device for all steps: the augmented views, the validation
            images, the masks of both and the embeddings of frozen stages; 0 for a single step, as
            in records.
        inference: peak of the forward pass of a batch of images without gradients, weights
            included, and without optimiser state and kept embeddings; 0 where it was left out.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    kept: int
    inference: int

    @property
    def peak(self) -> int:
        """The highest number of bytes that are alive at one moment of the training step."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.kept

    @property
    def cell_peak(self) -> int:
        """The peak of a whole cell: the training step, or the validation during the training."""
        return max(self.peak, self.inference + self.optimizer + self.kept)


def predict_memory(
    method: Method,
    options: Mapping[str, OptionValue],
    task: Task,
    recipe: Recipe,
    *,
    device: str = "cpu",
    views: int = 0,
    inference_batch: int = 1,
    validation_images: int = 0,
) -> MemoryPrediction:
    """Predict the peak memory of one training step, and of inference.

    Methods that take prompts are predicted with one prompt per image, as they are measured.

    Args:
        method: what to build.
        options: options of the method that differ from its defaults.
        task: no weights are read; a stack of `task.depth` slices counts as one sample.
        recipe: gives precision, loss, optimiser, batch size and checkpointing.
        device: "cpu" predicts the tensor accounting of records made on a CPU. "cuda" predicts
            `torch.cuda.max_memory_allocated`, without the workspaces of kernels.
        views: number of augmented images, or stacks of slices, that training keeps on the device; 0
            for none.
        inference_batch: images, or stacks of slices, in the forward pass of `inference`; 0 leaves
            it out, and is allowed only for a model that trains.
        validation_images: images that stay on the device with their masks while a model trains.

    Returns:
        The parts in bytes. For a model without trainable parameters they are those of inference.

    Raises:
        UserError: an option, the loss or the device is not allowed, or `inference_batch` is below 1
            for a model without trainable parameters.
        UnsupportedError: the method cannot do this task, or has no blocks to checkpoint.
        NotPredictedError: an operator of the model does not run on fake tensors.
    """
    if device not in DEVICES:
        raise no_such("device", device, DEVICES)
    rounding = CUDA_ROUNDING if device == "cuda" else 1
    with fake_model(method, options, task, recipe, device) as model:
        if inference_batch < 1 and not model.trainable:
            raise UserError(
                f"inference_batch is {inference_batch}, and {method.name} trains no parameters:"
                " give 1 or more"
            )
        inference = _predict_inference(model, inference_batch, rounding)
        if not model.trainable:
            weights = _bytes_of([*model.module.parameters(), *model.module.buffers()], rounding)
            return MemoryPrediction(weights, 0, 0, inference - weights, 0, inference)
        kept, encoded = kept_bytes(model, views)
        split = _predict_step(model, device, rounding, encoded)
    kept += validation_images * 4 * task.image_size**2
    return MemoryPrediction(
        split.weights, split.gradients, split.optimizer, split.activations, kept, inference
    )


def _predict_step(model: Model, device: str, rounding: int, encoded: bool) -> MemorySplit:
    model.module.train()
    model, left_out = _with_two_parts(model)
    optimizer = make_optimizer(model)
    images, masks, prompts = random_batch(model, model.recipe.batch_size)
    inputs = ModelInput(images)
    if encoded:
        inputs = model.encoded(model.encode_frozen(images), images)

    idle: set[Tensor] = set()

    def prepare() -> None:
        _create_state(optimizer)
        for group in optimizer.param_groups:
            group["foreach"] = device == "cuda"
        for tensor in (*inputs.tensors, masks):
            tensor.detach()  # an operator that reads them, so that the meter counts them

    def step() -> None:
        with _largest_parameter_only(optimizer, idle, whole=device == "cuda"):
            train_step(model, optimizer, inputs, masks, prompts)
        optimizer.zero_grad(set_to_none=True)

    split = measure_memory(step, model.module, optimizer, "cpu", prepare=prepare, rounding=rounding)
    # Parameters that no gradient reaches have no state in a real training.
    unused = _bytes_of((value for p in idle for value in optimizer.state[p].values()), rounding)
    # The samples that were left out are in memory all the time, with their masks.
    sample = sum(one.nbytes for one in (*inputs.tensors, masks)) // model.recipe.batch_size
    return replace(
        split,
        peak=split.peak - unused + left_out * sample,
        optimizer=split.optimizer - unused,
        activations=split.activations + left_out * sample,
    )


def _with_two_parts(model: Model) -> tuple[Model, int]:
    """The model with a batch of two parts at most, and how many samples this leaves out.

    The memory is the same in every part of an accumulated batch but the first, which has no
    gradients yet.
    """
    recipe = model.recipe
    largest = -(-recipe.batch_size // recipe.accumulate)
    if recipe.accumulate <= 2 or 2 * largest >= recipe.batch_size:
        return model, 0
    two = replace(recipe, batch_size=2 * largest, accumulate=2)
    return Model(model.module, model.task, two), recipe.batch_size - 2 * largest


def _predict_inference(model: Model, batch: int, rounding: int) -> int:
    """Peak of a forward pass without gradients, weights included, in bytes."""
    if not batch:
        return 0
    model.module.eval()
    images, _, prompts = random_batch(model, batch)
    meter = StorageMeter("cpu", rounding)
    with meter, torch.no_grad():
        meter.tag([*model.module.parameters(), *model.module.buffers()], "weights")
        model.forward(images, prompts)
    return meter.peak


def random_batch(model: Model, samples: int) -> tuple[Tensor, Tensor, Prompts | None]:
    """Images, masks and prompts of a batch; within `fake_model` they have no values."""
    count, size = samples * model.task.depth, model.task.image_size
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    masks = torch.empty(count, size, size, dtype=torch.uint8)
    rule = model.prompt_rule
    return images, masks, None if rule is None else rule.example(size, count)


def kept_bytes(model: Model, views: int) -> tuple[int, bool]:
    """Bytes that training keeps on the device for all steps, and whether embeddings are kept."""
    if not views:
        return 0, False
    rows, side = views * model.task.depth, model.task.image_size
    # Three channels, the mask, and the maps of distances.
    bank = rows * (4 + model.object_rule.channels) * side * side
    if not model.frozen_stages:
        return bank, False
    embedding = model.encode_frozen(torch.empty(1, 3, side, side, dtype=torch.uint8))
    embeddings = rows * embedding.nbytes // len(embedding)
    return (bank + embeddings, True) if embeddings <= MOST_BYTES else (bank, False)


def _create_state(optimizer: torch.optim.Optimizer) -> None:
    """Create the optimiser's state as its first step does, without a forward and backward pass."""
    for group in optimizer.param_groups:
        group["foreach"] = True  # fewer operators; the state is the same
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@contextmanager
def _largest_parameter_only(
    optimizer: torch.optim.Optimizer, idle: set[Tensor], whole: bool
) -> Iterator[None]:
    """Let the optimiser update only its largest parameter, unless `whole`.

    Without `foreach` an optimiser updates one parameter after the other, so its temporaries are
    largest for the largest one. The other gradients stay alive, but the optimiser does not see
    them. This saves a quarter of the time. Parameters without a gradient are added to `idle`.
    """
    hidden: list[tuple[Tensor, Tensor]] = []

    def hide(*_: object) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        idle.update(p for p in parameters if p.grad is None)
        largest = max((p for p in parameters if p.grad is not None), key=Tensor.numel)
        for parameter in parameters:
            if parameter.grad is not None and parameter is not largest and not whole:
                hidden.append((parameter, parameter.grad))
                parameter.grad = None

    def restore(*_: object) -> None:
        for parameter, gradient in hidden:
            parameter.grad = gradient
        hidden.clear()

    hooks = optimizer.register_step_pre_hook(hide), optimizer.register_step_post_hook(restore)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _bytes_of(tensors: Iterable[Tensor], rounding: int) -> int:
    """Bytes of tensors that share no storage, each rounded up."""
    return sum(tensor.nbytes + -tensor.nbytes % rounding for tensor in tensors)
