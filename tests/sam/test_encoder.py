"""The fast encoder against `segment_anything`'s own, values and gradients."""

import functools

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from bench.sam import encoder
from bench.sam.encoder import FastBlock


def pair(size: int, window: int, heads: int = 2) -> tuple[ImageEncoderViT, ImageEncoderViT]:
    """The plain encoder and the fast one, with the same weights and visible position tables."""
    torch.manual_seed(0)
    plain = ImageEncoderViT(
        img_size=size,
        patch_size=16,
        embed_dim=48,
        depth=4,
        num_heads=heads,
        out_chans=16,
        norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=window,
        global_attn_indexes=(1, 3),
    )
    for name, parameter in plain.named_parameters():
        if "pos" in name or "bias" in name:
            nn.init.normal_(parameter, std=0.3)
    fast = ImageEncoderViT(img_size=size, patch_size=16, embed_dim=48, depth=0, out_chans=16)
    fast.blocks.extend(
        FastBlock(
            dim=48,
            num_heads=heads,
            norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=0 if index in (1, 3) else window,
            input_size=(size // 16, size // 16),
        )
        for index in range(4)
    )
    fast.load_state_dict(plain.state_dict())
    return plain, fast


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("size", "window"), [(128, 8), (160, 4), (208, 5), (80, 7)])
def test_values_and_gradients_are_those_of_segment_anything(
    monkeypatch: pytest.MonkeyPatch, size: int, window: int, fused: bool
) -> None:
    monkeypatch.setattr(encoder, "FUSED_FROM", {torch.float32: 0 if fused else 10**9})
    plain, fast = pair(size, window)
    found: list[tuple[Tensor, dict[str, Tensor]]] = []
    for model in (plain, fast):
        image = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
        out = model(image)
        out.square().mean().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((out.detach(), gradients))
    torch.testing.assert_close(found[1][0], found[0][0], atol=1e-5, rtol=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def test_bf16_differs_by_its_own_precision_alone() -> None:
    plain, fast = pair(160, 4)
    image = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        theirs, ours = plain(image).float(), fast(image).float()
    with torch.no_grad():
        exact = plain(image)
    assert (ours - exact).abs().mean() < 1.2 * (theirs - exact).abs().mean()
