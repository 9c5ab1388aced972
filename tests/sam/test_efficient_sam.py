"""EfficientSAM against an independent model, in the authors' layout with random weights."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from efficient_sam_reference import predict, random_state, shapes
from torch import Tensor

from bench.errors import UnsupportedError
from bench.plugins.registry import get_method
from bench.sam import Sam, load_sam
from bench.sam.backbone import get_backbone
from bench.sam.backbones.efficient_sam import SIZES, read
from bench.sam.build import load_tensors
from bench.sam.decoder import predict_masks
from bench.sam.efficient import build_efficient
from bench.sam.prompt_encoder import embed_clicks
from bench.spec import Task

SIDE, DEPTH, HEADS = 96, 2, 3


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return random_state(SIZES["tiny"].width, DEPTH)


@pytest.fixture(scope="module")
def sam(state: dict[str, Tensor]) -> Sam:
    small = build_efficient(replace(SIZES["tiny"], depth=DEPTH), SIDE, 4).eval()
    load_tensors(small, read(state), "file", "efficient_sam_vit_tiny")
    return small


@pytest.mark.parametrize(("size", "width"), [("tiny", 192), ("small", 384)])
def test_parameters_are_those_of_the_published_layout(size: str, width: int) -> None:
    counts = {name: math.prod(shape) for name, shape in shapes(width).items()}
    del counts["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    assert get_backbone(f"efficient_sam_vit_{size}").parameters == sum(counts.values())


def test_a_published_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "efficient_sam_vitt.pt"
    published = random_state(192, 12)
    torch.save({"model": published}, file)
    sam = load_sam(Task(2, SIDE, "efficient_sam_vit_tiny", str(file)))
    tensors = sam.state_dict()
    assert len(tensors) == len(published)
    block, token = "image_encoder.blocks.3.mlp", "prompt_encoder.point_embeddings.1.weight"
    assert torch.equal(tensors[f"{block}.lin1.weight"], published[f"{block}.fc1.weight"])
    assert torch.equal(tensors[token], published["prompt_encoder.point_embeddings.weight"])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["box", "clicks"])
def test_masks_are_those_of_the_reference(sam: Sam, state: dict[str, Tensor], kind: str) -> None:
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    points = torch.tensor([[[4.0, 8], [40, 50]], [[20, 10], [60, 33]]])
    if kind == "box":
        labels = torch.tensor([[2, 3], [2, 3]])
        sparse, dense = sam.prompt_encoder(None, points.flatten(1), None)
    else:
        labels = torch.ones(2, 2, dtype=torch.int64)
        sparse, dense = sam.prompt_encoder((points, labels), None, None)
        assert torch.equal(sparse, embed_clicks(sam.prompt_encoder, points))
    positions = sam.prompt_encoder.get_dense_pe()
    embeddings = sam.image_encoder(images)
    masks, scores = predict_masks(sam.mask_decoder, embeddings, positions, sparse, dense)
    expected, expected_scores = predict(state, images, points, labels, HEADS)
    assert expected.std() > 0.1
    torch.testing.assert_close(masks, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores, expected_scores, atol=1e-4, rtol=1e-4)


def test_prompts_it_cannot_read_are_refused(sam: Sam) -> None:
    with pytest.raises(UnsupportedError, match="at most 6 points of a prompt, and this one has 7"):
        embed_clicks(sam.prompt_encoder, torch.zeros(1, 7, 2))
    with pytest.raises(UnsupportedError, match="takes no mask as a prompt"):
        sam.prompt_encoder(None, None, torch.zeros(1, 1, 24, 24))


@pytest.mark.parametrize(
    ("method", "options"), [("med_sa", {"condition": "add"}), ("sam_adapter", {"own_codes": True})]
)
def test_options_that_need_sams_own_parts_are_refused(
    method: str, options: dict[str, str | bool]
) -> None:
    task = Task(2, SIDE, "efficient_sam_vit_tiny", "random")
    with torch.device("meta"), pytest.raises(UnsupportedError, match="this backbone"):
        get_method(method).build(task, **options)
