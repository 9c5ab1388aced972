"""What the page packs to answer under limits: needs, results of tests, families, papers."""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from records import make_cell, make_cost, make_record

from bench.plugins.registry import list_methods
from bench.report.compare.against import differences
from bench.report.compare.comparison import make_comparisons
from bench.report.page import Report, build_page, unpack
from bench.report.page.choices import filters_of, nice_steps, sliders_of
from bench.report.page.families import rank_order
from bench.report.page.ledgers import Ledger, sum_up
from bench.report.page.references import references_of
from bench.report.published.differences import Order, PublishedDifference
from bench.report.published.ledger import Entry, Page
from bench.report.records.columns import DICE
from bench.report.records.frame import to_frame

METHODS = {"lora": 0.82, "adapter": 0.8, "frozen_head": 0.6, "unet": 0.5}


def make_report(specimens: int = 30) -> Report:
    records = [
        make_record(
            make_cell(method, dataset=dataset, backbone="none" if method == "unet" else "sam_nano"),
            dice=dice,
            image_dice=[dice + 0.1 * math.sin(7 * place + i) for i in range(specimens)],
            cost=make_cost(10_000 * 10**place, peak_mib=100.0 * (place + 1)),
        )
        for dataset in ("steel", "nuclei", "emps")
        for place, (method, dice) in enumerate(METHODS.items())
    ]
    nothing = dataclasses.replace(make_cost(0), train_wall_s=None, train_peak_bytes=None)
    records.append(make_record(make_cell("zero_shot"), prompts="oracle", cost=nothing))
    frame = to_frame(records)
    return Report(records, frame, make_comparisons(frame))


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report()


def packed(page: str, section: str, name: str) -> Any:
    view = page[page.index(f'<section class="view" id="{section}"') :]
    return unpack(re.findall(rf'data-name="{name}">(.*?)</script>', view)[0])


@pytest.fixture(scope="module")
def choices(report: Report) -> list[Mapping[str, Any]]:
    packed_choices: list[Mapping[str, Any]] = packed(build_page(report), "overview", "choices")[
        "comparisons"
    ]
    return packed_choices


def test_needs_are_those_of_the_records(choices: list[Mapping[str, Any]]) -> None:
    steel = next(one for one in choices if one["id"] == "comparison-steel")
    needs = {row["label"]: row["needs"] for row in steel["rows"]}
    assert needs["lora"] == {"memory": 100.0, "trainable": 0.01, "time": 120.0}
    assert needs["unet"]["memory"] == 400.0
    assert needs["zero_shot"] == dict.fromkeys(needs["lora"], 0.0), "it trains nothing"
    families = {row["label"]: row["family"] for row in steel["rows"]}
    assert families["lora"] == "low_rank"
    assert families["unet"] == "scratch"


def test_results_are_those_of_the_tests(report: Report, choices: list[Mapping[str, Any]]) -> None:
    steel = next(one for one in report.comparisons if one.slug == "steel")
    results = next(one for one in choices if one["id"] == "comparison-steel")["results"]
    block = steel.blocks[0]
    for place, reference in enumerate(block.rows):
        expected = {
            str(block.rows.index(one.row)): one.result
            for one in differences(block, [DICE], reference.name)
        }
        assert {other: result for other, (result, _) in results[str(place)].items()} == expected
    below = {other: within for other, (_, within) in results["0"].items()}
    for place, within in block.within.items():
        assert below[str(place)] == pytest.approx(100 * within, abs=0.01)
    assert {result for row in results.values() for result, _ in row.values()} >= {"worse", "better"}


def test_pairs_have_the_texts_of_report_against(report: Report) -> None:
    steel = next(one for one in report.comparisons if one.slug == "steel")
    pairs = packed(build_page(report), "comparison-steel", "pairs")["dice_dataset"]
    (one,) = (
        one
        for one in differences(steel.blocks[0], [DICE], "adapter")
        if one.row.label == "frozen_head"
    )
    rows = [row.label for row in steel.rows]
    texts = next(
        pair[2:] for pair in pairs if [rows[pair[0]], rows[pair[1]]] == ["adapter", "frozen_head"]
    )
    assert one.interval is not None
    low, high = (100 * end for end in one.interval)
    assert texts[:2] == [f"{100 * one.typical:+.1f}", f"{low:+.1f} to {high:+.1f}"]
    assert texts[3] == one.result == "worse"


def test_few_specimens_are_not_tested() -> None:
    report = make_report(specimens=2)
    choice = packed(build_page(report), "overview", "choices")["comparisons"][0]
    assert {one[0] for row in choice["results"].values() for one in row.values()} == {"untestable"}


def test_sliders_hold_every_need(choices: list[Mapping[str, Any]]) -> None:
    sliders = {one["name"]: one["steps"] for one in sliders_of(choices)}
    assert sliders == {
        "memory": [100.0, 150.0, 200.0, 300.0, 500.0],
        "trainable": nice_steps([0.01, 10.0]),
        "time": [100.0, 150.0],
    }
    assert nice_steps([3.1, 90.0]) == [3, 5, 7, 10, 15, 20, 30, 50, 70, 100]
    assert nice_steps([]) == []


def test_filters_have_what_occurs(choices: list[Mapping[str, Any]]) -> None:
    filters = filters_of(choices)
    assert list(filters["family"]) == ["frozen", "low_rank", "adapters", "scratch"]
    assert list(filters["prompts"]) == ["none", "oracle"]
    assert list(filters["backbone"]) == ["sam_nano", "none"]


def test_families_and_their_methods_are_in_the_order_of_ranks(report: Report) -> None:
    ranks = rank_order(report.standings, {row: look.name for row, look in report.looks.items()})
    assert {name: rank for name, (rank,) in ranks.items()} == {
        "lora": 1.0,
        "adapter": 2.0,
        "frozen_head": 3.0,
        "unet": 4.0,
    }
    page = build_page(report)
    table = page[page.index('aria-label="Methods by family">') :].partition("</table>")[0]
    lines = [re.sub("<wbr>", "", line) for line in re.findall(r'row" data-value="(\w+)">', table)]
    assert lines == [*METHODS, "zero_shot"]


def test_references_are_those_of_the_methods_papers() -> None:
    methods = {one.name: one.paper for one in list_methods(built_in_only=True)}
    references = references_of([*methods, "of_a_plugin"])
    assert {"lora", "samed", "unet"} <= references.keys()
    for name, entry in references.items():
        assert f"url = {{{methods[name]}}}" in entry
        assert entry.count("{") == entry.count("}")
    file = (Path(__file__).parents[2] / "methods" / "papers.bib").read_text()
    keywords = re.findall(r"keywords = \{(.*?)\}", file)
    assert {name for names in keywords for name in names.split(", ")} == references.keys()
    keys = re.findall(r"^@\w+\{(\w+),", file, re.MULTILINE)
    assert len(set(keys)) == len(keys) == len(keywords)


def test_a_ledger_is_summed_up() -> None:
    entries = tuple(
        Entry("line", 0.5, 0.5, None, 1, status)
        for status in ("reproduced", "not comparable: stand-in", "not comparable: sam_nano")
    )
    published = (
        PublishedDifference("a", "b", True, True),
        *(PublishedDifference("a", letter, True, False) for letter in "cd"),
        *(PublishedDifference("b", letter, False, False) for letter in "cd"),
    )
    page = Page("", "dice", "dice_dataset", "steel", entries, Order(8, published))
    summary = sum_up(Ledger(None, [page, page]))  # type: ignore[arg-type]
    assert summary.counts == {
        "reproduced": 2,
        "contradicted": 0,
        "not comparable": 4,
        "not run": 0,
    }
    assert summary.order == "6 of 10 pairs as published (2 significant), 4 reversed (0 significant)"


def test_the_scripts_are_small_and_name_no_event_in_markup() -> None:
    assets = Path(__file__).parents[2] / "bench" / "report" / "page" / "assets"
    for path in assets.glob("*.js"):
        assert len(path.read_text().splitlines()) < 200, path.name
    for path in assets.glob("*.j2"):
        assert not re.search(r"\son\w+=", path.read_text()), path.name
