"""Each promise of a method or a dataset fails for a plugin that breaks it."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import (
    Item,
    SamSegmenter,
    SemanticDecoder,
    Task,
    cli,
    load_sam,
    register_dataset,
    register_method,
)
from bench.contract import datasets, methods
from bench.contract.promise import run_promise
from bench.data.items import Collection
from bench.plugins import registry

TASK = Task(3, 64, weights="random")


class Net(nn.Module):
    """A trainable convolution after a frozen one."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.frozen = nn.Conv2d(3, 4, 1).requires_grad_(False)
        self.head = nn.Conv2d(4, classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.frozen(images))
        return logits


class Halved(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[..., ::2, ::2]


class Infinite(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / 0


class Forgotten(Net):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.forgotten = nn.Parameter(torch.zeros(2))


class Moving(Net):
    def forward(self, images: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled():
            self.frozen.weight.data += 1
        return super().forward(images)


class Remembering(Net):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.norm = nn.BatchNorm2d(3, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.norm(images))


class Crashing(Net):
    def forward(self, images: Tensor) -> Tensor:
        if len(images) == 1:
            raise RuntimeError("a batch of one")
        return super().forward(images)


def unseeded(task: Task) -> nn.Module:
    net = Net(task.num_classes)
    with torch.no_grad():
        net.head.weight.fill_(float(np.random.default_rng().random()))
    return net


def reading(task: Task) -> nn.Module:
    net = Net(task.num_classes)
    net.head = nn.Conv2d(4, task.num_classes, 3, padding=1, device="cpu")
    return net


def frozen(task: Task) -> nn.Module:
    return Net(task.num_classes).requires_grad_(False)


def constant(task: Task) -> nn.Module:
    net = Net(task.num_classes)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.5)
    return net


def careless(task: Task, *, rank: int = 4) -> nn.Module:
    return Net(task.num_classes) if rank > 0 else [nn.Identity()][1]


def too_late(task: Task, *, mode: str = "sum") -> nn.Module:
    net = Net(task.num_classes)
    if mode != "sum":
        net.head = nn.Conv2d(5, task.num_classes, 1)
    return net


class Hasty(SamSegmenter):
    def forward(self, images: Tensor, prompts: Any = None) -> Tensor:
        logits: Tensor = self.head(self.image_encoder(self.normalise(images)), images.shape[-1])
        return logits


def hasty(task: Task) -> nn.Module:
    sam = load_sam(task)
    return Hasty(sam, SemanticDecoder(sam, task.num_classes))


def no_model(task: Task) -> nn.Module:
    raise NotImplementedError("still to be written")


def of(kind: type[Net]) -> Callable[..., nn.Module]:
    return lambda task: kind(task.num_classes)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a test registers."""
    for plugins in (registry._METHODS, registry._DATASETS):
        monkeypatch.setattr(plugins, "entries", dict(plugins.entries))


def method(build: Callable[..., nn.Module], **settings: Any) -> registry.Method:
    build.__doc__ = "A toy."
    register_method("toy", **{"paper": "https://example.org", "lr": 1e-3, **settings})(build)
    return registry.get_method("toy")


METHODS: list[tuple[Callable[..., nn.Module], dict[str, Any], Callable[..., None], str]] = [
    (no_model, {}, methods.builds_a_model, "NotImplementedError: still to be written"),
    (of(Net), {"paper": "a book"}, methods.declares_its_source, "give an https address"),
    (frozen, {}, methods.trains_if_it_has_a_learning_rate, "no parameters require a gradient"),
    (of(Net), {"lr": None}, methods.trains_if_it_has_a_learning_rate, "lr is None, but some"),
    (of(Halved), {}, methods.gives_finite_logits, r"\(2, 3, 32, 32\) instead of \(2, 3, 64, 64\)"),
    (of(Infinite), {}, methods.gives_finite_logits, "NaN or infinite"),
    (of(Net), {"prompts": "oracle"}, methods.takes_prompts_as_declared, "no attribute prompt_rule"),
    (reading, {}, methods.builds_on_meta, "have values on the meta device: head.bias, head.weight"),
    (
        unseeded,
        {},
        methods.same_seed_same_weights,
        "differ between builds of one seed: head.weight",
    ),
    (constant, {}, methods.same_seed_same_weights, "weights of seeds 0 and 1 are equal"),
    (careless, {}, methods.refuses_options_out_of_range, "rank=-1 raises IndexError"),
    (too_late, {}, methods.refuses_options_out_of_range, "mode='no such value' is accepted, but"),
    (of(Forgotten), {}, methods.gradients_reach_what_trains, "no gradient reaches forgotten"),
    (
        of(Net),
        {"idle": {"head.bias": "a mistake"}},
        methods.gradients_reach_what_trains,
        "gradients reach parameters that are declared idle: head.bias",
    ),
    (hasty, {}, methods.predicts_on_a_fine_grid, "no gradient reaches refiner"),
    (of(Forgotten), {}, methods.moves_only_what_trains, "these trainable parameters: forgotten"),
    (of(Moving), {}, methods.moves_only_what_trains, "these frozen parameters: frozen.weight"),
    (of(Remembering), {}, methods.restores_what_was_trained, "values that are not trainable"),
    (of(Crashing), {}, methods.completes_a_cell, "status failed: RuntimeError: a batch of one"),
]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("build", "settings", "promise", "failure"),
    METHODS,
    ids=[f"{promise.__name__}-{number}" for number, (_, _, promise, _) in enumerate(METHODS)],
)
def test_a_method_that_breaks_a_promise_is_named(
    build: Callable[..., nn.Module],
    settings: dict[str, Any],
    promise: Callable[..., None],
    failure: str,
) -> None:
    outcome = run_promise(promise, method(build, **settings), TASK)
    assert outcome.failure is not None
    assert re.search(failure, outcome.failure), outcome.failure


def test_every_promise_can_be_broken() -> None:
    assert {promise for _, _, promise, _ in METHODS} == set(methods.PROMISES)
    assert {promise for _, _, promise, _ in DATASETS} == set(datasets.PROMISES)


@pytest.mark.usefixtures("registered")
def test_the_command_prints_one_line_per_promise(capsys: pytest.CaptureFixture[str]) -> None:
    method(of(Net))
    assert cli.main(["check-method", "toy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(methods.PROMISES)
    assert all(line.startswith("ok ") for line in lines)
    registry._METHODS.entries.pop("toy")
    method(no_model)
    assert cli.main(["check-method", "toy"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("broken  It builds a model for the task with its default options: ")
    assert cli.main(["check-method", "toy", "--backbone", "sam_nanno"]) == 2
    assert "Did you mean 'sam_nano'?" in capsys.readouterr().err


def items(**changes: Any) -> list[Item]:
    """Eight images of four groups, with arrays or names changed."""
    mask = np.arange(64, dtype=np.uint8).reshape(8, 8) % 2
    image = np.zeros((8, 8), np.uint8)
    return [
        Item(
            changes.get("name", f"image_{number}"),
            changes.get("image", image),
            changes.get("mask", mask),
            changes.get("group", f"group_{number // 2}"),
        )
        for number in range(changes.get("count", 8))
    ]


CLASSES = ("ground", "object")
RANDOM = np.random.default_rng(0)
DATASETS: list[tuple[Callable[[], list[Item]], dict[str, Any], Callable[..., None], str]] = [
    (items, {"licence": ""}, datasets.declares_its_source, "empty: licence"),
    (lambda: items(name="a"), {}, datasets.names_every_image_once, "more than once: a"),
    (lambda: items(group=""), {}, datasets.names_every_image_once, "have no group: image_0"),
    (lambda: items(image=np.zeros((9, 8), np.uint8)), {}, datasets.gives_masks_that_fit, "8 x 9"),
    (
        lambda: items(mask=np.full((8, 8), 7, np.uint8)),
        {},
        datasets.gives_masks_that_fit,
        "holds 7, but only 0, 1, 255 are declared",
    ),
    (
        lambda: items(mask=np.zeros((8, 8), np.uint8)),
        {},
        datasets.shows_every_class,
        "no pixel of object",
    ),
    (
        lambda: items(image=RANDOM.integers(255, size=(8, 8)).astype(np.uint8)),
        {},
        datasets.is_the_same_each_time,
        "two loads differ",
    ),
    (lambda: items(count=2), {}, datasets.keeps_groups_apart, "too few specimen groups"),
]


def dataset(load: Callable[[], list[Item]], **settings: Any) -> tuple[registry.Dataset, Collection]:
    def toys() -> list[Item]:
        """Toys."""
        return load()

    register_dataset(
        "toys", **{"classes": CLASSES, "source": "drawn", "licence": "CC0-1.0", **settings}
    )(toys)
    return registry.get_dataset("toys"), registry.load_collection("toys")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("load", "settings", "promise", "failure"),
    DATASETS,
    ids=[f"{promise.__name__}-{number}" for number, (_, _, promise, _) in enumerate(DATASETS)],
)
def test_a_dataset_that_breaks_a_promise_is_named(
    load: Callable[[], list[Item]],
    settings: dict[str, Any],
    promise: Callable[..., None],
    failure: str,
) -> None:
    outcome = run_promise(promise, *dataset(load, **settings))
    assert outcome.failure is not None
    assert failure in outcome.failure


@pytest.mark.usefixtures("registered")
def test_a_sound_dataset_keeps_all_promises(capsys: pytest.CaptureFixture[str]) -> None:
    dataset(items)
    assert cli.main(["check-dataset", "toys"]) == 0
    assert capsys.readouterr().out.count("ok ") == len(datasets.PROMISES)
