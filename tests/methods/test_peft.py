"""The small methods of parameter-efficient tuning, and the bridge to Hugging Face's library."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import add_decomposed_rel_pos
from torch import nn

from bench.cost.count import cost_card
from bench.errors import UnsupportedError, UserError
from bench.learn.loop import make_optimizer, train_step
from bench.learn.losses import ce_dice
from bench.learn.model import Model, ModelInput
from bench.plugins.registry import get_method
from bench.sam import load_sam, merge
from bench.spec import Recipe, Task

BRIDGE: Any = importlib.import_module("bench.methods.peft_bridge")
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def task(backbone: str = "sam_nano") -> Task:
    return Task(num_classes=3, image_size=64, backbone=backbone, weights="random")


def build(name: str, backbone: str = "sam_nano", **options: Any) -> Any:
    torch.manual_seed(0)
    return get_method(name).build(task(backbone), **options).eval()


def base(backbone: str = "sam_nano") -> Any:
    torch.manual_seed(0)
    return load_sam(task(backbone)).image_encoder.eval()


def learned(encoder: nn.Module) -> set[str]:
    return {name for name, p in encoder.named_parameters() if p.requires_grad}


@torch.no_grad()
def as_if_trained(model: nn.Module) -> None:
    random = torch.Generator().manual_seed(9)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=random), alpha=0.02)


@pytest.mark.parametrize("name", ["bias_only", "norm_only", "ssf", "prompt_tokens", "peft"])
def test_the_loss_falls(name: str) -> None:
    method = get_method(name)
    model = build(name).train()
    assert method.lr is not None
    recipe = Recipe(lr=method.lr, precision="fp32")
    trained = Model(model, Task(3, 64, "sam_nano", "random"), recipe)
    optimizer = make_optimizer(trained)
    images, masks = (IMAGES * 255).to(torch.uint8), (IMAGES[:, 0] * 3).to(torch.uint8)
    losses = [train_step(trained, optimizer, ModelInput(images), masks).item() for _ in range(6)]
    with torch.no_grad():
        losses.append(ce_dice(model(images / 255), masks).item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("backbone", ["sam_nano", "mobile_sam"])
def test_bias_only_leaves_all_but_biases(backbone: str) -> None:
    encoder = build("bias_only", backbone).image_encoder
    found = learned(encoder)
    assert found == {n for n, _ in base(backbone).named_parameters() if n.endswith(".bias")} - {
        "trunk.head.fc.bias", "trunk.head.norm.bias"
    }  # fmt: skip
    assert not any("attention_biases" in name for name in found)


def test_norm_only_has_two_numbers_a_channel_of_every_norm() -> None:
    """Width 96: two norms in each of 4 blocks, and two in the neck."""
    encoder = build("norm_only").image_encoder
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == (4 * 2 + 2) * 2 * 96


def test_ssf_has_two_numbers_a_channel_of_every_layer() -> None:
    """Patch embedding, in each of 4 blocks 2 norms, qkv, proj and MLP, two norms in the neck."""
    encoder = build("ssf").image_encoder
    channels = 96 + 4 * (2 * 96 + 3 * 96 + 96 + 4 * 96 + 96) + 2 * 96
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == 2 * channels


@pytest.mark.parametrize("backbone", ["sam_nano", "mobile_sam"])
def test_ssf_starts_as_the_base_and_merges_into_it(backbone: str) -> None:
    model, plain = build("ssf", backbone), base(backbone)
    with torch.no_grad():
        assert torch.equal(model.image_encoder(IMAGES), plain(IMAGES))
    as_if_trained(model)
    merged = merge(model)
    with torch.no_grad():
        torch.testing.assert_close(merged(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-4)
    encoder = merged.get_submodule("image_encoder").state_dict()
    assert encoder.keys() == plain.state_dict().keys()
    assert any(not torch.equal(encoder[key], value) for key, value in plain.state_dict().items())


@pytest.mark.parametrize("window", [0, 3])
def test_prompts_are_attended_to_beside_every_window(window: int) -> None:
    """Against segment_anything's words, window by window, with the prompts' columns set in."""
    model = build("prompt_tokens", tokens=5)
    attention = model.image_encoder.blocks[2 if window == 0 else 0].attn
    attention.layer.window = window
    side, layer = 6, attention.layer
    for name in ("rel_pos_h", "rel_pos_w"):
        length = 2 * (window or side) - 1
        setattr(layer, name, nn.Parameter(torch.randn(length, layer.rel_pos_h.shape[1])))
    x = torch.randn(1, side, side, 96)
    with torch.no_grad():
        found = attention(x)
        step = window or side
        for top in range(0, side, step):
            for left in range(0, side, step):
                patch = x[:, top : top + step, left : left + step]
                wanted = _by_definition(layer, patch, attention.prompts)
                there = found[:, top : top + step, left : left + step]
                torch.testing.assert_close(there, wanted, rtol=1e-4, atol=1e-5)


def _by_definition(layer: Any, patch: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    _, rows, columns, width = patch.shape
    heads, count = layer.num_heads, rows * columns
    tokens = torch.cat([patch.reshape(count, width), prompts])
    q, k, v = layer.qkv(tokens).view(len(tokens), 3, heads, -1).permute(1, 2, 0, 3)
    logits = layer.scale * q @ k.transpose(1, 2)
    size = (rows, columns)
    tables = layer.rel_pos_h, layer.rel_pos_w
    placed = add_decomposed_rel_pos(logits[:, :count, :count], q[:, :count], *tables, size, size)
    logits = torch.cat([placed, logits[:, :count, count:]], -1)
    out = F.softmax(logits, -1) @ v
    return layer.proj(out.transpose(0, 1).reshape(1, rows, columns, width))


def test_windows_that_do_not_fit_the_image_are_padded_as_without_prompts() -> None:
    """Prompts whose logits vanish change nothing."""
    model = build("prompt_tokens", tokens=1)
    attention = model.image_encoder.blocks[0].attn
    layer = attention.layer
    layer.window = 5  # of 8 tokens a side
    for name in ("rel_pos_h", "rel_pos_w"):
        setattr(layer, name, nn.Parameter(torch.randn(9, layer.rel_pos_h.shape[1])))
    x = torch.randn(1, 8, 8, 96)
    with torch.no_grad():
        layer.qkv.weight[96:192] = 0.0  # keys
        layer.qkv.bias[96:192] = 0.0
        plain = layer(x)
        layer.qkv.bias[:96] = 0.0
        assert attention(x).shape == plain.shape
        attention.prompts.zero_()
        layer.qkv.bias[192:] = 0.0
        shrunk = attention(x) - layer.proj.bias
        whole = layer(x) - layer.proj.bias
    # One more key of value 0 takes a share of each pixel's attention, the same for all channels.
    share = (shrunk * whole).sum(-1) / whole.square().sum(-1)
    assert ((share > 0) & (share <= 1)).all()


def test_prompt_tokens_are_depth_times_count_times_width() -> None:
    for tokens in (1, 10):
        encoder = build("prompt_tokens", tokens=tokens).image_encoder
        assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == 4 * tokens * 96


def test_prompt_tokens_know_sams_vit_only() -> None:
    with pytest.raises(UnsupportedError, match="visual prompt tuning"):
        build("prompt_tokens", "mobile_sam")
    with pytest.raises(UserError, match="tokens 0 is too small"):
        build("prompt_tokens", tokens=0)


NOT_THE_BASE = ("c3a", "fourierft")
NOT_MERGED = ("lily",)


@pytest.mark.parametrize("kind", BRIDGE.TUNERS)
def test_every_tuner_of_peft_that_is_offered_fits(kind: str) -> None:
    model, plain = build("peft", type=kind), base()
    with torch.no_grad():
        change = (model.image_encoder(IMAGES) - plain(IMAGES)).abs().max()
    assert (change < 1e-4) == (kind not in NOT_THE_BASE)
    encoder = model.image_encoder
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    assert parameters
    as_if_trained(encoder)
    encoder(IMAGES).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)
    if kind in NOT_MERGED:
        with pytest.raises(UnsupportedError, match="cannot be merged"):
            merge(encoder)
        return
    merged = merge(encoder)
    assert merged.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(merged(IMAGES), encoder(IMAGES), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", BRIDGE.TUNERS)
def test_every_tuner_of_peft_that_is_offered_can_be_counted(kind: str) -> None:
    card = cost_card(get_method("peft"), {"type": kind}, Task(3, 64, "sam_nano", "random"))
    assert card.added_params > 0 or kind in ("ln_tuning", "osf")


@pytest.mark.parametrize("rank", [4, 8])
@pytest.mark.parametrize(
    ("kind", "scale"),
    [("lora", 1), ("rslora", 1), ("gralora", 1), ("loha", 1), ("lokr", 1), ("randlora", 20)],
)
def test_updates_are_scaled_alike_whatever_the_rank(kind: str, scale: int, rank: int) -> None:
    encoder = build("peft", type=kind, rank=rank).image_encoder
    layers = [part.layer for part in encoder.modules() if isinstance(part, BRIDGE.Bridged)]
    assert layers
    assert all(layer.scaling["default"] == pytest.approx(scale) for layer in layers)


@pytest.mark.parametrize("targets", ["qkv", "attention", "all"])
@pytest.mark.parametrize("backbone", ["sam_nano", "mobile_sam"])
def test_the_bridge_finds_its_layers(backbone: str, targets: str) -> None:
    encoder = build("peft", backbone, targets=targets).image_encoder
    bridged = [part for part in encoder.modules() if isinstance(part, BRIDGE.Bridged)]
    assert len(bridged) == {"qkv": 1, "attention": 2, "all": 4}[targets] * len(encoder.blocks)


def test_every_tuner_of_the_library_is_offered_or_explained() -> None:
    peft: Any = importlib.import_module("peft")
    known = {kind.value.lower() for kind in peft.PeftType}
    assert known <= BRIDGE.TUNERS.keys() | BRIDGE.UNFIT.keys()
    assert not BRIDGE.TUNERS.keys() & BRIDGE.UNFIT.keys()


def test_the_documents_list_what_fits_and_what_does_not() -> None:
    text = (Path(__file__).parents[2] / "docs" / "peft.md").read_text()
    for kind, tuner in BRIDGE.TUNERS.items():
        assert f"| `{kind}` | `{tuner.config}` | " in text
    for kind, reason in BRIDGE.UNFIT.items():
        assert f"| `{kind}` | {reason} |" in text


def test_what_does_not_fit_says_why() -> None:
    with pytest.raises(UnsupportedError, match="peft's prefix_tuning adds prompts before"):
        build("peft", type="prefix_tuning")
    with pytest.raises(UserError, match="no type 'lorra' in peft: did you mean lora"):
        build("peft", type="lorra")
    with pytest.raises(UserError, match="peft's ia3 has no rank: leave rank=4 out"):
        build("peft", type="ia3", rank=4)
    for options in ({"rank": 0}, {"targets": "neck"}):
        with pytest.raises(UserError):
            build("peft", **options)


def test_without_the_library_the_method_is_told_to_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.delitem(sys.modules, "bench.methods.peft_bridge")
    with pytest.raises(ImportError, match="install the extra 'peft'"):
        importlib.import_module("bench.methods.peft_bridge")
