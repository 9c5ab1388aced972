"""Each finding of the README holds in the records behind it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bench
from bench.report.compare.across_datasets import find_standings

RESULTS = Path(__file__).parents[2] / "results"
REFERENCE, OBJECTS = RESULTS / "reference", RESULTS / "objects"


@pytest.fixture(scope="module")
def results() -> bench.Results:
    return bench.load_results(REFERENCE)


def _rows(results: bench.Results, name: str) -> pd.DataFrame:
    """The rows of a table without prompts and without a SAM at random weights, by their labels."""
    table = results.table(name)
    usual = (table["weights"] == "pretrained") | (table["backbone"] == "none")
    return table[(table["prompts"] == "none") & usual].set_index("label")


def test_full_has_the_best_rank_and_lora_the_second(results: bench.Results) -> None:
    standings = find_standings(results._comparisons)
    (standing,) = [each for each in standings if each.title == "across 11 datasets"]
    assert [row.label for row in standing.methods[:2]] == ["full", "lora"]
    assert any(first == 0 and last >= 1 for first, last in standing.cliques)


def test_the_decoder_alone_is_enough_on_nuclei(results: bench.Results) -> None:
    rows = _rows(results, "dsb2018")
    assert rows["dice_dataset_mark"]["full"] == "best"
    assert rows["dice_dataset_mark"]["decoder_only"] == "tied"
    memory = rows["train_peak_bytes"]
    assert memory["decoder_only"] < memory["full"] / 2


def test_full_and_lora_lead_on_shadows(results: bench.Results) -> None:
    dice = _rows(results, "shadow")["dice_dataset"]
    assert dice["full"] > dice["lora"] > dice["decoder_only"]


def test_unets_from_scratch_lead_on_steel(results: bench.Results) -> None:
    rows = _rows(results, "steel")
    scratch = rows["backbone"] == "none"
    unets = rows["dice_dataset"][["unet3plus[width=8]", "attention_unet[width=8]"]]
    assert unets.min() > rows["dice_dataset"][~scratch].max()


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
