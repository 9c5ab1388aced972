"""SAM 3's tracker against the library's own model, and the layouts and terms of its weights."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_models import predicted, randomise, sam3
from torch import Tensor, nn

from bench.cli import main
from bench.errors import UnsupportedError, UserError
from bench.plugins.registry import get_method
from bench.sam import SamSegmenter, load_sam
from bench.sam.backbone import get_backbone
from bench.sam.backbones.sam3 import read
from bench.sam.build import load_tensors
from bench.sam.decoder import predict_masks
from bench.sam.sam3 import Sam3Sizes, build_sam3
from bench.spec import Task

SIDE = 112
SIZES = Sam3Sizes(64, 4, 3, mlp=96, global_blocks=(1,), window=3, channels=32)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_those_of_the_library() -> None:
    with torch.device("meta"):
        assert get_backbone("sam3").parameters == parameters(sam3())


@torch.no_grad()
def test_masks_are_those_of_the_library() -> None:
    theirs = sam3(SIDE, SIZES)
    randomise(theirs)
    ours = build_sam3(SIZES, SIDE, 4).eval()
    load_tensors(ours, read(theirs.state_dict()), "hub", "sam3")
    # The library adds the embedding of no memory to the coarsest map, which is not used. The
    # authors drop that map first.
    del theirs.vision_encoder.neck.fpn_layers[3]
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[4.0, 8, 40, 50], [20, 10, 90, 103]])
    sparse, dense = ours.prompt_encoder(None, boxes, None)
    positions = ours.prompt_encoder.get_dense_pe()
    embeddings = ours.image_encoder(images)
    masks, scores = predict_masks(ours.mask_decoder, embeddings, positions, sparse, dense)
    expected, expected_scores = predicted(theirs, images, boxes)
    assert expected.std() > 0.01
    torch.testing.assert_close(masks, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores, expected_scores, atol=1e-4, rtol=1e-4)


META = (
    (r"^image_encoder\.neck\.no_memory$", "tracker.no_mem_embed"),
    (r"^image_encoder\.neck\.conv_s", "tracker.sam_mask_decoder.conv_s"),
    (r"neck\.fpn_layers\.(\d)\.scale_layers\.2", r"sam2_convs.\1.dconv_2x2_1"),
    (r"neck\.fpn_layers\.0\.scale_layers\.0", "sam2_convs.0.dconv_2x2_0"),
    (r"neck\.fpn_layers\.1\.scale_layers\.0", "sam2_convs.1.dconv_2x2"),
    (r"neck\.fpn_layers\.(\d)\.proj1", r"sam2_convs.\1.conv_1x1"),
    (r"neck\.fpn_layers\.(\d)\.proj2", r"sam2_convs.\1.conv_3x3"),
    (r"^image_encoder\.sam2", "detector.backbone.vision_backbone.sam2"),
    (r"(blocks\.\d+\.mlp)\.lin", r"\1.fc"),
    (r"^image_encoder\.", "detector.backbone.vision_backbone.trunk."),
    (r"(transformer\.layers\.\d\.mlp)\.lin1", r"\1.layers.0"),
    (r"(transformer\.layers\.\d\.mlp)\.lin2", r"\1.layers.1"),
    (r"^(mask_decoder|prompt_encoder)\.", r"tracker.sam_\1."),
)


def test_metas_file_of_the_whole_model_is_read() -> None:
    torch.manual_seed(0)
    expected: dict[str, Tensor] = build_sam3(SIZES, SIDE, 4).state_dict()
    state = {}
    for name, value in expected.items():
        for pattern, replacement in META:
            name = re.sub(pattern, replacement, name)
        state[name] = value
    trunk = "detector.backbone.vision_backbone.trunk"
    for known in (f"{trunk}.blocks.1.attn.qkv.weight", "tracker.sam_mask_decoder.conv_s1.bias"):
        assert known in state
    state["tracker.no_mem_embed"] = state["tracker.no_mem_embed"].reshape(1, 1, -1)
    positions = state[f"{trunk}.pos_embed"]
    state[f"{trunk}.pos_embed"] = torch.cat([positions[:, :1], positions], dim=1)
    state[f"{trunk}.blocks.1.attn.freqs_cis"] = torch.zeros(64, 8, dtype=torch.complex64)
    state["detector.backbone.vision_backbone.convs.2.conv_1x1.weight"] = torch.zeros(1)
    state["tracker.maskmem_backbone.out_proj.weight"] = torch.zeros(1)
    found = read(state)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_the_hubs_file_of_the_whole_model_is_read() -> None:
    theirs = sam3(SIDE, SIZES)
    randomise(theirs)
    alone: dict[str, Tensor] = theirs.state_dict()
    whole: dict[str, Tensor] = {}
    for name, value in alone.items():
        if name.startswith("vision_encoder.neck."):
            name = name.replace("vision_encoder.neck.", "tracker_neck.")
        elif name.startswith("vision_encoder."):
            name = f"detector_model.{name}"
        else:
            name = f"tracker_model.{name}"
        whole[name] = value
    whole["detector_model.vision_encoder.neck.fpn_layers.0.proj1.bias"] = torch.zeros(1)
    expected, found = read(alone), read(whole)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_weights_need_an_accepted_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAM_BENCH_CACHE", str(tmp_path))
    task = Task(2, SIDE, "sam3", str(tmp_path / "sam3.pt"))
    with pytest.raises(UserError, match=r"sam3/blob/main/LICENSE: read it, .* accept sam3'"):
        load_sam(task)
    assert main(["weights", "list", "sam3"]) == 0
    assert "licence not accepted" in capsys.readouterr().out
    assert main(["weights", "accept", "sam3"]) == 0
    assert main(["weights", "accept", "sam_vit_b"]) == 2
    with pytest.raises(UserError, match="no checkpoint at"):
        load_sam(task)
    assert main(["weights", "list", "sam3"]) == 0
    assert "accepted" in capsys.readouterr().out.replace("licence not accepted", "")
    (tmp_path / "licences.json").write_text("{}")
    with pytest.raises(UserError, match=r"licences\.json' is damaged"):
        load_sam(task)


def test_lora_of_the_joined_layer_is_that_of_separate_ones() -> None:
    with torch.device("meta"):
        model = get_method("sam_lora").build(Task(2, 1008, "sam3", "random"))
    added = sum(p.numel() for n, p in model.named_parameters() if ".updates." in n)
    assert added == 32 * 2 * 4 * (1024 + 1024)  # q and v of 32 blocks, rank 4


def test_a_fine_grid_of_masks_needs_another_patch() -> None:
    with torch.device("meta"):
        sam = build_sam3(replace(SIZES), SIDE, 4)
        model = SamSegmenter(sam, nn.Identity())
        with pytest.raises(UnsupportedError, match="not a power of two"):
            model.refine_masks(2)
