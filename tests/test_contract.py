"""The contract of every method on the large backbones; test_methods.py holds it on sam_nano."""

import copy

import pytest
import torch
from torch import nn

from bench.errors import UnsupportedError
from bench.registry import Method, list_methods
from bench.sam import PromptRule, Prompts
from bench.spec import Recipe, Task
from bench.train import Reused, make_optimizer, train_step

ADAPTING = [method for method in list_methods() if not method.from_scratch]
SIZES = {"mobile_sam": 64, "sam_vit_b": 256}


def build(method: Method, backbone: str) -> nn.Module:
    torch.manual_seed(0)
    try:
        return method.build(Task(3, SIZES[backbone], backbone, "random"))
    except UnsupportedError as error:
        pytest.skip(str(error))


def prompts(model: nn.Module, size: int) -> Prompts | None:
    rule: PromptRule | None = getattr(model, "prompt_rule", None)
    return None if rule is None else rule.example(size, 2)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", SIZES)
@pytest.mark.parametrize("method", ADAPTING, ids=lambda method: method.name)
def test_trains_what_it_says_and_nothing_else(method: Method, backbone: str) -> None:
    model, size = build(method, backbone), SIZES[backbone]
    beside = prompts(model, size)
    images = torch.randint(256, (2, 3, size, size), dtype=torch.uint8)
    masks = torch.randint(3, (2, size, size), dtype=torch.uint8)
    view = Reused(model.eval(), "fp32", reuse=False)
    with torch.no_grad():
        first = view.logits(images, beside)
    assert first.shape == (2, 3, size, size)
    assert first.isfinite().all()
    if method.lr is None:
        return
    before = copy.deepcopy(model.state_dict())
    recipe = Recipe(lr=1e-3, precision="fp32")
    optimizer = make_optimizer(model.train(), recipe)
    for _ in range(2):
        train_step(view, optimizer, recipe, images, masks, beside)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    moved = {name for name, v in model.state_dict().items() if not torch.equal(v, before[name])}
    assert moved
    buffers = {name for name, _ in model.named_buffers()}
    assert moved - buffers <= trainable
    again = build(method, backbone)
    assert all(torch.equal(before[name], value) for name, value in again.state_dict().items())
