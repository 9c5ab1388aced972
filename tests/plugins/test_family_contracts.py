"""The contract of every method on every family of backbones, in small sizes."""

import json
from pathlib import Path

import pytest
import torch
from small_backbones import register, small_backbones

from bench.cli import main
from bench.cli.backbones import markdown
from bench.contract.methods import build_model, check_method
from bench.cost.families import smallest_of_families, try_pairs
from bench.errors import UnsupportedError
from bench.plugins.registry import Method, get_method, list_methods
from bench.sam import merge
from bench.sam.backbone import list_backbones
from bench.spec import Task

ADAPTING = [method for method in list_methods() if not method.from_scratch]
NAMES = [backbone.name for backbone in small_backbones()]
# Methods that need SAM's own ViT blocks, and those that need attention.
NEED_VIT = {"med_sa", "prompt_tokens", "sam_adapter"}
NEED_ATTENTION = {"adapter", "lora", "mobile_sam_lora", "peft", "sam_lora", "samed", "samed_s"}
REFUSED = {
    "small_hq": set[str](),
    "small_sam2": NEED_VIT,
    "small_edgetam": NEED_VIT | NEED_ATTENTION,
    "small_efficient": set[str](),
    "small_sam3": set[str](),
}
SIDE = 64


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


@pytest.mark.parametrize("backbone", NAMES)
@pytest.mark.parametrize("method", ADAPTING, ids=lambda method: method.name)
def test_runs_or_is_refused_with_a_reason(method: Method, backbone: str) -> None:
    task = Task(3, SIDE, backbone, "random")
    with torch.device("meta"):
        if method.name in REFUSED[backbone]:
            with pytest.raises(UnsupportedError, match="this backbone"):
                method.build(task)
        else:
            assert method.build(task)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", NAMES)
@pytest.mark.parametrize("method", ADAPTING, ids=lambda method: method.name)
def test_keeps_its_contract_on_every_family(method: Method, backbone: str) -> None:
    if method.name in REFUSED[backbone]:
        pytest.skip("refused")
    outcomes = list(check_method(method, Task(3, SIDE, backbone, "random")))
    assert [outcome for outcome in outcomes if outcome.failure] == []


@pytest.mark.parametrize(("backbone", "method"), [("small_hq", "lora"), ("small_sam2", "lora")])
def test_a_merged_model_gives_the_same_logits(backbone: str, method: str) -> None:
    model = build_model(get_method(method), Task(3, SIDE, backbone, "random")).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".updates." in name:
                parameter.add_(0.05 * torch.randn(parameter.shape))
        images = torch.rand(2, 3, SIDE, SIDE)
        torch.testing.assert_close(merge(model).eval()(images), model(images), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_table_of_the_page_is_that_of_the_command() -> None:
    real = [one for one in list_backbones() if not one.name.startswith("small_")]
    pairs = try_pairs(list_methods(built_in_only=True), smallest_of_families(real))
    page = Path(__file__).parents[2] / "docs" / "backbones.md"
    assert "\n".join(markdown(pairs)) in page.read_text()


def test_names_and_numbers_are_whole_in_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ["sam_nano", "mobile_sam", "efficient_sam_vit_tiny", "sam2_hiera_tiny", "sam_vit_b"]
    assert main(["backbones", *names, "--methods", "lora"]) == 0
    text = capsys.readouterr().out
    assert "…" not in text
    assert [name for name in names if name not in text] == []
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("lora") == 2  # two tables


def test_a_table_of_pairs_numbers_the_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["backbones", "sam_nano", "small_edgetam", "--methods", "lora,decoder_only"]
    assert main([*words, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| method | sam_nano | small_edgetam |"
    assert lines[2] == "| lora | 374,556 | no (1) |"
    assert lines[-1].startswith("1. LoRA changes the attention of encoder blocks, and the encoder")
    assert main([*words, "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)
    assert [pair["refusal"] is None for pair in pairs] == [True, False, True, True]
    assert main(["backbones", "sam_nan"]) == 2
