"""The contract of every method on the large backbones, and merging into plain modules."""

import pytest
import torch

from bench.contract.methods import (
    build_model,
    check_method,
    example_prompts,
    random_batch,
)
from bench.errors import UnsupportedError
from bench.plugins.registry import Method, list_methods
from bench.sam import merge
from bench.spec import Task

MERGED = ("lora", "samed", "samed_s", "sam_lora", "mobile_sam_lora", "decoder_lora", "ssf", "peft")
ADAPTING = [method for method in list_methods() if not method.from_scratch]
SIZES = {"mobile_sam": 64, "sam_vit_b": 256}


@pytest.mark.slow
@pytest.mark.parametrize("backbone", SIZES)
@pytest.mark.parametrize("method", ADAPTING, ids=lambda method: method.name)
def test_keeps_its_contract_on_large_backbones(method: Method, backbone: str) -> None:
    outcomes = list(check_method(method, Task(3, SIZES[backbone], backbone, "random")))
    if "UnsupportedError" in (outcomes[0].failure or ""):
        pytest.skip(str(outcomes[0].failure))
    assert [outcome for outcome in outcomes if outcome.failure] == []


@pytest.mark.slow
@pytest.mark.parametrize("backbone", SIZES)
@pytest.mark.parametrize("method", ADAPTING, ids=lambda method: method.name)
def test_a_merged_model_gives_the_same_logits(method: Method, backbone: str) -> None:
    task = Task(3, SIZES[backbone], backbone, "random")
    try:
        model = build_model(method, task).eval()
    except UnsupportedError as error:
        pytest.skip(str(error))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # adapters that start at zero would hide a mistake
            if parameter.requires_grad:
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=random))
        images = random_batch(task)[0].float() / 255
        logits = model(images, *example_prompts(model, task))
        try:
            merged = merge(model)
        except UnsupportedError:
            assert method.name not in MERGED
            return
        outputs = merged.eval()(images, *example_prompts(model, task))
    torch.testing.assert_close(outputs, logits, rtol=1e-3, atol=1e-3)
