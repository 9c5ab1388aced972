"""The large backbones: counts, public layouts, and outputs of `segment_anything`'s own classes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor, nn

from bench.errors import UnsupportedError
from bench.plugins.registry import get_method
from bench.sam import Prompts, load_sam
from bench.sam.build import build_sam
from bench.sam.encoder import checkpoint_blocks
from bench.sam.tiny_vit import TinyViTEncoder, from_public
from bench.spec import Task

# Encoder at 224, 512 and 1024 px, and the whole model at 1024 px, counted in the original code.
COUNTS = [
    ("sam_vit_b", 224, 86_624_512, None),
    ("sam_vit_b", 512, 87_278_848, None),
    ("sam_vit_b", 1024, 89_670_912, 93_735_472),
    ("sam_vit_l", 1024, 308_278_272, 312_342_832),
    ("sam_vit_h", 1024, 637_026_048, 641_090_608),
    ("mobile_sam", 1024, 6_065_532, 10_130_092),
]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(backbone: str, size: int = 1024, mask_outputs: int = 4) -> Sam:
    with torch.device("meta"):
        return build_sam(backbone, size, mask_outputs)


@pytest.mark.parametrize(("backbone", "size", "encoder", "total"), COUNTS)
def test_counts_are_the_originals(
    backbone: str, size: int, encoder: int, total: int | None
) -> None:
    sam = on_meta(backbone, size)
    assert count(sam.image_encoder) == encoder
    assert total is None or count(sam) == total
    assert count(sam.prompt_encoder) == 6_220
    assert count(sam.mask_decoder) == 4_058_340


@pytest.mark.parametrize("classes", [1, 3, 8, 13])
def test_decoders_of_more_masks_follow_the_law(classes: int) -> None:
    decoder = on_meta("sam_vit_b", 512, classes + 1).mask_decoder
    assert count(decoder) == 3_637_377 + 140_321 * classes


@pytest.mark.parametrize("name", ["b", "l", "h"])
def test_keys_and_shapes_are_metas(name: str) -> None:
    with torch.device("meta"):
        theirs = sam_model_registry[f"vit_{name}"]().state_dict()
    ours = on_meta(f"sam_vit_{name}").state_dict()
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in theirs.items()
    }


@pytest.mark.slow
@torch.no_grad()
def test_a_public_checkpoint_gives_the_predictors_masks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = sam_model_registry["vit_b"]().eval()
    for name, parameter in theirs.named_parameters():
        if "pos" in name:
            nn.init.normal_(parameter, std=0.1)
    torch.save(theirs.state_dict(), tmp_path / "sam_vit_b_01ec64.pth")
    weights = str(tmp_path / "sam_vit_b_01ec64.pth")
    ours = load_sam(Task(2, 1024, "sam_vit_b", weights)).eval()
    image = np.random.default_rng(0).integers(256, size=(768, 1024, 3), dtype=np.uint8)
    found = []
    for sam in (theirs, ours):
        predictor = SamPredictor(sam)
        predictor.set_image(image)
        masks, _, _ = predictor.predict(
            box=np.array([100, 200, 500, 600]), multimask_output=False, return_logits=True
        )
        found.append((predictor.features, torch.from_numpy(masks)))
    for mine, meta in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine, meta, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [256, 336])
@torch.no_grad()
def test_another_side_takes_resized_positions(size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam = build_sam("sam_nano", 256)
    path = tmp_path / "own.pth"
    torch.save(sam.state_dict(), path)
    other = load_sam(Task(2, size, "sam_nano", str(path)))
    assert other.image_encoder(torch.rand(1, 3, size, size)).shape[-1] == size // 8


def public_name(name: str) -> str:
    """The name that MobileSAM's own checkpoint gives to one of our tensors."""
    name = name.replace("image_encoder.trunk.", "image_encoder.")
    name = re.sub(
        r"patch_embed\.conv([12])", lambda m: f"patch_embed.seq.{2 * int(m[1]) - 2}", name
    )
    name = re.sub(r"stages\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name)
    name = name.replace("stages.", "layers.")
    name = name.replace("encoder.head.norm.", "encoder.norm_head.").replace("head.fc.", "head.")
    inside = name.startswith("image_encoder.") and ".neck." not in name
    return re.sub(r"\.conv\.", ".c.", name) if inside else name


def test_mobile_sam_reads_the_public_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam = build_sam("mobile_sam", 1024)
    state: dict[str, Tensor] = {public_name(k): v for k, v in sam.state_dict().items()}
    for known in (
        "image_encoder.patch_embed.seq.0.c.weight",
        "image_encoder.patch_embed.seq.2.bn.running_mean",
        "image_encoder.layers.0.blocks.1.conv2.c.weight",
        "image_encoder.layers.0.downsample.conv1.c.weight",
        "image_encoder.layers.1.blocks.0.attn.attention_biases",
        "image_encoder.layers.1.blocks.0.attn.norm.weight",
        "image_encoder.layers.2.blocks.5.mlp.fc1.weight",
        "image_encoder.layers.3.blocks.1.local_conv.bn.weight",
        "image_encoder.norm_head.weight",
        "image_encoder.head.bias",
        "image_encoder.neck.0.weight",
        "mask_decoder.mask_tokens.weight",
    ):
        assert known in state
    state["image_encoder.layers.1.blocks.0.attn.attention_bias_idxs"] = torch.zeros(49, 49)
    torch.save(state, tmp_path / "mobile_sam.pt")
    read = load_sam(Task(2, 1024, "mobile_sam", str(tmp_path / "mobile_sam.pt"))).state_dict()
    assert all(torch.equal(read[key], value) for key, value in sam.state_dict().items())


def test_mobile_sam_reads_the_names_of_this_project() -> None:
    with torch.device("meta"):
        state = build_sam("mobile_sam", 64).state_dict()
    assert from_public(state).keys() == state.keys()


def test_tiny_vit_has_the_reports_parts() -> None:
    with torch.device("meta"):
        encoder = TinyViTEncoder(1024, 256)
    assert count(encoder.trunk.patch_embed) == 19_488
    assert count(encoder.trunk.head) == 321_640
    assert count(encoder.neck) == 81_920 + 512 + 589_824 + 512
    assert count(encoder.trunk.stages) == 98_944 + 448_232 + 2_030_520 + 2_473_940
    biases = sum(b.get_parameter("attn.attention_biases").numel() for b in encoder.blocks)
    assert (len(encoder.blocks), biases) == (10, 7_252)
    features = torch.zeros(1, 3, 1024, 1024, device="meta")
    shapes = []
    for stage in encoder.stages():
        features = stage.run(features)
        shapes.append(tuple(features.shape[1:]))
    assert shapes[0] == (64, 256, 256)
    assert shapes[3] == (128, 128, 128)  # H, W and channels from here to the neck
    assert shapes[6] == (64, 64, 160)
    assert shapes[-2:] == [(64, 64, 320), (256, 64, 64)]


@torch.no_grad()
def test_tiny_vits_stages_are_timms_network() -> None:
    torch.manual_seed(0)
    encoder = TinyViTEncoder(224, 32).eval()
    images = torch.rand(1, 3, 224, 224)
    maps = encoder.trunk.forward_features(images)
    torch.testing.assert_close(encoder(images), encoder.neck(maps), atol=1e-5, rtol=1e-5)


def test_frozen_batch_norms_keep_their_statistics() -> None:
    model = get_method("mobile_sam_lora").build(Task(2, 64, "mobile_sam", "random")).train()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    model(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items() if k in before)


@pytest.mark.parametrize("backbone", ["sam_vit_b", "mobile_sam"])
@pytest.mark.parametrize("name", ["lora", "adapter", "frozen_head", "samed", "sam_lora"])
def test_methods_run_on_every_encoder(name: str, backbone: str) -> None:
    """Shapes and trainable sets, on the meta device."""
    task = Task(3, 256, backbone, "random")
    with torch.device("meta"):
        model = get_method(name).build(task).to("meta")
    images = torch.zeros(2, 3, 256, 256, device="meta")
    prompts = Prompts(
        (torch.zeros(1, 4, device="meta"),) * 2,
        (torch.zeros(1, 1, 2, device="meta"),) * 2,
        (torch.ones(1, dtype=torch.int64),) * 2,
    )
    beside = (prompts,) if get_method(name).prompts == "oracle" else ()
    assert model(images, *beside).shape == (2, 3, 256, 256)
    assert any(p.requires_grad for p in model.parameters())


def test_checkpointing_changes_nothing_but_memory() -> None:
    torch.manual_seed(0)
    encoder = build_sam("sam_nano", 64).image_encoder
    images = torch.rand(2, 3, 64, 64)
    found = []
    for _ in range(2):
        encoder.zero_grad()
        out = encoder(images)
        out.square().mean().backward()
        found.append([out.detach(), *(p.grad.clone() for p in encoder.parameters())])
        checkpoint_blocks(encoder)
    for plain, again in zip(*found, strict=True):
        assert torch.equal(plain, again)


def test_checkpointing_knows_where_it_would_change_something() -> None:
    with pytest.raises(UnsupportedError, match="BatchNorm, whose statistics would be taken twice"):
        checkpoint_blocks(build_sam("mobile_sam", 64).image_encoder)
    with pytest.raises(UnsupportedError, match="no encoder blocks"):
        checkpoint_blocks(nn.Conv2d(3, 2, 1))
