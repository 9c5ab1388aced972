"""Whether two backbones rank methods alike: worked examples."""

from collections.abc import Sequence

import numpy as np
import pytest

from bench.ask import proxy
from bench.ask.suites import SuiteChoice
from bench.errors import UserError
from bench.report.published.rank_agreement import (
    agreement_markdown,
    find_agreements,
    mean_agreement,
)
from bench.spec import Cell, Recipe, Record, Task

METHODS = ("full", "lora", "adapter", "decoder_only")
LARGE = "sam_vit_b"


def _runs(
    backbone: str,
    dice: Sequence[float],
    dataset: str = "steel",
    seeds: int = 2,
    specimens: int = 8,
    noise: float = 0.001,
) -> list[Record]:
    """Runs whose Dice on each image of 100 + 100 pixels is that of the method, with noise."""
    rng = np.random.default_rng(len(dataset))
    records = []
    for method, value in zip(METHODS, dice, strict=True):
        for seed in range(seeds):
            images = [
                {
                    "name": f"i{at}",
                    "group": f"g{at}",
                    "overlap_px/x": 100 * (value + noise * rng.normal()),
                    "truth_px/x": 100,
                    "predicted_px/x": 100,
                }
                for at in range(specimens)
            ]
            records.append(
                Record(
                    Cell(method, dataset, Task(2, backbone=backbone), Recipe(lr=1e-3), seed=seed),
                    "ok",
                    prompts="none",
                    classes=("rest", "x"),
                    metrics={"dice_dataset": value},
                    per_image=tuple(images),
                )
            )
    return records


def test_one_swapped_pair_of_four_methods_gives_two_thirds() -> None:
    runs = _runs("sam_nano", (0.9, 0.8, 0.7, 0.6)) + _runs(LARGE, (0.95, 0.85, 0.7, 0.75))
    (one,) = find_agreements(runs, LARGE)
    assert one.tau == pytest.approx((5 - 1) / 6)
    assert (one.kind, one.specimens, one.seeds, len(one.methods)) == ("metals", 8, 2, 4)
    assert one.bounds is not None
    assert one.tau in one.bounds
    assert one.repeats == (1.0, 1.0)


def test_the_mean_is_over_datasets_and_the_verdict_follows_its_interval() -> None:
    same = (0.9, 0.8, 0.7, 0.6)
    runs = [
        *_runs("sam_nano", same),
        *_runs(LARGE, same),
        *_runs("sam_nano", same, "nuclei"),
        *_runs(LARGE, same[::-1], "nuclei"),
    ]
    agreements = find_agreements(runs, LARGE)
    tau, bounds = mean_agreement(agreements)
    assert tau == 0
    assert bounds is not None
    assert (bounds.low, bounds.high) == (-1, 1)
    assert "do not decide" in agreement_markdown(agreements, LARGE)
    alike = agreement_markdown(find_agreements(runs[:16], LARGE), LARGE)
    assert "agree better than by chance" in alike
    assert "1.00 [1.00, 1.00]" in alike


def test_methods_with_other_numbers_of_seeds_are_left_out() -> None:
    runs = _runs("sam_nano", (0.9, 0.8, 0.7, 0.6)) + _runs(LARGE, (0.9, 0.8, 0.7, 0.6))
    (one,) = find_agreements(runs[:-1], LARGE)
    assert one.methods == ("adapter", "full", "lora")
    assert not find_agreements(runs[:12], LARGE)
    nuclei = [_runs(name, (0.9, 0.8, 0.7, 0.6), "nuclei") for name in ("sam_nano", LARGE)]
    text = agreement_markdown(find_agreements([*runs[:-1], *nuclei[0], *nuclei[1]], LARGE), LARGE)
    assert (
        "Left out, because runs of a backbone failed or are missing: steel (decoder_only)." in text
    )
    assert "Not known" in agreement_markdown([], LARGE)


def test_one_specimen_is_not_testable() -> None:
    runs = [
        *_runs("sam_nano", (0.9, 0.8, 0.7, 0.6), specimens=1),
        *_runs(LARGE, (0.9, 0.8, 0.7, 0.6), specimens=1),
    ]
    agreements = find_agreements(runs, LARGE)
    assert agreements[0].tau == 1
    assert agreements[0].bounds is None
    assert "Not testable" in agreement_markdown(agreements, LARGE)


def test_both_backbones_have_the_same_grid() -> None:
    request = {"backbones": "mobile_sam", "weights": "random", "image_size": 128, "steps": 2}
    cells, _ = proxy.expand_proxy(SuiteChoice("steel", "2", request))
    by_backbone = {
        name: [cell for cell in cells if cell.task.backbone == name]
        for name in ("sam_nano", "mobile_sam")
    }
    assert len(cells) == 2 * 2 * 10  # two seeds, two backbones, ten methods
    assert [(c.label, c.seed, c.recipe.steps) for c in by_backbone["sam_nano"]] == [
        (c.label, c.seed, c.recipe.steps) for c in by_backbone["mobile_sam"]
    ]
    sizes = {name: {c.task.image_size for c in group} for name, group in by_backbone.items()}
    assert sizes == {"sam_nano": {256}, "mobile_sam": {128}}
    assert {c.task.weights for c in by_backbone["sam_nano"]} == {"pretrained"}


def test_the_large_backbone_is_one_other_than_the_small_one() -> None:
    assert proxy.large_backbone(SuiteChoice()) == LARGE
    assert proxy.large_backbone(SuiteChoice(request={"backbones": "sam_nano"})) == LARGE
    with pytest.raises(UserError, match="compares one backbone"):
        proxy.large_backbone(SuiteChoice(request={"backbones": "sam_vit_b,sam_vit_l"}))
