"""Each finding of the README holds in the records behind it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bench
from bench.plugins.registry import get_method
from bench.report.compare.across_datasets import find_standings
from bench.stats.paired import SIGNIFICANCE, signed_rank

RESULTS = Path(__file__).parents[2] / "results"
EIGHT_SETS, OBJECTS = RESULTS / "eight_sets", RESULTS / "objects"
SETS = ["steel", "particles", "nuclei", "camouflage", "shadow", "organs", "dsb2018", "emps"]


@pytest.fixture(scope="module")
def results() -> bench.Results:
    return bench.load_results(EIGHT_SETS)


def _rows(results: bench.Results, name: str) -> pd.DataFrame:
    """The rows of a table without prompts and without a SAM at random weights, by their labels."""
    table = results.table(name)
    usual = (table["weights"] == "pretrained") | (table["backbone"] == "none")
    return table[(table["prompts"] == "none") & usual].set_index("label")


def test_full_leads_everywhere_and_lora_is_second(results: bench.Results) -> None:
    standings = find_standings(results._comparisons)
    (standing,) = [each for each in standings if each.title == "across 8 datasets"]
    assert [row.label for row in standing.methods[:2]] == ["full", "lora"]
    for name in SETS:
        dice = _rows(results, name)["dice_dataset"]
        assert dice[["full", "lora", "decoder_only", "unet"]].idxmax() == "full", name


def _by_specimen(results: bench.Results, dataset: str, method: str) -> dict[str, float]:
    """Mean Dice of the images of each test specimen, over the seeds."""
    values: dict[str, list[float]] = {}
    for record in results.records:
        if (record.cell.dataset_name, record.cell.label) == (dataset, method):
            for row in record.per_image:
                if row["dice"] is not None:
                    values.setdefault(row["group"], []).append(row["dice"])
    return {group: float(np.mean(part)) for group, part in values.items()}


def test_the_lead_of_full_over_lora_is_significant_on_six(results: bench.Results) -> None:
    significant = 0
    for name in SETS:
        full, lora = (_by_specimen(results, name, method) for method in ("full", "lora"))
        (p,) = signed_rank([np.array([full[group] - lora[group] for group in full])])
        significant += p <= SIGNIFICANCE
    assert significant == 6


@pytest.mark.parametrize("name", ["nuclei", "particles", "dsb2018", "emps"])
def test_methods_are_close_on_nuclei_and_particles(name: str, results: bench.Results) -> None:
    rows = _rows(results, name)
    dice, memory = rows["dice_dataset"], rows["train_peak_bytes"]
    assert dice["full"] - dice["lora"] < 0.015
    assert 0.005 < dice["full"] - dice["decoder_only"] < 0.03
    assert memory["decoder_only"] < memory["full"] / 2


def test_the_encoder_must_be_trained_on_shadows(results: bench.Results) -> None:
    rows = _rows(results, "shadow")
    dice = rows["dice_dataset"][["full", "lora", "decoder_only"]]
    assert dice.tolist() == pytest.approx([0.89, 0.81, 0.49], abs=0.005)
    assert rows["dice_dataset_mark"][["lora", "decoder_only"]].tolist() == ["worse", "worse"]


def test_a_unet_from_scratch_is_the_best_on_steel(results: bench.Results) -> None:
    rows = _rows(results, "steel")
    assert len(rows) == 27
    marks = rows["dice_dataset_mark"]
    assert marks["unet3plus[width=8]"] == "best"
    assert set(marks.drop("unet3plus[width=8]")) == {"worse"}
    dice, memory = rows["dice_dataset"], rows["train_peak_bytes"]
    ahead = dice["unet3plus[width=8]"] - dice[["full", "lora"]]
    assert ahead.tolist() == pytest.approx([0.05, 0.13], abs=0.005)
    scratch = [name for name in dice.index if get_method(name.partition("[")[0]).from_scratch]
    assert dice.drop(scratch).idxmax() == "full"
    assert memory["unet3plus[width=8]"] / memory["full"] == pytest.approx(2.4, abs=0.05)
    nuclei = _rows(results, "dsb2018")["dice_dataset"]
    assert nuclei["full"] - nuclei["unet3plus[width=8]"] == pytest.approx(0.25, abs=0.01)


def test_learned_distances_count_particles_better_than_class_maps() -> None:
    """The mean over the seeds of each adapted SAM."""
    records = bench.load_results(OBJECTS).records
    scores: dict[tuple[str, str], list[Mapping[str, float | None]]] = {}
    for record in records:
        cell, recipe = record.cell, record.cell.recipe
        if (cell.dataset, cell.task.mask_grid, recipe.evaluation) == (
            "particles",
            "coarse",
            "whole",
        ):
            scores.setdefault((cell.method, recipe.objects), []).append(record.metrics)

    def mean(method: str, rule: str, name: str) -> float:
        values = [run[name] for run in scores[method, rule]]
        assert len(values) == 3
        return float(np.mean(np.array(values, float)))

    for method in ("lora", "full", "decoder_only"):
        components, distances = (
            mean(method, rule, "pq_dataset") for rule in ("components", "distances")
        )
        assert distances > 2.9 * components
        found = [
            1 + mean(method, rule, "particles_relative_error/particle")
            for rule in ("components", "distances")
        ]
        assert found == pytest.approx([0.2, 0.6], abs=0.03)
