"""The cost card against counts by hand and against files that are really written."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.cli import main
from bench.cost.count import cost_card
from bench.cost.flops import count_flops
from bench.cost.params import checkpoint_bytes, trained_state
from bench.plugins.registry import get_method
from bench.sam.build import build_sam, load_sam
from bench.sam.foundation import count_added
from bench.sam.segmenter import SemanticDecoder
from bench.spec import Task


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    assert main(["cost", *words, "--json"]) == 0
    cards: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return cards


def test_cards_are_the_originals_counts(capsys: pytest.CaptureFixture[str]) -> None:
    samed, adapter = asked(
        capsys,
        *("--methods", "samed[rank=4],sam_adapter", "--backbone", "sam_vit_b"),
        *("--image-size", "512", "--classes", "8"),
    )
    assert samed["method"] == "samed[rank=4]"  # as asked, though 4 is the default
    assert (samed["backbone"], samed["image_size"], samed["num_classes"]) == ("sam_vit_b", 512, 8)
    assert samed["total_params"] == 92_192_469
    assert samed["trainable_params"] == 4_913_621
    assert samed["added_params"] == 147_456
    assert samed["output_shape"] == [1, 9, 512, 512]
    # 63,312 at 1024 px and at 512 px alike: nothing in the generator depends on the side.
    assert adapter["added_params"] == 63_312


def test_lora_adds_its_law(capsys: pytest.CaptureFixture[str]) -> None:
    cards = asked(capsys, "--methods", "lora[rank=1|16,targets=qv|qkvo]", "--backbone", "sam_vit_b")
    per_rank = {"qv": 36_864, "qkvo": 73_728}  # 12 blocks of width 768
    added = {str(card["method"]): card["added_params"] for card in cards}
    assert added == {
        "lora[rank=1,targets=qv]": per_rank["qv"],
        "lora[rank=1,targets=qkvo]": per_rank["qkvo"],
        "lora[rank=16,targets=qv]": 16 * per_rank["qv"],
        "lora[rank=16,targets=qkvo]": 16 * per_rank["qkvo"],
    }


class Wrapped(nn.Module):
    """A module under a name that no method of this project uses, and a parameter (width,)."""

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        self.the_original = inner
        self.factor = nn.Parameter(torch.ones(width))


def test_only_parameters_that_the_foundation_model_lacks_are_added() -> None:
    with torch.device("meta"):
        sam = load_sam(Task(2, 64, weights="random"))
        assert count_added(sam) == count_added(copy.deepcopy(sam)) == 0
        sam.image_encoder.blocks[0].mlp = Wrapped(sam.image_encoder.blocks[0].mlp, 96)
        sam.mask_decoder.transformer.layers[0].mlp.lin1 = Wrapped(nn.Identity(), 5)
        head = SemanticDecoder(sam, 9, fresh_tokens=True, iou_head=True, prompt_encoder=True)
        sam.mask_decoder.iou_token = nn.Embedding(1, 96)
    assert count_added(sam) == 96 + 5 + 96
    assert count_added(copy.deepcopy(head)) == 5  # nine tokens instead of four add nothing


@pytest.mark.parametrize("name", ["lora", "samed", "unet", "frozen_head", "med_sa"])
def test_the_file_has_the_size_that_the_card_tells(name: str, tmp_path: Path) -> None:
    task = Task(3, 64, weights="random")
    model = get_method(name).build(task)
    path = tmp_path / "trained.safetensors"
    state = {key: value.contiguous() for key, value in trained_state(model).items()}
    save_file(state, path)
    assert cost_card(get_method(name), {}, task).counts.saved_bytes == path.stat().st_size


def test_files_of_several_types_have_the_size_told(tmp_path: Path) -> None:
    state = {"b": torch.zeros(3, dtype=torch.int64), "a": torch.zeros(5), "c": torch.zeros(())}
    save_file(state, tmp_path / "mixed.safetensors")
    assert checkpoint_bytes(state) == (tmp_path / "mixed.safetensors").stat().st_size


def test_forward_flops_are_those_of_a_hand_count() -> None:
    """One block of 8 x 8 tokens of width 16 in one window: projections, products, MLP, tables."""
    from bench.sam.encoder import FastBlock

    block = FastBlock(16, 2, 0, (8, 8), norm_layer=nn.LayerNorm, use_rel_pos=True).to("meta")
    tokens, d = 64, 16
    projections = 2 * tokens * d * (3 * d + d)
    products = 2 * (2 * tokens * tokens * d)
    tables = 2 * (2 * tokens * 8 * d)  # each query with the 8 rows and the 8 columns it sees
    mlp = 2 * 2 * tokens * d * 4 * d
    counted = count_flops(lambda: block(torch.zeros(1, 8, 8, 16, device="meta")))
    assert counted == projections + products + tables + mlp


def test_the_plain_encoder_is_counted_alike_but_for_padding() -> None:
    """64 tokens a side fill windows of 16: nothing is padded, so both count the same."""
    from segment_anything.modeling import ImageEncoderViT

    with torch.device("meta"):
        ours = build_sam("sam_nano", 256).image_encoder
        plain = ImageEncoderViT(
            256, 8, embed_dim=96, depth=4, num_heads=3, out_chans=96, use_rel_pos=True,
            window_size=8, global_attn_indexes=(2,),
        )  # fmt: skip
    image = torch.zeros(1, 3, 256, 256, device="meta")
    assert count_flops(lambda: ours(image)) == count_flops(lambda: plain(image))


def test_training_steps_cost_more_the_more_learns() -> None:
    task = Task(3, 64, weights="random")
    steps = [
        cost_card(get_method(name), {}, task).counts.train_step_flops
        for name in ("zero_shot", "decoder_only", "lora", "full")
    ]
    assert steps[0] == 0
    assert steps == sorted(steps)


@pytest.mark.parametrize("name", ["unet", "deeplabv3plus"])
def test_training_from_scratch_is_three_forward_passes_but_for_the_first_layer(name: str) -> None:
    """Also with BatchNorm over a single number a channel, which cannot train on one image."""
    card = cost_card(get_method(name), {}, Task(3, 64, "none", "random"))
    counts = card.counts
    assert counts.output_shape == (1, 3, 64, 64)
    assert card.added_params == counts.trainable_params == counts.total_params
    assert 2.5 < counts.train_step_flops / counts.forward_flops < 3


def test_what_learns_from_more_than_logits_is_counted_with_it() -> None:
    method, task = get_method("unet3plus"), Task(3, 64, "none", "random")
    plain, supervised = (cost_card(method, {"supervision": on}, task) for on in (False, True))
    assert supervised.counts.train_step_flops > plain.counts.train_step_flops


def test_a_step_costs_as_much_more_as_it_has_images() -> None:
    method, task = get_method("lora"), Task(3, 64, weights="random")
    one, four = (cost_card(method, {}, task, batch).counts for batch in (1, 4))
    assert one.forward_flops == four.forward_flops
    # Just below 4: what does not depend on the images is computed once a step.
    assert 3.99 < four.train_step_flops / one.train_step_flops < 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--methods", "lorra"], "Did you mean 'lora'"),
        (["--methods", "lora", "--backbone", "sam_vit_x"], "no backbone 'sam_vit_x'"),
        (["--methods", "lora", "--image-size", "100"], "give a multiple of 8"),
        (["--methods", "lora", "--classes", "0"], "--classes is 0"),
        (["--methods", "sam_adapter", "--backbone", "mobile_sam"], "SAM's ViT blocks"),
        ([], "--methods"),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["cost", *words]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_the_table_fits_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["cost", "--methods", "lora,samed,unet", "--backbone", "sam_vit_b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any(line.split()[:1] == ["unet"] for line in lines)


def test_what_cannot_be_counted_leaves_the_others_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--methods", "sam_adapter,samed", "--backbone", "mobile_sam", "--json")
    assert main(["cost", *words]) == 0
    told = capsys.readouterr()
    assert [card["method"] for card in json.loads(told.out)] == ["samed"]
    assert "left out: sam_adapter on mobile_sam: SAM-Adapter" in told.err


def test_a_card_names_the_prompt_origin_of_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    cards = asked(capsys, "--methods", "zero_shot[prompt=box|image]", "--image-size", "64")
    assert [card["prompts"] for card in cards] == ["oracle", "automatic"]
