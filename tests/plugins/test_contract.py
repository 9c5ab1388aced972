"""The contract of every method on the large backbones; test_methods.py holds it on sam_nano."""

import copy
import re
from pathlib import Path

import pytest
import torch
from learning import learning
from torch import nn

from bench.errors import UnsupportedError
from bench.learn.loop import Reused, make_optimizer, train_step
from bench.plugins.registry import Method, list_methods
from bench.run.checkpoint import load_onto, save_trained
from bench.sam import PromptRule, Prompts, merge
from bench.spec import Cell, Recipe, Task

MERGED = ("lora", "samed", "samed_s", "sam_lora", "mobile_sam_lora", "decoder_lora", "ssf", "peft")
ADAPTING = [method for method in list_methods() if not method.from_scratch]
SIZES = {"mobile_sam": 64, "sam_vit_b": 256}


def build(method: Method, backbone: str) -> nn.Module:
    torch.manual_seed(0)
    try:
        model = method.build(Task(3, SIZES[backbone], backbone, "random"))
    except UnsupportedError as error:
        pytest.skip(str(error))
    with torch.no_grad():  # timm starts these norms at 0, and no gradient passes them
        for name, parameter in model.named_parameters():
            if re.search(r"conv3\.bn\.(.*\.)?weight$", name):
                parameter.fill_(1)
    return model


def prompts(model: nn.Module, size: int) -> Prompts | None:
    rule: PromptRule | None = getattr(model, "prompt_rule", None)
    return None if rule is None else rule.example(size, 2)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", SIZES)
@pytest.mark.parametrize("method", ADAPTING, ids=lambda method: method.name)
def test_trains_what_it_says_keeps_it_and_nothing_else(
    method: Method, backbone: str, tmp_path: Path
) -> None:
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
    buffers = {name for name, _ in model.named_buffers()}
    assert learning(method, model) <= moved
    assert moved - buffers <= trainable
    again = build(method, backbone)
    assert all(torch.equal(before[name], value) for name, value in again.state_dict().items())
    asked = Cell(method.name, "", Task(3, size, backbone, "random"), recipe)
    save_trained(model, tmp_path / "trained.safetensors", asked)
    load_onto(again, tmp_path / "trained.safetensors")
    with torch.no_grad():
        model.eval()
        wanted = view.logits(images, beside)
        found = Reused(again.eval(), "fp32", reuse=False).logits(images, beside)
        assert torch.equal(found, wanted)
        try:
            merged = merge(model)
        except UnsupportedError:
            assert method.name not in MERGED
            return
        outputs = Reused(merged, "fp32", reuse=False).logits(images, beside)
    torch.testing.assert_close(outputs, wanted, rtol=1e-3, atol=1e-3)
