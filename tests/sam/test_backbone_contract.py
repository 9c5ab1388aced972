"""What every backbone promises on its card, checked on the meta device."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.errors import UserError
from bench.plugins.folders import VARIABLE
from bench.sam import backbone as registry
from bench.sam.backbone import Backbone, get_backbone, list_backbones
from bench.sam.backbones import domain
from bench.sam.build import build_sam
from bench.sam.weights import cached_weights, public_files

ALL = pytest.mark.parametrize("backbone", list_backbones(), ids=lambda one: one.name)
PLUGIN = """
from dataclasses import replace
from bench.sam.backbone import get_backbone, register_backbone

register_backbone(replace(get_backbone("sam_nano"), name="my_sam", weights=None, file=__file__))
"""


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@ALL
def test_the_card_is_complete(backbone: Backbone) -> None:
    assert backbone.paper.startswith("https://")
    assert all((backbone.summary, backbone.licence, backbone.trained_on))
    assert Path(backbone.file).is_file()
    assert backbone.image_size % backbone.step == 0
    if backbone.public is not None:
        assert backbone.public.address.startswith("https://")
        assert backbone.public.sha256 is None or len(backbone.public.sha256) == 64


@ALL
def test_parameters_and_blocks_are_those_of_the_card(backbone: Backbone) -> None:
    with torch.device("meta"):
        sam = build_sam(backbone.name, backbone.image_size)
    assert count(sam) == backbone.parameters
    assert len(sam.image_encoder.blocks) == backbone.blocks
    fused = [hasattr(getattr(block, "attn", None), "qkv") for block in sam.image_encoder.blocks]
    assert all(fused) == (backbone.projections == "fused")


@ALL
def test_sides_that_do_not_fit_are_refused(backbone: Backbone) -> None:
    for side in (0, backbone.step // 2, backbone.step + 1):
        with pytest.raises(UserError, match=f"give a multiple of {backbone.step}"):
            build_sam(backbone.name, side)


def test_files_in_the_cache_have_names_of_their_own() -> None:
    names = [cached_weights(name).name for name in public_files()]
    assert len(set(names)) == len(names)
    assert cached_weights("sam_vit_b").name == "sam_vit_b.pth"
    assert cached_weights("micro_sam_vit_b_lm").name == "micro_sam_vit_b_lm.pt"


@pytest.mark.parametrize("start", domain.STARTS, ids=lambda one: one.name)
def test_start_weights_of_a_domain_have_the_layout_of_sam(start: domain.Start) -> None:
    plain, mine = get_backbone(start.of), get_backbone(start.name)
    assert (mine.vit, mine.read, mine.parameters) == (plain.vit, plain.read, plain.parameters)
    assert mine.public is not None
    assert mine.public.sha256 is None, "no publisher states one: do not invent it"


def test_backbones_are_listed_by_size() -> None:
    names = [backbone.name for backbone in list_backbones()]
    assert names[0] == "sam_nano"
    assert names.index("sam_vit_b") < names.index("sam_vit_l") < names.index("sam_vit_h")


def test_a_plugin_folder_can_hold_backbones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "backbones").mkdir()
    (tmp_path / "backbones" / "my_sam.py").write_text(PLUGIN)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(registry._BACKBONES, "entries", dict(registry._BACKBONES.entries))
    monkeypatch.setattr(registry._BACKBONES, "external", set())
    assert get_backbone("my_sam").parameters == get_backbone("sam_nano").parameters
    with torch.device("meta"):
        assert count(build_sam("my_sam", 256)) == 1_093_284
