"""A training that is interrupted and continued from its file equals one that is not."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.data.bank import Bank
from bench.learn.images import LabelledImages
from bench.learn.loop import fit
from bench.learn.model import Model
from bench.learn.position import Position
from bench.learn.training_state import StateError, TrainingState, read_state, write_state
from bench.spec import Recipe, Task

TASK = Task(2, 8, "none", "random")
STEPS = 9
KEY = {"cell": "one", "version of PyTorch": "2"}


class Random(nn.Module):
    """Dropout, statistics of batches, and draws from the generators of numpy and Python."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.4), nn.Conv2d(4, 2, 1)
        )
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
            images = images + 0.1 * np.random.rand() + 0.1 * random.random() + 0.01 * self.seen  # noqa: NPY002
        logits: Tensor = self.layers(images)
        return logits


class KilledError(Exception):
    """In place of a signal."""


class Keeper:
    """Keeps a state after some steps, and raises `KilledError` after another one."""

    def __init__(self, path: Path, saved: tuple[int, ...] = (), killed: int = 0) -> None:
        self.path, self.saved, self.killed, self.step = path, saved, killed, 0

    def restore(self, model: Model, optimizer: torch.optim.Optimizer) -> Position | None:
        if not self.path.exists():
            return None
        position = read_state(self.path, KEY).restore(model, optimizer)
        self.step = position.step
        return position

    def after_step(self, take: Callable[[], TrainingState], last: bool) -> None:
        self.step += 1
        assert last == (self.step == STEPS)
        if self.step in self.saved:
            write_state(self.path, take(), KEY)
        if self.step == self.killed:
            raise KilledError


def views() -> LabelledImages:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (7, 8, 8, 3), np.uint8)
    masks = (images[..., 0] > 100).astype(np.uint8)
    return LabelledImages.of(Bank(images, masks), torch.device("cpu"))


def train(
    keeper: Keeper | None = None, **recipe: Any
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Curve and weights of a training in what could be a new process."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    model = Model(Random(), TASK, Recipe(**{**settings(), **recipe}))
    curve = fit(
        model, views(), seed=3, report=lambda row: None, validate=lambda: float(torch.rand(())),
        points=3, keeper=keeper,
    )  # fmt: skip
    return curve, {**model.module.state_dict(), "seen": model.module.seen}


def settings() -> dict[str, Any]:
    return {"lr": 0.01, "steps": STEPS, "batch_size": 2, "precision": "fp32", "warmup_steps": 2}


RECIPES: list[dict[str, Any]] = [
    {},
    {"optimizer": "sgd"},
    {"optimizer": "adam", "schedule": "poly"},
    {"epoch_images": 5, "accumulate": 2},
    {"precision": "bf16", "clip_norm": 1.0},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_it_continues_bit_for_bit_wherever_it_is_killed(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    curve, weights = train(**recipe)
    for number, (saved, killed) in enumerate([(1, 1), (3, 3), (4, 6), (8, 8), (9, 9)]):
        path = tmp_path / f"{number}.safetensors"
        with pytest.raises(KilledError):
            train(Keeper(path, (saved,), killed), **recipe)
        resumed, continued = train(Keeper(path), **recipe)
        assert resumed == curve
        assert weights.keys() == continued.keys()
        assert all(torch.equal(weights[name], continued[name]) for name in weights)


def test_it_is_killed_several_times(tmp_path: Path) -> None:
    path = tmp_path / "state"
    curve, weights = train()
    for step in (2, 5, 7):
        with pytest.raises(KilledError):
            train(Keeper(path, (step,), step))
    resumed, continued = train(Keeper(path))
    assert resumed == curve
    assert all(torch.equal(weights[name], continued[name]) for name in weights)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The file of a training that was killed after four steps."""
    path = tmp_path / "state"
    with pytest.raises(KilledError):
        train(Keeper(path, (4,), 4))
    return path


def change(path: Path, **about: str) -> None:
    """Write other facts into the header of a file."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file(tensors, path, {**metadata, **about})


def test_damage_is_noticed(state: Path) -> None:
    content = bytearray(state.read_bytes())
    content[-20] ^= 1
    state.write_bytes(content)
    with pytest.raises(StateError, match=r"is damaged \(its SHA-256 differs\): the cell starts"):
        read_state(state, KEY)
    for part in (content[:-1], content[:100], b"", b"not a state at all"):
        state.write_bytes(part)
        with pytest.raises(StateError, match=r"is damaged \(.*\): the cell starts from step 0"):
            read_state(state, KEY)


def test_a_state_of_something_else_is_refused_by_name(state: Path) -> None:
    with pytest.raises(StateError, match=r"has another cell \(it was 'one', not 'two'\)"):
        read_state(state, {**KEY, "cell": "two"})
    with pytest.raises(StateError, match="has another version of PyTorch"):
        read_state(state, {**KEY, "version of PyTorch": "3"})
    change(state, version="2")
    with pytest.raises(StateError, match="has version 2 of its format, and this one is 1"):
        read_state(state, KEY)
    change(state, format="other")
    with pytest.raises(StateError, match="is not a file of the format"):
        read_state(state, KEY)


def test_a_state_of_another_model_changes_nothing(state: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 2, 1))
    model = Model(module, TASK, Recipe(lr=0.1))
    before = [parameter.clone() for parameter in module.parameters()]
    with pytest.raises(ValueError, match="holds the tensors of another model"):
        read_state(state, KEY).restore(model, torch.optim.AdamW(model.trainable))
    assert all(
        torch.equal(parameter, old)
        for parameter, old in zip(module.parameters(), before, strict=True)
    )


def test_a_killed_save_leaves_the_older_state(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state.read_bytes()

    def half(tensors: Any, path: Path, about: Any) -> None:
        Path(path).write_bytes(before[:50])
        raise KilledError

    monkeypatch.setattr("bench.learn.training_state.save_file", half)
    with pytest.raises(KilledError):
        train(Keeper(state, (6,)))
    assert state.read_bytes() == before
    assert [path.name for path in state.parent.iterdir()] == [state.name]
