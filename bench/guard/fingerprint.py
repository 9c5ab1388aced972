"""Numbers by which a change of a method or of a loss is noticed, in a fraction of a second each.

Inputs and random draws are fixed and made of integers, so that they are the same on every machine.
Parameters that all have one value (LoRA's B starts at zero, norms start at one) get fixed noise,
because otherwise a wrong factor on them would not change the output before training.
"""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import InstanceOf
from torch import Tensor, nn

from bench.guard.trace import Trace, norm, owners, rounded, tracing
from bench.learn.loop import make_optimizer, train_step
from bench.learn.losses import LOSSES
from bench.learn.model import Model, ModelInput
from bench.plugins.registry import Method
from bench.spec import Recipe, Task

SIDE = 96  # px: 12 tokens a side in sam_nano, which do not fill its windows of 8
CLASSES, IMAGES, SAMPLES = 3, 3, 16
SPREAD = 0.1  # of the noise on constant parameters: uniform within +-SPREAD
LOSS_SIDE = 176  # px, the smallest side that MS-SSIM takes
LOSS = "balanced_ce_dice"  # of the recipe that methods are trained with here


@dataclass(frozen=True)
class Fingerprint:
    """Numbers of one method with its default options, on the CPU in fp32.

    A method that does not train has the first logits only, and no losses and gradients.

    Attributes:
        logits: at fixed places, without dropout, before and after the first optimiser step.
        losses: of the first and the second optimiser step.
        gradients: "part: class of module" to the gradient norms of its parameters in both steps.
        modules: norms of the inputs and outputs of modules before training, see
            `bench.guard.trace.Trace`.
        digest: SHA-256 of all bits of the logits (of all pixels), losses and gradients.
        trace: the calls of modules before training; neither compared nor stored.
    """

    logits: Sequence[Sequence[float]]
    losses: Sequence[float]
    gradients: Mapping[str, Sequence[float]]
    modules: Mapping[str, Sequence[float]]
    digest: str
    trace: InstanceOf[Trace] = field(default_factory=Trace, compare=False)  # not in the file


def fingerprint(method: Method) -> Fingerprint:
    """Build `method` on sam_nano, compute its logits, and train it for two steps.

    It has its default options, 3 classes and images of `SIDE` px. Uses the threads of this process;
    the seed of torch's generator is changed. Errors of the method are passed on.
    """
    backbone = "none" if method.from_scratch else "sam_nano"
    task = Task(CLASSES, SIDE, backbone)
    torch.manual_seed(0)
    module = method.build(task)
    perturb_constants(module)
    recipe = Recipe(lr=method.lr or 0.0, batch_size=IMAGES, loss=LOSS, precision="fp32")
    model = Model(module, task, recipe)
    images, masks = example_batch()
    prompts, labels = None, masks
    if model.prompt_rule is not None:
        prompts, labels = model.prompt_rule.for_training(masks, np.random.default_rng(0))
    bits = hashlib.sha256()

    def evaluate() -> Tensor:
        module.eval()
        with torch.no_grad():
            logits = model.forward(images, prompts)
        bits.update(_bytes(logits))
        return logits

    with tracing(module) as trace:
        logits = [_sampled(evaluate())]
    losses, gradients = [], defaultdict[str, list[float]](list)
    if model.trainable:
        optimizer, owner = make_optimizer(model), owners(module)
        for step in range(2):
            module.train()
            torch.manual_seed(step)  # dropout
            loss = train_step(model, optimizer, ModelInput(images), labels, prompts)
            losses.append(rounded(loss.item()))
            bits.update(_bytes(loss))
            for name, value in _gradient_norms(module, owner, bits).items():
                gradients[name].append(value)
            if step == 0:
                logits.append(_sampled(evaluate()))
    return Fingerprint(logits, losses, dict(gradients), trace.norms, bits.hexdigest(), trace)


def loss_values() -> dict[str, list[float]]:
    """Compute the value and the gradient norm of each loss on two fixed batches.

    The first batch has every class and unlabelled pixels. In the second, one class is neither
    labelled nor predicted (probability 0): there, a Dice loss without smoothing divides 0 by 0.

    Returns:
        Name of a loss to four numbers: value and gradient norm (of `bench.guard.trace.norm`) on the
        first batch, then on the second.
    """
    random = np.random.default_rng(1)
    shape = (2, CLASSES, LOSS_SIDE, LOSS_SIDE)
    noise = torch.from_numpy(random.integers(-3000, 3001, shape) / 1000).float()
    _, masks = example_batch(LOSS_SIDE)
    ignored = masks[:2].clone()
    ignored[:, :9] = 255
    absent = masks[:2].clone()
    absent[absent == CLASSES - 1] = 0
    certain = noise.clone()
    certain[:, CLASSES - 1] = -300.0
    values: dict[str, list[float]] = {}
    for name, loss in LOSSES.items():
        values[name] = []
        for logits, truth in ((noise, ignored), (certain, absent)):
            leaf = logits.clone().requires_grad_()
            value = loss(leaf, truth)
            value.backward()
            values[name] += [rounded(value.item()), norm(leaf.grad)]
    return values


def example_batch(side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Draw discs on noise; the same in every call.

    Args:
        side: side of the images in pixels.

    Returns:
        Three images (3, 3, side, side) uint8, and masks (3, side, side) uint8 of 3 classes.
    """
    random = np.random.default_rng(0)
    images = random.integers(0, 160, (IMAGES, 3, side, side))
    masks = np.zeros((IMAGES, side, side), np.uint8)
    rows, columns = np.mgrid[:side, :side]
    for image, mask in zip(images, masks, strict=True):
        for disc in range(6):
            (y, x), radius = random.integers(0, side, 2), random.integers(side // 12, side // 5)
            inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
            mask[inside] = 1 + disc % (CLASSES - 1)
            image[:, inside] += 40 + 50 * (disc % (CLASSES - 1))
    return torch.from_numpy(images.clip(0, 255).astype(np.uint8)), torch.from_numpy(masks)


@torch.no_grad()
def perturb_constants(module: nn.Module) -> None:
    """Add noise, the same in every call, to each parameter whose values are all equal, in place.

    Frozen parameters and single numbers are among them.
    Without it, factors that start at 0 would hide the layers behind them.
    """
    for number, parameter in enumerate(module.parameters()):
        if parameter.numel() and (parameter == parameter.flatten()[0]).all():
            random = np.random.default_rng(number)
            noise = random.integers(-1000, 1001, tuple(parameter.shape)) * (SPREAD / 1000)
            parameter.add_(torch.from_numpy(np.asarray(noise)).to(parameter.dtype))


def _sampled(logits: Tensor) -> list[float]:
    """The logits at places that are spread over images, classes and pixels."""
    random = np.random.default_rng(zlib.crc32(b"places"))
    flat = logits.flatten()
    return [rounded(flat[int(place)].item()) for place in random.integers(0, len(flat), SAMPLES)]


def _gradient_norms(module: nn.Module, owner: Mapping[str, str], bits: Any) -> dict[str, float]:
    """Gradient norm of the parameters of each owner that have a gradient."""
    squares = defaultdict[str, float](float)
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            bits.update(_bytes(parameter.grad))
            squares[owner[name]] += parameter.grad.double().square().sum().item()
    return {name: rounded(square**0.5) for name, square in squares.items()}


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().numpy().tobytes()
