"""Schedule and loop, on worked examples."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bench.data.bank import Bank
from bench.errors import DivergedError
from bench.learn import frozen
from bench.learn.images import LabelledImages
from bench.learn.loop import fit, learning_rate, make_optimizer, train_step
from bench.learn.losses import Loss
from bench.learn.model import Model, ModelInput
from bench.plugins.registry import get_method
from bench.sam.prompts import PromptRule, Prompts
from bench.sam.stages import Stage
from bench.spec import Recipe, Task

TASK = Task(2, 8, "none", "random")


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe(lr=1.0, steps=110, warmup_steps=10)
    assert learning_rate(recipe, 0) == pytest.approx(0.1)
    assert learning_rate(recipe, 9) == pytest.approx(1.0)
    assert learning_rate(recipe, 60) == pytest.approx(0.5)
    assert learning_rate(recipe, 109) == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 0.99))
    assert learning_rate(Recipe(lr=1.0, steps=1), 0) == 1.0  # shorter than the rise


class Pixelwise(nn.Module):
    """The simplest segmenter: a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(images)
        return logits


def halves() -> LabelledImages:
    """Dark left halves are class 0, bright right halves class 1."""
    images = np.zeros((6, 8, 8, 3), np.uint8)
    images[:, :, 4:] = 255
    masks = (images[..., 0] > 0).astype(np.uint8)
    return LabelledImages.of(Bank(images, masks), torch.device("cpu"))


def test_learns_and_tells_how_it_goes() -> None:
    torch.manual_seed(0)
    recipe = Recipe(lr=0.1, steps=60, batch_size=4, precision="fp32", weight_decay=0.0)
    said: list[dict[str, float]] = []
    model = Model(Pixelwise(), TASK, recipe)
    curve = fit(model, halves(), seed=0, report=said.append, validate=lambda: 0.5, points=3)
    assert [row["step"] for row in curve] == [20, 40, 60]
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]
    assert curve[-1]["epoch"] == 60 * 4 / 6
    assert all(row["val_dice"] == 0.5 for row in curve)
    assert {"step", "epoch", "loss", "images_per_s"} <= said[-1].keys()


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    class Broken(Pixelwise):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * float("nan")

    with pytest.raises(DivergedError, match="the loss became nan at step 1"):
        fit(
            Model(Broken(), TASK, Recipe(lr=0.1, steps=2, batch_size=2, precision="fp32")),
            halves(),
            seed=0,
            report=lambda row: None,
            validate=lambda: None,
        )


def test_frozen_outputs_that_take_too_much_room_are_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    task = Task(2, 64, weights="random")
    images = torch.randint(256, (5, 3, 64, 64), dtype=torch.uint8)
    module = get_method("frozen_head").build(task).eval()
    model = Model(module, task, Recipe(lr=0.1, precision="fp32"))
    kept = frozen.run_frozen_stages(model, images, batch=2)
    assert kept.encoded
    wanted = model.logits(kept)
    monkeypatch.setattr(frozen, "MOST_BYTES", kept.rows.nbytes - 1)
    plain = frozen.run_frozen_stages(model, images, batch=2)
    assert plain.rows is images
    assert not plain.encoded
    found = torch.cat([model.forward(part) for part in images.split(2)])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


class FrozenWithOwnLoss(nn.Module):
    """A frozen stage, a trainable layer, and a training loss that stores the images it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 3, 1).requires_grad_(False)
        self.head = nn.Conv2d(3, 2, 1)
        self.images: list[torch.Tensor] = []

    def stages(self) -> list[Stage]:
        return [Stage.of(self.encoder)]

    def decode(
        self, features: torch.Tensor, prompts: Prompts | None = None, low: bool = False
    ) -> torch.Tensor:
        logits: torch.Tensor = self.head(features)
        return logits

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encoder(images))

    def training_loss(self, images: torch.Tensor, masks: torch.Tensor, loss: Loss) -> torch.Tensor:
        self.images.append(images)
        return loss(self(images), masks)


def test_a_loss_of_the_module_gets_images_although_a_stage_is_frozen() -> None:
    module = FrozenWithOwnLoss()
    recipe = Recipe(lr=0.1, steps=1, batch_size=6, precision="fp32")
    model = Model(module, TASK, recipe)
    fit(model, halves(), seed=0, report=lambda row: None, validate=lambda: None, points=1)
    (images,) = module.images
    assert images.unique().tolist() == [0, 1]
    assert Model(module, TASK, replace(recipe, loss_at="decoder")).frozen_stages == 1


def test_prompts_of_a_training_come_from_instances() -> None:
    """Two touching instances of one class are two prompts, where the component would be one."""
    asked: list[list[int]] = []

    class Prompted(Pixelwise):
        prompt_rule = PromptRule()

        def forward(self, images: torch.Tensor, prompts: Prompts | None = None) -> torch.Tensor:
            assert prompts is not None
            asked.append([len(boxes) for boxes in prompts.boxes])
            return super().forward(images)

    images, masks = np.zeros((2, 8, 8, 3), np.uint8), np.ones((2, 8, 8), np.uint8)
    numbered = np.ones((2, 8, 8), np.int32)
    numbered[:, 4:] = 2
    views = LabelledImages.of(Bank(images, masks, numbered), torch.device("cpu"))
    recipe = Recipe(lr=0.1, steps=1, batch_size=2, precision="fp32")
    model = Model(Prompted(), TASK, recipe)
    fit(model, views, seed=0, report=lambda row: None, validate=lambda: None)
    assert asked == [[2, 2]]
    held_out = views.with_prompts(model.prompt_rule).prompts
    assert held_out is not None
    assert [len(prompts.boxes[0]) for prompts in held_out] == [2, 2]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_without_an_object_to_prompt_changes_nothing(accumulate: int) -> None:
    task = Task(2, 64, "sam_nano", "random")
    module = get_method("sam_lora").build(task).train()
    recipe = Recipe(lr=0.1, batch_size=2, precision="fp32", accumulate=accumulate)
    model = Model(module, task, recipe)
    assert model.prompt_rule is not None
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    empty = torch.zeros(2, 64, 64, dtype=torch.uint8)
    one = empty.clone()
    one[1, 8:40, 8:40] = 1
    optimizer = make_optimizer(model)
    for labels, changes in ((empty, False), (one, True)):
        before = [parameter.clone() for parameter in model.trainable]
        prompts, masks = model.prompt_rule.for_training(labels, np.random.default_rng(0))
        loss = train_step(model, optimizer, ModelInput(images), masks, prompts)
        assert loss.isfinite()
        same = all(map(torch.equal, before, model.trainable))
        assert same != changes


def test_a_loss_without_a_gradient_is_an_error_otherwise() -> None:
    class Detached(Pixelwise):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images).detach()

    model = Model(Detached(), TASK, Recipe(lr=0.1, steps=1, batch_size=2, precision="fp32"))
    with pytest.raises(RuntimeError, match="does not require grad"):
        fit(model, halves(), seed=0, report=lambda row: None, validate=lambda: None)
