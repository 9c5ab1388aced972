"""SAM's successors against the library's own models, on the same random weights."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_models import HIERA, edgetam, predicted, randomise, sam2, sam_hq
from torch import Tensor, nn

from bench.errors import UnsupportedError, UserError
from bench.plugins.registry import get_method
from bench.sam import Sam, load_sam
from bench.sam.backbone import get_backbone
from bench.sam.build import build_sam, load_tensors
from bench.sam.decoder import predict_masks, prepare_images
from bench.spec import Task

SIDE = 64


def ours_like(model: Any, backbone: str) -> Sam:
    """Our model with the weights of the library's."""
    sam = build_sam(backbone, SIDE).eval()
    load_tensors(sam, get_backbone(backbone).read(model.state_dict()), "hub", backbone)
    return sam


def masks_of(sam: Sam, images: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Mask logits (B, 4, s, s) and IoU (B, 4) of one box for each image."""
    embeddings = prepare_images(sam.mask_decoder, sam.image_encoder(images))
    sparse, dense = sam.prompt_encoder(None, boxes, None)
    positions = sam.prompt_encoder.get_dense_pe()
    return predict_masks(sam.mask_decoder, embeddings, positions, sparse, dense)


@pytest.mark.parametrize(
    ("backbone", "make"),
    [("sam_hq_vit_b", sam_hq), ("sam2_hiera_tiny", sam2), ("edgetam", edgetam)],
)
@torch.no_grad()
def test_masks_are_those_of_the_library(backbone: str, make: Callable[[int], Any]) -> None:
    theirs = make(SIDE)
    randomise(theirs)
    ours = ours_like(theirs, backbone)
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[4.0, 8, 40, 50], [20, 10, 60, 33]])
    masks, scores = masks_of(ours, images, boxes)
    expected, expected_scores = predicted(theirs, images, boxes)
    order = scores[:, 1:].argsort(1, descending=True) + 1
    if backbone != "sam_hq_vit_b":
        order = torch.arange(1, 4).expand(2, -1)
    order = torch.cat([torch.zeros(2, 1, dtype=torch.int64), order], dim=1)
    rows = torch.arange(2)[:, None]
    torch.testing.assert_close(scores[rows, order], expected_scores, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(masks[rows, order], expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.01


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("size", HIERA)
def test_sam2_has_the_parameters_of_the_library(size: str) -> None:
    with torch.device("meta"):
        assert get_backbone(f"sam2_hiera_{size}").parameters == parameters(sam2(1024, size))


def test_sam_hq_has_the_parameters_of_the_library() -> None:
    with torch.device("meta"):
        theirs = sam_hq(1024)
    code = theirs.shared_image_embedding.positional_embedding  # not a parameter in SAM's own code
    assert get_backbone("sam_hq_vit_b").parameters == parameters(theirs) - code.numel()


def test_edgetam_has_the_parameters_of_the_library() -> None:
    with torch.device("meta"):
        assert get_backbone("edgetam").parameters == parameters(edgetam(1024))


def test_edgetam_reads_the_authors_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam = build_sam("edgetam", SIDE)
    state = {}
    for name, value in sam.state_dict().items():
        name = meta_name(name).replace("encoder.trunk.", "encoder.trunk.body.")
        state[name.replace("body.stages.", "body.stages_")] = value
    assert "image_encoder.trunk.body.stages_0.blocks.0.token_mixer.conv.bn.weight" in state
    torch.save({"model": state}, tmp_path / "edgetam.pt")
    read = load_sam(Task(2, SIDE, "edgetam", str(tmp_path / "edgetam.pt"))).state_dict()
    assert all(torch.equal(read[name], value) for name, value in sam.state_dict().items())


@pytest.mark.parametrize("method", ["lora", "adapter", "samed", "peft"])
def test_a_convolutional_encoder_has_no_attention_to_adapt(method: str) -> None:
    with torch.device("meta"), pytest.raises(UnsupportedError, match="has convolutions only"):
        get_method(method).build(Task(2, SIDE, "edgetam", "random"))


def test_lora_on_sam2_is_in_every_block_and_starts_as_the_base() -> None:
    torch.manual_seed(0)
    task = Task(3, SIDE, "sam2_hiera_tiny", "random")
    model = get_method("lora").build(task)
    added = [p for n, p in model.named_parameters() if ".updates." in n]
    assert sum(p.numel() for p in added) == 69_888
    torch.manual_seed(0)
    plain = get_method("decoder_only").build(task)
    images = torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        assert torch.equal(model(images), plain(images))


def meta_name(name: str) -> str:
    """The name in Meta's checkpoints of SAM 2 of one of our tensors."""
    name = re.sub(r"trunk\.(blocks\.\d+\.mlp)\.fc(\d)", _counted_layer, name)
    name = re.sub(r"neck\.convs\.(\d)", r"neck.convs.\1.conv", name)
    name = name.replace("image_encoder.neck.no_memory", "no_mem_embed")
    name = name.replace("image_encoder.neck.conv_s", "sam_mask_decoder.conv_s")
    name = re.sub(
        r"transformer\.(layers\.\d\.mlp)\.lin(\d)",
        lambda m: f"transformer.{m[1]}.layers.{int(m[2]) - 1}",
        name,
    )
    return re.sub(r"^(prompt_encoder|mask_decoder)", r"sam_\1", name)


def _counted_layer(match: re.Match[str]) -> str:
    return f"trunk.{match[1]}.layers.{int(match[2]) - 1}"


def test_sam2_reads_metas_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam = build_sam("sam2_hiera_tiny", SIDE)
    state = {meta_name(name): value for name, value in sam.state_dict().items()}
    state["no_mem_embed"] = state["no_mem_embed"].reshape(1, 1, -1)
    for known in (
        "image_encoder.trunk.blocks.3.mlp.layers.1.weight",
        "image_encoder.neck.convs.0.conv.weight",
        "sam_mask_decoder.transformer.layers.1.mlp.layers.0.weight",
        "sam_mask_decoder.conv_s1.bias",
        "sam_mask_decoder.pred_obj_score_head.layers.2.weight",
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ):
        assert known in state
    state["memory_attention.norm.weight"] = torch.zeros(256)
    torch.save({"model": state}, tmp_path / "sam2.1_hiera_tiny.pt")
    task = Task(2, SIDE, "sam2_hiera_tiny", str(tmp_path / "sam2.1_hiera_tiny.pt"))
    read = load_sam(task).state_dict()
    assert all(torch.equal(read[name], value) for name, value in sam.state_dict().items())


@pytest.mark.parametrize("make", [sam2])
def test_a_folder_of_the_hub_is_read(make: Callable[[int], Any], tmp_path: Path) -> None:
    theirs = make(SIDE)
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    sam = load_sam(Task(2, SIDE, "sam2_hiera_tiny", str(tmp_path)))
    weight = theirs.vision_encoder.neck.convs[2].weight
    assert torch.equal(sam.image_encoder.neck.convs[2].weight, weight)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        load_sam(Task(2, SIDE, "sam2_hiera_tiny", str(tmp_path)))
