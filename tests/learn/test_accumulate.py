"""A batch in several parts gives the update of the whole batch, if the loss is a mean."""

import pytest
import torch
from torch import Tensor, nn

from bench.ask.grid import recipe_of
from bench.ask.request import Request
from bench.errors import UserError
from bench.learn.loop import make_optimizer, train_step
from bench.learn.losses import LOSSES
from bench.learn.model import Model, ModelInput
from bench.plugins.registry import get_method
from bench.run.fit_memory import MEAN_LOSSES
from bench.spec import Recipe, Task

NEEDS_LARGE_IMAGES = {name for name in LOSSES if "ms_ssim" in name}


def update(loss: str, accumulate: int, depth: int = 1) -> tuple[float, Tensor]:
    """The loss and the weights after one step on five images, or on stacks of slices."""
    torch.manual_seed(0)
    module = nn.Conv2d(3, 3, 3, padding=1)
    recipe = Recipe(
        0.1, "sgd", loss=loss, batch_size=5, precision="fp32", accumulate=accumulate, clip_norm=0.5
    )
    model = Model(module, Task(3, 8, "none", "random", depth), recipe)
    images = torch.randint(256, (5 * depth, 3, 8, 8), dtype=torch.uint8)
    masks = torch.randint(3, (5 * depth, 8, 8), dtype=torch.uint8)
    value = train_step(model, make_optimizer(model), ModelInput(images), masks)
    return value.item(), module.weight.detach()


@pytest.mark.parametrize("parts", [2, 5])
@pytest.mark.parametrize("loss", sorted(MEAN_LOSSES))
def test_parts_of_a_batch_give_the_update_of_the_whole_batch(loss: str, parts: int) -> None:
    (whole, weight), (value, accumulated) = update(loss, 1), update(loss, parts)
    assert value == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(accumulated, weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", sorted(LOSSES.keys() - MEAN_LOSSES - NEEDS_LARGE_IMAGES))
def test_a_loss_with_sums_over_the_batch_gives_another_update(loss: str) -> None:
    assert not torch.allclose(update(loss, 5)[1], update(loss, 1)[1], atol=1e-6)


def test_slices_of_a_stack_stay_together() -> None:
    sizes: list[int] = []

    class Records(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            sizes.append(len(images))
            return super().forward(images)

    model = Model(
        Records(3, 2, 1), Task(2, 8, "none", "random", 4), Recipe(0.1, batch_size=3, accumulate=2)
    )
    images, masks = torch.zeros(12, 3, 8, 8).byte(), torch.zeros(12, 8, 8).byte()
    train_step(model, make_optimizer(model), ModelInput(images), masks)
    assert sorted(sizes) == [4, 8]


def test_more_parts_than_images_are_refused() -> None:
    request = Request("lora", "steel", batch_size=4, accumulate=5)
    with pytest.raises(UserError, match="--accumulate is 5, but a batch has 4"):
        recipe_of(request, get_method("lora"), images=10)
