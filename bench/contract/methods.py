"""The promises of every method; methods/README.md explains each of them.

Each promise is a function that checks a registered method for a task with random weights. Its
docstring is the sentence that `check-method` prints.
"""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from bench.contract.promise import Outcome, expect, run_promise, shortened
from bench.contract.tiny import TINY_CLASSES, write_tiny_folder
from bench.cost.params import trained_state
from bench.errors import UnsupportedError, UserError
from bench.keep.model_file import load_module
from bench.learn.losses import ce_dice
from bench.plugins.registry import Method
from bench.run.cell import work
from bench.run.store import Store
from bench.sam import PromptRule, Prompts
from bench.spec import Cell, OptionValue, Recipe, Task

IMAGES = 2  # number of images in a batch
RATE = 1e-3  # learning rate
OUT_OF_RANGE: dict[type, tuple[OptionValue, ...]] = {
    bool: (),
    int: (-1, 0),
    float: (-1.0, 0.0),
    str: ("no such value",),
}


def check_method(method: Method, task: Task) -> Iterator[Outcome]:
    """Check all promises of a method, one after the other; stop if no model can be built.

    Errors of the method are broken promises, they are not raised. The seed of torch's generator is
    changed.

    Args:
        method: as registered.
        task: the task that models are built for, of depth 1, with weights "random".

    Yields:
        The result of each promise that applies to the method, as soon as it is checked.
    """
    for promise in promises_of(method):
        outcome = run_promise(promise, method, task)
        yield outcome
        if outcome.failure and promise is builds_a_model:
            return


def promises_of(method: Method) -> list[Callable[[Method, Task], None]]:
    """Return the promises that apply to a method; some apply only if it has a learning rate."""
    return [p for p in PROMISES if method.lr is not None or p not in OF_TRAINED_METHODS]


def build_model(method: Method, task: Task, seed: int = 0) -> nn.Module:
    """Build the model of a method with its default options, on the CPU.

    The weights of the last norms in TinyViT's convolution blocks, which timm initialises with 0,
    are set to 1, because no gradient passes a frozen factor of 0.

    Args:
        method: as registered.
        task: the task that the model is built for.
        seed: seed of torch's generator, which draws the initial weights.

    Raises:
        UserError, UnsupportedError: of the method, if it cannot do the task.
    """
    torch.manual_seed(seed)
    model = method.build(task)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if re.search(r"conv3\.bn\.(.*\.)?weight$", name):
                parameter.fill_(1)
    return model


def random_batch(task: Task) -> tuple[Tensor, Tensor]:
    """Return images (2, 3, S, S) uint8 and masks (2, S, S) uint8; equal in every call."""
    random = torch.Generator().manual_seed(1)
    side = task.image_size
    images = torch.randint(256, (IMAGES, 3, side, side), dtype=torch.uint8, generator=random)
    masks = torch.randint(
        task.num_classes, (IMAGES, side, side), dtype=torch.uint8, generator=random
    )
    return images, masks


def example_prompts(model: nn.Module, task: Task) -> tuple[Prompts, ...]:
    """Return the further arguments of a model: none, or example prompts of its rule, 2 images."""
    rule: PromptRule | None = getattr(model, "prompt_rule", None)
    return () if rule is None else (rule.example(task.image_size, IMAGES),)


def logits_of(model: nn.Module, task: Task) -> Tensor:
    """Return the logits (2, K, S, S) of `random_batch`, with `example_prompts` if it takes prompts.

    Args:
        model: of a method; its mode (training or evaluation) is not changed.
        task: the task that it was built for.
    """
    logits: Tensor = model(random_batch(task)[0].float() / 255, *example_prompts(model, task))
    return logits


def reached_by_gradients(method: Method, model: nn.Module) -> set[str]:
    """Return the names of the trainable parameters that the method does not declare idle.

    No gradient is computed here.

    Args:
        method: its `idle` holds regular expressions of whole names.
        model: a model of the method.
    """
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        if not any(re.fullmatch(pattern, name) for pattern in method.idle)
    }


def builds_a_model(method: Method, task: Task) -> None:
    """It builds a model for the task with its default options."""
    build_model(method, task)


def declares_its_source(method: Method, task: Task) -> None:
    """It has an https address of its paper and a summary."""
    expect(method.paper.startswith("https://"), f"paper is '{method.paper}': give an https address")
    expect(method.summary, "the build function has no docstring: its first line is the summary")


def trains_if_it_has_a_learning_rate(method: Method, task: Task) -> None:
    """It has trainable parameters if, and only if, it has a learning rate."""
    trains = any(p.requires_grad for p in build_model(method, task).parameters())
    expect(
        trains == (method.lr is not None),
        f"lr is {method.lr}, but {'some' if trains else 'no'} parameters require a gradient",
    )


def gives_finite_logits(method: Method, task: Task) -> None:
    """Logits of random images are finite and have the shape (B, K, S, S)."""
    model = build_model(method, task).eval()
    with torch.no_grad():
        logits = logits_of(model, task)
    shape = (IMAGES, task.num_classes, task.image_size, task.image_size)
    expect(logits.shape == shape, f"logits have shape {tuple(logits.shape)} instead of {shape}")
    expect(logits.isfinite().all(), "logits contain NaN or infinite values")


def takes_prompts_as_declared(method: Method, task: Task) -> None:
    """Its models have a prompt rule if they take oracle prompts."""
    model = build_model(method, task)
    rule = getattr(model, "prompt_rule", None)
    expect(
        method.prompts != "oracle" or isinstance(rule, PromptRule),
        "prompts='oracle', but the model has no attribute prompt_rule with a PromptRule",
    )


def builds_on_meta(method: Method, task: Task) -> None:
    """Its models can be built on the meta device, and their parameters then have no values."""
    with torch.device("meta"):
        model = method.build(task)
    real = {name for name, parameter in model.named_parameters() if not parameter.is_meta}
    expect(not real, f"these parameters have values on the meta device: {shortened(real)}")


def same_seed_same_weights(method: Method, task: Task) -> None:
    """The same seed gives the same weights, another seed changes some of them."""
    first, again, other = (build_model(method, task, seed).state_dict() for seed in (0, 0, 1))
    differing = {key for key in first if not torch.equal(first[key], again[key])}
    expect(
        not differing, f"these tensors differ between builds of one seed: {shortened(differing)}"
    )
    expect(
        any(not torch.equal(first[key], other[key]) for key in first),
        "weights of seeds 0 and 1 are equal: draw initial weights with torch's generator",
    )


def refuses_options_out_of_range(method: Method, task: Task) -> None:
    """Odd option values (-1, 0, an unknown word) work, or are refused when a model is built."""
    for option, default in method.options.items():
        for value in OUT_OF_RANGE[type(default)]:
            try:
                with torch.device("meta"):
                    model = method.build(task, **{option: value})
            except (UserError, UnsupportedError):
                continue
            except Exception as error:
                expect(False, f"{option}={value!r} raises {type(error).__name__}: {error}")
            _run_on_meta(model, task, f"{option}={value!r}")


def gradients_reach_what_trains(method: Method, task: Task) -> None:
    """Gradients reach all trainable parameters except those declared idle, and no others."""
    _check_gradients(method, build_model(method, task), task)


def predicts_on_a_fine_grid(method: Method, task: Task) -> None:
    """With `--mask-grid fine` gradients reach the further stage too, or it says why it cannot."""
    try:
        model = build_model(method, replace(task, mask_grid="fine"))
    except UnsupportedError:
        return
    _check_gradients(method, model, task)


def _check_gradients(method: Method, model: nn.Module, task: Task) -> None:
    model.train()
    reached: set[str] = set()
    for _ in range(3):  # in the first step, a factor of 0 makes the gradient of the other factor 0
        ce_dice(logits_of(model, task), random_batch(task)[1]).backward()
        gradients = {name: p for name, p in model.named_parameters() if p.grad is not None}
        reached |= {name for name, p in gradients.items() if p.grad is not None and p.grad.any()}
        with torch.no_grad():
            for parameter in gradients.values():
                assert parameter.grad is not None
                parameter.sub_(0.1 * parameter.grad)
                parameter.grad = None
    wanted = reached_by_gradients(method, model)
    missed, others = wanted - reached, reached - wanted
    expect(not missed, f"no gradient reaches {shortened(missed)}: freeze them or declare them idle")
    expect(not others, f"gradients reach parameters that are declared idle: {shortened(others)}")


def moves_only_what_trains(method: Method, task: Task) -> None:
    """Training changes all trainable parameters that are not idle, and no frozen parameter."""
    model = build_model(method, task).train()
    before = copy.deepcopy(dict(model.named_parameters()))
    _train(model, task, steps=3)
    after = dict(model.named_parameters())
    moved = {name for name, p in after.items() if not torch.equal(p, before[name])}
    fixed = reached_by_gradients(method, model) - moved
    frozen = {name for name in moved if not after[name].requires_grad}
    expect(not fixed, f"training does not change these trainable parameters: {shortened(fixed)}")
    expect(not frozen, f"training changes these frozen parameters: {shortened(frozen)}")


def restores_what_was_trained(method: Method, task: Task) -> None:
    """What training may change, put into a new model, gives the same logits."""
    model = build_model(method, task).train()
    _train(model, task, steps=1)
    fresh = build_model(method, task)
    fresh.load_state_dict(trained_state(model), strict=False)
    _expect_equal_logits(model, fresh, task)


def completes_a_cell(method: Method, task: Task) -> None:
    """A whole cell runs on a few images, and its kept model can be loaded."""
    with TemporaryDirectory() as folder:
        images = write_tiny_folder(Path(folder) / "images")
        small = Task(TINY_CLASSES, task.image_size, task.backbone, "random")
        recipe = Recipe(lr=method.lr or 0.0, steps=2, batch_size=2, bank_views=4, precision="fp32")
        cell = Cell(method.name, str(images), small, recipe)
        store = Store.open(Path(folder) / "results", keep="all")
        work(cell, "cpu", torch.get_num_threads(), store, lambda event: None)
        record = store.read(cell)
        if record is not None and record.status == "ok":
            load_module(store.model(cell))
    expect(record is not None, "the cell wrote no record")
    assert record is not None
    expect(record.status == "ok", f"the cell ended with status {record.status}: {record.error}")


OF_TRAINED_METHODS = (
    gradients_reach_what_trains,
    predicts_on_a_fine_grid,
    moves_only_what_trains,
    restores_what_was_trained,
)
PROMISES = (
    builds_a_model,
    declares_its_source,
    trains_if_it_has_a_learning_rate,
    gives_finite_logits,
    takes_prompts_as_declared,
    builds_on_meta,
    same_seed_same_weights,
    refuses_options_out_of_range,
    *OF_TRAINED_METHODS,
    completes_a_cell,
)


def _train(model: nn.Module, task: Task, steps: int) -> None:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, RATE)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        ce_dice(logits_of(model, task), random_batch(task)[1]).backward()
        optimizer.step()


def _expect_equal_logits(trained: nn.Module, restored: nn.Module, task: Task) -> None:
    with torch.no_grad():
        wanted, logits = (logits_of(model.eval(), task) for model in (trained, restored))
    error = (wanted - logits).abs().max().item()
    expect(
        torch.allclose(wanted, logits, rtol=1e-4, atol=1e-4),
        f"logits differ by up to {error:.2g}: training changed values that are not trainable",
    )


def _run_on_meta(model: nn.Module, task: Task, setting: str) -> None:
    """Check on the meta device that a model gives logits of the right shape."""
    side, meta = task.image_size, torch.device("meta")
    images = torch.zeros(IMAGES, 3, side, side, device=meta)
    prompts = [one.to(meta) for one in example_prompts(model, task)]
    try:
        logits = model.to(meta).eval()(images, *prompts)
    except Exception as error:
        expect(False, f"{setting} is accepted, but the model raises {type(error).__name__}")
        raise
    shape = (IMAGES, task.num_classes, side, side)
    expect(logits.shape == shape, f"{setting} is accepted, but the logits have another shape")
