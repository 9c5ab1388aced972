"""The SAM methods of the literature against what was counted and seen in their original code."""

import importlib
import math
from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import UnsupportedError
from bench.plugins.registry import get_method
from bench.sam import Prompts
from bench.sam.encoder import FastBlock
from bench.sam.lora import LowRank
from bench.spec import Task


def build_on_meta(name: str, backbone: str, size: int, classes: int, **options: Any) -> Any:
    with torch.device("meta"):
        return get_method(name).build(Task(classes + 1, size, backbone, "random"), **options)


def count(model: nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained)


# Trainable and total; each counted in the original code at 8 foreground classes and 512 px.
SAMED = [
    ("samed", "sam_vit_b", {"rank": 1}, 4_803_029, 92_081_877),
    ("samed", "sam_vit_b", {"rank": 4}, 4_913_621, 92_192_469),
    ("samed", "sam_vit_b", {"rank": 16}, 5_355_989, 92_634_837),
    ("samed", "sam_vit_b", {"rank": 64}, 7_125_461, 94_404_309),
    ("samed_s", "sam_vit_b", {"rank": 1}, 1_517_653, 92_087_765),
    ("samed_s", "sam_vit_b", {"rank": 4}, 1_645_909, 92_216_021),
    ("samed_s", "sam_vit_b", {"rank": 16}, 2_158_933, 92_729_045),
    ("samed_s", "sam_vit_b", {"rank": 64}, 4_211_029, 94_781_141),
    ("samed", "sam_vit_l", {}, 5_159_381, None),
    ("samed_s", "sam_vit_l", {}, 1_891_669, None),
    ("samed", "sam_vit_h", {}, 5_421_525, None),
    ("samed_s", "sam_vit_h", {}, 2_153_813, None),
    ("samed", "sam_vit_b", {"targets": "q"}, 4_839_893, None),
    ("samed", "sam_vit_b", {"targets": "qkvo"}, 5_061_077, None),
]


@pytest.mark.parametrize(("name", "backbone", "options", "trained", "total"), SAMED)
def test_samed_has_the_originals_counts(
    name: str, backbone: str, options: dict[str, Any], trained: int, total: int | None
) -> None:
    model = build_on_meta(name, backbone, 512, 8, **options)
    assert count(model, trained=True) == trained
    assert total is None or count(model) == total


# Trainable and total at 1024 px, two classes.
MEDICAL_LORA = {"rank": 4, "alpha": 1.0, "targets": "qvm"}
LORA_DECODER = 3_645_856  # two mask tokens, without the IoU head
OTHERS = [
    ("sam_lora", "sam_vit_b", {"rank": 2}, 73_728, 93_809_200),
    ("sam_lora", "sam_vit_b", {"rank": 4}, 147_456, 93_882_928),
    ("sam_lora", "sam_vit_b", {"rank": 8}, 294_912, 94_030_384),
    ("sam_lora", "sam_vit_b", {"rank": 16}, 589_824, 94_325_296),
    ("sam_lora", "sam_vit_b", {"rank": 64}, 2_359_296, 96_094_768),
    ("sam_lora", "sam_vit_b", {"rank": 128}, 4_718_592, 98_454_064),
    ("sam_lora", "sam_vit_b", {"rank": 256}, 9_437_184, 103_172_656),
    ("sam_lora", "sam_vit_b", {"rank": 512}, 18_874_368, 112_609_840),
    ("sam_lora", "sam_vit_b", {"rank": 1024}, 37_748_736, 131_484_208),
    ("sam_adapter", "sam_vit_b", {}, 4_121_908, 93_792_820),
    ("sam_adapter", "sam_vit_l", {}, 4_175_140, 312_453_412),
    ("sam_adapter", "sam_vit_h", {}, 4_245_556, 641_271_604),
    ("med_sa", "sam_vit_b", {"dims": 3}, 14_709_732, 104_386_864),
    ("med_sa", "sam_vit_l", {"dims": 3}, 41_899_236, 350_183_728),
    ("med_sa", "sam_vit_h", {"dims": 3}, 82_855_140, 719_887_408),
    ("med_sa", "sam_vit_l", {}, 25_227_264 + 4_058_340, None),
    ("med_sa", "sam_vit_h", {}, 52_531_200 + 4_058_340, None),
    ("med_sa", "sam_vit_b", {"decoder": "frozen"}, 7_100_928, 93_735_472 + 7_100_928),
    # Two adapters a block learn on images; the original carries the third one along, unused.
    ("med_sa", "sam_vit_b", {}, 7_100_928 + 4_058_340, 93_735_472 + 7_100_928),
    # LoRA as in Med-SA's repository, beside a trained decoder with one mask token a class.
    ("lora", "sam_vit_b", MEDICAL_LORA, 516_096 + LORA_DECODER, None),
    ("lora", "sam_vit_h", MEDICAL_LORA, 2_293_760 + LORA_DECODER, None),
    ("medsam", "sam_vit_b", {}, 93_729_252, 93_735_472),
    ("medsam", "sam_vit_l", {}, 312_336_612, 312_342_832),
    ("medsam", "sam_vit_h", {}, 641_084_388, 641_090_608),
    ("mobile_sam_lora", "mobile_sam", {}, 384_386, 6_449_918),
]


@pytest.mark.parametrize(("name", "backbone", "options", "trained", "total"), OTHERS)
def test_other_methods_have_the_originals_counts(
    name: str, backbone: str, options: dict[str, Any], trained: int, total: int | None
) -> None:
    model = build_on_meta(name, backbone, 1024, 1, **options)
    assert count(model, trained=True) == trained
    assert total is None or count(model) == total


def test_the_prompt_generator_has_the_originals_parts() -> None:
    generator = build_on_meta("sam_adapter", "sam_vit_b", 1024, 1).generator
    assert count(generator) == 63_312
    assert count(generator.shared) == 19_200
    assert count(generator.embedding) == 18_456
    assert count(generator.blocks) == 7_200
    assert count(generator.frequencies) == 18_456


def test_new_parts_start_as_in_the_originals() -> None:
    """SAM-Adapter: narrow normals. LoRA: Kaiming-uniform and zero. Med-SA: not at zero."""
    generator = build("sam_adapter").generator
    for layer in (generator.embedding, generator.shared):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    frequencies = generator.frequencies
    spread = math.sqrt(2 / (frequencies.out_channels * math.prod(frequencies.kernel_size)))
    assert frequencies.weight.std().item() == pytest.approx(spread, rel=0.1)
    updates = [part for part in build("samed").modules() if isinstance(part, LowRank)]
    assert len(updates) == 8  # queries and values of four blocks
    for update in updates:
        bound = 1 / math.sqrt(update.a.in_features)
        assert 0.9 * bound < update.a.weight.abs().max().item() <= bound
        assert not update.b.weight.any()
    adapter = build("med_sa").image_encoder.blocks[0].mlp_adapter
    for layer in (adapter.down, adapter.up):
        bound = 1 / math.sqrt(layer.in_features)
        assert 0.9 * bound < layer.weight.abs().max().item() <= bound


def test_a_block_of_med_sa_is_its_formula() -> None:
    """Space adapter with skip on the attention; half an adapter without skip beside the MLP."""
    block = build("med_sa").image_encoder.blocks[-1]
    x = torch.randn(1, 8, 8, 96, generator=torch.Generator().manual_seed(0))

    def bottleneck(adapter: Any, tokens: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.gelu(tokens @ adapter.down.weight.T + adapter.down.bias)
        return hidden @ adapter.up.weight.T + adapter.up.bias

    with torch.no_grad():
        attended = block.attn(block.norm1(x))
        y = x + attended + bottleneck(block.space_adapter, attended)
        normed = block.norm2(y)
        expected = y + block.mlp(normed) + 0.5 * bottleneck(block.mlp_adapter, normed)
        assert torch.allclose(block(x), expected, atol=1e-5)


def test_prompts_in_training_are_those_of_the_originals() -> None:
    rules = {name: build(name).prompt_rule for name in ("medsam", "sam_lora", "med_sa")}
    assert (rules["medsam"].jitter, rules["sam_lora"].jitter) == (20.0, 19.0)
    assert (rules["medsam"].kind, rules["sam_lora"].kind) == ("box", "box")
    assert (rules["med_sa"].kind, rules["med_sa"].clicks) == ("point", 1)
    assert [rule.unit for rule in rules.values()] == ["class", "object", "class"]
    assert get_method("sam_lora").published_options["unit"] == "class"  # one box per image


def test_the_published_protocol_sets_the_habits_of_the_public_codes() -> None:
    habits = {name: dict(get_method(name).published_options) for name in ("sam_adapter", "med_sa")}
    assert habits == {
        "sam_adapter": {"embedding": "reshaped", "own_codes": True},
        "med_sa": {"depth_groups": "windows", "depth_grid": "unequal", "padding": "norm"},
    }


def test_the_reshaped_embedding_mixes_channels_and_places() -> None:
    """2 x 2 places of 3 channels: "channel" c of place p is number 4 c + p of the 12 in memory."""
    module = importlib.import_module("bench.methods.sam_adapter")
    generator = module.PromptGenerator(nn.Conv2d(3, 3, 8, 8), 1, 1, reshaped=True)
    with torch.no_grad():
        generator.embedding.weight.copy_(torch.eye(3))
        mixed = generator.embed(torch.arange(12.0).view(1, 2, 2, 3))
    assert mixed[0].tolist() == [[[0, 4, 8], [1, 5, 9]], [[2, 6, 10], [3, 7, 11]]]


def test_a_reshaped_sam_adapter_is_its_formula() -> None:
    """The encoder's output against the public code's order of steps, written out with loops."""
    model = build("sam_adapter", embedding="reshaped")
    encoder, generator = model.image_encoder, model.generator
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        x = model.normalise(images)
        tokens = encoder.patch_embed(x)
        rows, height, width, d = tokens.shape
        numbers = tokens.flatten(1)
        viewed = torch.stack(
            [numbers[:, c * height * width :][:, : height * width] for c in range(d)]
        )
        embedded = viewed.permute(1, 2, 0) @ generator.embedding.weight.T + generator.embedding.bias
        high = generator.high(x).flatten(1, 2)
        tokens = tokens + encoder.pos_embed
        for layer, block in zip(generator.blocks, encoder.blocks, strict=True):
            prompt = generator.shared(nn.functional.gelu(layer(embedded + high)))
            tokens = block(tokens + prompt.reshape(rows, height, width, d))
        expected = encoder.neck(tokens.permute(0, 3, 1, 2))
        features = model.stages()[0].run(images)
        plain = build("sam_adapter").stages()[0].run(images)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)
    assert (plain - features).abs().max() > 1e-3


def two_factors(number: int) -> tuple[int, int]:
    """Search as in Med-SA's public code: two numbers a < b, from the square root outwards."""
    small, large = math.isqrt(number), math.isqrt(number) + 1
    while small * large != number:
        small, large = (small, large + 1) if small * large < number else (small - 1, large)
    return small, large


def test_the_grid_of_the_depth_is_that_of_the_public_code() -> None:
    sides = importlib.import_module("bench.methods.med_sa").grid_sides
    stated = {4: (1, 4), 9: (1, 9), 16: (2, 8), 25: (1, 25), 64: (4, 16), 100: (5, 20)}
    assert {depth: sides(depth, "unequal") for depth in stated} == stated
    for depth in range(2, 200):
        assert sides(depth, "unequal") == two_factors(depth)
    assert sides(1, "unequal") == sides(1, "square") == (1, 1)  # the public search does not end
    squares = {4: (2, 2), 8: (2, 4), 12: (3, 4), 16: (4, 4), 100: (10, 10)}
    assert {depth: sides(depth, "square") for depth in squares} == squares


@pytest.mark.parametrize("grid", ["square", "unequal"])
def test_attention_over_depth_is_its_formula(grid: str) -> None:
    """Four slices at one place: the block's attention on a 2 x 2 or 1 x 4 grid of normed tokens."""
    module = importlib.import_module("bench.methods.med_sa")
    torch.manual_seed(0)
    block = FastBlock(
        16, 2, 0, (4, 4), norm_layer=nn.LayerNorm, use_rel_pos=True, rel_pos_zero_init=False
    )
    nn.init.normal_(block.attn.rel_pos_h)
    nn.init.normal_(block.attn.rel_pos_w)
    adapted = module.AdaptedBlock(block, module.BlockForm(3, 4, grid=grid)).eval()
    tokens = torch.rand(4, 4, 4, 16)
    rows, columns = (2, 2) if grid == "square" else (1, 4)
    with torch.no_grad():
        normed = block.norm1(tokens[:, 1, 2])  # (4, 16)
        q, k, v = block.attn.qkv(normed).view(4, 3, 2, 8).permute(1, 2, 0, 3)
        logits = q @ k.mT / math.sqrt(8)
        tables = block.attn.rel_pos_h, block.attn.rel_pos_w  # entry n - 1 + i - j for i against j
        resized = [
            nn.functional.interpolate(table.T[None], 2 * side - 1, mode="linear")[0].T
            for table, side in zip(tables, (rows, columns), strict=True)
        ]
        for i, j in ((i, j) for i in range(4) for j in range(4)):
            down, across = i // columns - j // columns, i % columns - j % columns
            bias = resized[0][rows - 1 + down] + resized[1][columns - 1 + across]
            logits[:, i, j] += q[:, i] @ bias
        attended = (logits.softmax(-1) @ v).transpose(0, 1).flatten(1)
        expected = adapted.depth_adapter(block.attn.proj(attended))
        torch.testing.assert_close(adapted._over_depth(tokens)[:, 1, 2], expected)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"ratio": 0.5}, 4 * 2 * (2 * 96 * 48 + 48 + 96)),
        ({"placement": "mlp"}, 4 * (2 * 96 * 24 + 24 + 96)),
        ({"placement": "attention", "blocks": "0+2-3"}, 3 * (2 * 96 * 24 + 24 + 96)),
    ],
)
def test_adapters_of_med_sa_have_a_ratio_and_a_place(options: dict[str, Any], count: int) -> None:
    model = build("med_sa", **options)
    trained = {n: p for n, p in model.image_encoder.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == count
    kinds = {name.split(".")[2] for name in trained}
    place = options.get("placement", "both")
    assert (
        kinds
        == {
            "both": {"space_adapter", "mlp_adapter"},
            "mlp": {"mlp_adapter"},
            "attention": {"space_adapter"},
        }[place]
    )


def test_chained_features_differ_from_the_second_block_on() -> None:
    """The same parts; a block's output stands in for the patch embeddings."""
    shared, chained = (build("sam_adapter", features=kind) for kind in ("shared", "chained"))
    assert shared.state_dict().keys() == chained.state_dict().keys()
    seen: list[list[torch.Tensor]] = []
    for model in (shared, chained):
        taken: list[torch.Tensor] = []
        for layer in model.generator.blocks:
            layer.register_forward_hook(lambda _, given, __, taken=taken: taken.append(given[0]))
        with torch.no_grad():
            model(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
        seen.append(taken)
    assert torch.equal(seen[0][0], seen[1][0])
    assert all(torch.equal(seen[0][0], features) for features in seen[0])
    assert all(not torch.equal(seen[0][0], features) for features in seen[1][1:])


def test_slices_of_one_volume_belong_together_and_images_do_not() -> None:
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    prompts = Prompts.join([one_box(1)] * 4)
    alone = build("med_sa", dims=3, prompt="box")
    with torch.no_grad():
        together = alone(images, prompts)
        torch.testing.assert_close(alone(images[:1], one_box(1)), together[:1], atol=1e-4, rtol=0)
    torch.manual_seed(0)
    volumes = get_method("med_sa").build(
        Task(3, 64, weights="random", depth=2), dims=3, prompt="box"
    ).eval()  # fmt: skip
    with pytest.raises(UnsupportedError, match="3 slices are no whole volumes of 2"):
        volumes(images[:3], Prompts.join([one_box(1)] * 3))
    with torch.no_grad():
        first = volumes(images, prompts)
        changed = volumes(torch.cat([images[:3], images[:1]]), prompts)
    torch.testing.assert_close(first[:2], changed[:2], atol=1e-4, rtol=0)
    assert (first[2] - changed[2]).abs().max() > 1e-3


def test_high_frequencies_lack_the_centre_of_the_spectrum() -> None:
    """Of 64 px, -16 to 15 cycles an image go: a slow wave vanishes, a fast one stays."""
    high_frequencies = importlib.import_module("bench.methods.sam_adapter").high_frequencies
    x = torch.arange(64) * (2 * torch.pi / 64)
    slow, fast = (torch.sin(n * x).expand(1, 3, 64, 64) for n in (5, 20))
    assert high_frequencies(slow).abs().max() < 1e-5
    torch.testing.assert_close(high_frequencies(fast), fast.abs(), atol=1e-5, rtol=0)
    both = torch.cat([slow, slow + fast])
    torch.testing.assert_close(high_frequencies(both)[1:], fast.abs(), atol=1e-5, rtol=0)


def build(name: str, classes: int = 3, size: int = 64, **options: Any) -> Any:
    torch.manual_seed(0)
    task = Task(classes, size, weights="random")
    return get_method(name).build(task, **options).eval()


def block_outputs(groups: str, window: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens that a change of slice 1 reaches in a 3-D block, per slice of 4 x 64 x 64 tokens."""
    module = importlib.import_module("bench.methods.med_sa")
    torch.manual_seed(0)
    block = FastBlock(
        16, 2, window, (64, 64), norm_layer=nn.LayerNorm, use_rel_pos=True, rel_pos_zero_init=False
    )
    adapted = module.AdaptedBlock(block, module.BlockForm(3, 4, groups)).eval()
    tokens = torch.rand(4, 64, 64, 16)
    changed = tokens.clone()
    changed[1] += 1 + torch.rand(64, 64, 16)
    with torch.no_grad():
        moved = (adapted(tokens) - adapted(changed)).abs().amax(-1) > 1e-7
    return moved.flatten(1).sum(1), torch.tensor([4096, 4096, 4096, 4096])


def test_depth_attention_joins_slices_and_as_an_option_windows() -> None:
    """The counts of the defect are those measured in the public code."""
    reached, all_tokens = block_outputs("slices", 14)
    assert torch.equal(reached, all_tokens)
    reached, _ = block_outputs("windows", 14)
    assert reached.tolist() == [64, 4096, 224, 0]


def one_box(classes: int) -> Prompts:
    boxes = torch.tensor([[8.0, 8, 40, 48], [30, 20, 60, 60]])[:classes]
    clicks = boxes[:, None, :2] + 8
    return Prompts((boxes,), (clicks,), (torch.arange(1, classes + 1),))


@pytest.mark.parametrize("condition", ["add", "concat", "hyp"])
def test_the_decoders_adapters_see_the_prompt(condition: str) -> None:
    model = build("med_sa", condition=condition)
    adapter = model.head.mask_decoder.transformer.layers[0].prompt_adapter
    seen: list[torch.Tensor] = []
    adapter.register_forward_hook(lambda module, args, out: seen.append(out - args[0]))
    with torch.no_grad():
        model(torch.rand(1, 3, 64, 64), one_box(2))
    assert (seen[0][0] - seen[0][1]).abs().max() > 1e-6


def test_norm_padding_changes_windows_that_are_padded() -> None:
    """12 tokens a side do not fill windows of 8; a padded token is the norm's bias, or zero."""
    found = []
    for padding in ("zero", "norm"):
        block = build("med_sa", size=96, padding=padding).image_encoder.blocks[0]
        nn.init.constant_(block.norm1.bias, 0.3)
        with torch.no_grad():
            found.append(block(torch.ones(1, 12, 12, 96)))
    assert (found[0] - found[1]).abs().max() > 1e-6


def test_samed_starts_its_tokens_from_noise_and_takes_pixels_as_they_are() -> None:
    model = build("samed", classes=5)
    assert model.head.mask_decoder.num_mask_tokens == 5
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(model.normalise(images), images)
    assert model.head.mask_decoder.iou_prediction_head.layers[-1].out_features == 5


def test_medsam_stretches_each_image() -> None:
    images = torch.rand(2, 3, 64, 64) * torch.tensor([0.2, 0.5])[:, None, None, None] + 0.1
    stretched = build("medsam").normalise(images)
    assert stretched.amin((1, 2, 3)).tolist() == [0, 0]
    assert stretched.amax((1, 2, 3)).tolist() == pytest.approx([1, 1])


def test_sam_adapter_gives_the_background_the_logit_zero() -> None:
    model = build("sam_adapter", classes=2)
    with torch.no_grad():
        logits = model(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 2, 64, 64)
    assert (logits[:, 0] == 0).all()
    assert model.head.mask_decoder.num_mask_tokens == 4
    assert build("sam_adapter", classes=9).head.mask_decoder.num_mask_tokens == 8
