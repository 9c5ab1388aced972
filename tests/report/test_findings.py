"""Each finding of the README holds in the records of the reference."""

from pathlib import Path

import pandas as pd
import pytest

import bench
from bench.report.compare.across_datasets import find_standings

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


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


def test_class_maps_do_not_count_particles(results: bench.Results) -> None:
    rows = _rows(results, "particles")
    assert rows["dice_dataset"].max() > 0.8
    assert rows["pq_dataset"].max() < 0.2
