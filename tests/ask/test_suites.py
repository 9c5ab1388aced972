"""Suites find their published figures, and the ledger claims no more than it may."""

import csv
import dataclasses
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from records import make_failure, make_record

from bench import cli
from bench.ask.coverage import list_coverage
from bench.ask.method_words import parse_methods
from bench.ask.published import PUBLISHED
from bench.ask.suites import (
    Suite,
    SuiteChoice,
    SuiteLine,
    _suites,
    expand_suite,
    get_suite,
    list_suites,
    request_of,
)
from bench.errors import UserError
from bench.plugins.registry import list_datasets
from bench.report.published.counted import count_line, counted_markdown
from bench.report.published.ledger import Page, ledger
from bench.report.published.ledger_file import ledger_markdown, read_note, write_ledger
from bench.report.records.columns import get_column
from bench.sam.backbone import list_backbones
from bench.spec import Cell, Recipe, Record, Task

SUITES = list_suites()
WITHOUT_FIGURE = {("samed-rank", "rank=64")}


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_line_can_be_run_and_has_its_figure(suite: Suite) -> None:
    names = {dataset.name for dataset in list_datasets()}
    assert suite.stand_in in names if suite.counted is None else suite.stand_in == ""
    assert set(suite.originals.values()) - {""} <= names
    assert suite.backbone in {"", *(one.name for one in list_backbones())}
    for line in suite.lines:
        if not line.run:
            assert line.reason, line
            continue
        assert len(parse_methods(line.run)) == 1
        if suite.figures and suite.source and (suite.name, line.setting) not in WITHOUT_FIGURE:
            found = [
                suite.published(line, dataset, metric)
                for dataset in suite.originals
                for metric in suite.figures
            ]
            assert any(value is not None for value in found), line


def test_figures_in_per_cent_are_fractions_and_error_rates_are_not() -> None:
    rank = get_suite("samed-rank")
    published = rank.published(rank.lines[0], "Synapse multi-organ CT", "DSC mean")
    assert published is not None
    assert 0.5 < published < 1
    shadow = get_suite("sam-adapter-shadow")
    error = shadow.published(SuiteLine("SAM-Adapter"), "ISTD", "BER")
    assert error is not None
    assert 1 < error < 2


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_figures_stand_beside_figures_of_their_unit(suite: Suite) -> None:
    """By kind of figure; other units are named, and such figures never judged."""
    same = {
        "%": {"%", ""},
        "0-1": {""},
        "0-100": {"%"},
        "M": {"M"},
        "MiB": {"MiB", "GB"},
        "mm": {"mm"},
        "s": {""},  # durations state theirs in the value
        "": {""},
    }
    with (PUBLISHED / "published_results.csv").open(newline="") as file:
        rows = [
            r
            for r in csv.DictReader(file)
            if (r["source"], r["table"]) == (suite.source, suite.table)
        ]
    assert bool(rows) == bool(suite.source)
    for metric, ours in suite.figures.items():
        if suite.counted is not None:
            break  # counts are shown in the unit of the published value
        named = [r for r in rows if f"{r['metric']} {r['target']}".strip() == metric]
        units = {r["unit"] for r in named if r["dataset"] in suite.originals}
        if metric in suite.units:
            assert metric in suite.apart
        else:
            assert units <= same[get_column(ours).unit], metric


DEFAULT = SuiteChoice()
TABLE = Suite(
    name="made",
    title="Made",
    source="SAMed (arXiv 2304.13785)",
    table="4: LoRA rank",
    stand_in="organs",
    originals={"Synapse multi-organ CT": "synapse"},
    backbone="sam_vit_b",
    figures={"DSC mean": "dice_image_mean"},
    lines=(
        SuiteLine("SAMed", "rank=1", "samed[rank=1]"),
        SuiteLine("SAMed", "rank=4", "samed"),
        SuiteLine("SAMed", "rank=16", "samed[rank=16]"),
        SuiteLine("SAMed", "rank=64", reason="too wide"),
    ),
)


def run(line: SuiteLine, middle: float, **cell: str) -> list[Record]:
    """Three seeds on 12 specimens; a specimen is as hard for all lines."""
    task = Task(3, backbone=cell.get("backbone", "sam_nano"))
    asked = Cell(
        line.run.partition("[")[0] + line.setting.replace("=", ""),
        cell.get("dataset", "organs"),
        task,
        Recipe(lr=1e-3),
        protocol=cell.get("protocol", "equal"),
    )
    hard = [0.05 * (n % 4 - 1.5) for n in range(12)]
    return [
        make_record(
            dataclasses.replace(asked, seed=seed),
            image_dice=[middle + shift + 0.001 * seed for shift in hard],
        )
        for seed in range(3)
    ]


def page(*runs: list[Record], asked: SuiteChoice = DEFAULT, suite: Suite = TABLE) -> Page:
    cells = {
        line: [one.cell for one in found] for line, found in zip(TABLE.lines, runs, strict=False)
    }
    cells |= {line: [] for line in TABLE.lines if line not in cells}
    records = {one.cell.id: one for found in runs for one in found}
    (found,) = ledger(suite, asked, cells, records)
    return found


def test_a_stand_in_reproduces_nothing_but_has_an_order() -> None:
    dataset = "Synapse multi-organ CT"
    lines = TABLE.lines[:3]
    published = [TABLE.published(line, dataset, "DSC mean") or 0 for line in lines]
    ranks = [sorted(published).index(value) for value in published]
    same = page(*(run(line, 0.6 + 0.1 * rank) for line, rank in zip(lines, ranks, strict=True)))
    assert [difference.verdict for difference in same.order.differences] == ["holds"] * 3
    text = " ".join(ledger_markdown(TABLE, [same]).split())
    assert "## What holds here" in text
    assert "| holds: significant, in the published direction | 3 |" in text
    assert {entry.status for entry in same.entries[:3]} == {
        "not comparable: stand-in for the images, sam_nano, equal protocol"
    }
    assert same.entries[3].status == "not run: too wide"
    other = page(*(run(line, 0.8 - 0.1 * rank) for line, rank in zip(lines, ranks, strict=True)))
    assert [difference.verdict for difference in other.order.differences] == ["reversed"] * 3


def test_a_difference_within_chance_is_not_sure() -> None:
    one, two = run(TABLE.lines[0], 0.7), run(TABLE.lines[1], 0.7)
    noisy = [
        dataclasses.replace(
            record,
            per_image=tuple(
                {**row, "dice": row["dice"] + (0.02 if n % 2 else -0.019)}
                for n, row in enumerate(record.per_image)
            ),
        )
        for record in two
    ]
    (difference,) = page(one, noisy).order.differences
    assert difference.verdict == "not distinguishable"


def test_differences_of_a_metric_are_tested_together() -> None:
    """Where no line is better, a table has a significant difference in 5 % of all cases."""
    drawn = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        runs = []
        for line in TABLE.lines[:3]:
            noise = drawn.normal(0, 0.02, 12)
            runs.append(
                [
                    replace(
                        record,
                        per_image=tuple(
                            {**row, "dice": row["dice"] + by}
                            for row, by in zip(record.per_image, noise, strict=True)
                        ),
                    )
                    for record in run(line, 0.7)
                ]
            )
        found += any(one.significant for one in page(*runs).order.differences)
    assert found <= 5  # 2 are expected at the 5 % level


def test_the_original_protocol_is_reproduced_or_contradicted() -> None:
    asked = {"dataset": "synapse", "backbone": "sam_vit_b", "protocol": "published"}
    published = TABLE.published(TABLE.lines[1], "Synapse multi-organ CT", "DSC mean")
    assert published is not None
    near, far = run(TABLE.lines[1], published, **asked), run(TABLE.lines[1], 0.4, **asked)
    assert page([], near).entries[1].status == "reproduced"
    assert page([], far).entries[1].status == "contradicted"


@pytest.mark.parametrize("key", ["", "DSC mean", "SAMed"])
def test_another_measure_is_never_judged(key: str) -> None:
    asked = {"dataset": "synapse", "backbone": "sam_vit_b", "protocol": "published"}
    suite = replace(TABLE, apart={key: "another rule there", "HD95 mean": "in voxels"})
    found = page([], run(TABLE.lines[1], 0.8, **asked), suite=suite)
    assert found.entries[1].status == "not comparable: another rule there"


def test_a_published_figure_keeps_its_unit() -> None:
    suite = get_suite("samed-comparison")
    text = ledger_markdown(suite, ledger(suite, DEFAULT, {line: [] for line in suite.lines}, {}))
    lines = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines()]
    assert ["U-Net", "39.7 voxels"] in lines
    assert ["SAMed", "81.9 %"] in lines


def test_only_the_publications_own_run_is_judged() -> None:
    line = TABLE.lines[1]
    asked = {"dataset": "synapse", "backbone": "sam_vit_b", "protocol": "published"}
    runs = run(line, 0.8, **asked)
    other = [
        replace(r, cell=replace(r.cell, task=replace(r.cell.task, weights="random"))) for r in runs
    ]
    assert page([], other).entries[1].status == "not comparable: other weights"
    short = page([], runs, asked=SuiteChoice(request={"steps": 20}))
    assert short.entries[1].status == "not comparable: asked with --steps 20"
    other_loss = page([], runs, asked=SuiteChoice(request={"loss": "bce"}))
    assert other_loss.entries[1].status == "not comparable: asked with --loss bce"
    elsewhere = [replace(r, cell=replace(r.cell, dataset="my/synapse")) for r in runs]
    assert page([], elsewhere).entries[1].status == "not comparable: stand-in for the images"
    lost = [*runs[:2], make_failure(runs[2].cell)]
    assert page([], lost).entries[1].status == "not comparable: 1 of 3 runs are missing"
    few = [replace(r, per_image=r.per_image[:5]) for r in runs]
    found = page(run(TABLE.lines[0], 0.2, **asked), few)
    assert found.entries[1].status == "not comparable: 5 test specimens"
    few_too = [replace(r, per_image=r.per_image[:5]) for r in run(TABLE.lines[0], 0.2, **asked)]
    order = page(few_too, few).order
    assert "not significant with 5 specimens" in str(order)
    assert [difference.verdict for difference in order.differences] == ["not testable"]


def test_a_cost_has_a_unit_and_no_specimens() -> None:
    suite = replace(TABLE, figures={"DSC mean": "trainable_params"})
    runs = [run(line, 0.7) for line in TABLE.lines[:2]]
    cells = {
        line: [one.cell for one in found] for line, found in zip(suite.lines, runs, strict=False)
    }
    records = {one.cell.id: one for found in runs for one in found}
    (found,) = ledger(suite, DEFAULT, cells, records)
    assert found.order.specimens is None
    prompted = {one.cell.id: replace(one, prompts="oracle") for one in records.values()}
    (found,) = ledger(suite, DEFAULT, cells, prompted)
    assert found.entries[0].line == "SAMed, rank=1 (oracle prompts)"
    text = " ".join(ledger_markdown(suite, [found]).split())
    assert " M | 3 | not comparable" in text


def test_every_published_value_has_a_line_or_a_reason() -> None:
    coverage = list_coverage()
    assert not [value for table in coverage for value in table.unexplained]
    with (PUBLISHED / "published_results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(table.values for table in coverage) == len(rows)
    for table in coverage:
        assert table.with_line + sum(table.reasons.values()) == table.values
    of_samed = coverage[0]
    assert (of_samed.table, of_samed.values, of_samed.with_line) == ("1: comparison", 90, 30)
    assert of_samed.reasons == {"transformer without SAM, not implemented": 60}


def test_a_value_without_a_suite_is_unexplained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.ask.coverage.list_suites", lambda: [get_suite("samed-rank")])
    by_table = {entry.table: entry for entry in list_coverage()}
    assert not by_table["4: LoRA rank"].unexplained
    assert len(by_table["batch size"].unexplained) == by_table["batch size"].values == 5


def test_one_specimen_is_scored_by_its_own_images() -> None:
    line = SuiteLine("SAMed", "rank=4", "samed", specimens={"organs": "g1"})
    runs = [
        replace(
            record,
            per_image=tuple({**row, "group": f"g{n}"} for n, row in enumerate(record.per_image)),
        )
        for record in run(TABLE.lines[1], 0.7)
    ]
    suite, cells = replace(TABLE, lines=(line,)), {line: [one.cell for one in runs]}
    (found,) = ledger(suite, DEFAULT, cells, {one.cell.id: one for one in runs})
    (entry,) = found.entries
    own = [one.per_image[1]["dice"] for one in runs]
    assert entry.measured == pytest.approx(sum(own) / 3)
    assert entry.measured != pytest.approx(page([], runs).entries[1].measured)
    assert entry.bounds is None, "one specimen has no interval"


def test_without_its_file_no_suite_can_be_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bench.ask.published.PUBLISHED", tmp_path)
    monkeypatch.setattr("bench.ask.suites._suites", _suites.__wrapped__)
    with pytest.raises(UserError, match=r"suites\.toml', does not exist: .* install the package"):
        list_suites()


def test_counts_are_reproduced_in_all_printed_digits() -> None:
    """The model summary of the nuclei report, which torchinfo printed."""
    suite = get_suite("nuinsseg-size")
    text = " ".join(counted_markdown(suite).split())
    assert text.count("| reproduced |") == len(suite.figures) == 5
    assert "| 13,448.77 MB | 13,448.77 MB |" in text
    ranks = get_suite("particles-rank-size")
    assert [count_line(ranks, line)["trainable_params"] for line in ranks.lines[:2]] == [
        4_718_592,
        9_437_184,
    ]


def test_a_count_that_differs_is_contradicted() -> None:
    suite = replace(get_suite("particles-rank-size"), apart={})
    text = " ".join(counted_markdown(suite).split())
    assert "| LoRA-SAM ViT-B, rank=256 | 5.73 M | 9.44 M | contradicted |" in text


def test_a_suite_of_counts_needs_no_records(tmp_path: Path) -> None:
    words = ["suite", "run", "particles-rank-size", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    text = (tmp_path / "ledger" / "particles-rank-size.md").read_text()
    assert read_note(text) == ("particles-rank-size", SuiteChoice())
    assert "| not comparable: its layers are not stated |" in text


def test_units_of_published_figures_are_those_of_records() -> None:
    steel, rank = get_suite("steel-baselines"), get_suite("particles-rank")
    assert steel.published(steel.lines[0], "steel SEM", "memory") == 28e9
    assert steel.published(steel.lines[0], "steel SEM", "epoch_time") == 21 * 60
    assert steel.published(steel.lines[2], "steel SEM", "epoch_time") == 11 * 3600
    assert rank.published(rank.lines[0], "particle SEM", "trainable_params") == 2.8e6


def test_what_cannot_be_asked_of_a_suite_is_refused() -> None:
    suite = get_suite("samed-rank")
    for asked, told in (
        (SuiteChoice("steel,uhcs"), "--dataset is steel, uhcs: a suite takes only one"),
        (
            SuiteChoice(request={"backbones": "sam_nano,mobile_sam"}),
            "--backbone is sam_nano, mobile_sam",
        ),
        (SuiteChoice(request={"protocol": "equl"}), "no protocol 'equl'"),
    ):
        with pytest.raises(UserError, match=re.escape(told)):
            request_of(suite, asked)


def test_the_published_loss_of_a_suite_is_that_of_its_protocol() -> None:
    suite = get_suite("sam-adapter-shadow")
    assert request_of(suite, SuiteChoice()).loss is None
    published = {"protocol": "published"}
    assert request_of(suite, SuiteChoice(request=published)).loss == "balanced_bce"
    assert request_of(suite, SuiteChoice(request={**published, "loss": "bce"})).loss == "bce"


def test_batches_see_as_many_images_by_the_equal_protocol_only() -> None:
    suite = get_suite("particles-batch")
    assert request_of(suite, SuiteChoice()).epochs == 4
    assert request_of(suite, SuiteChoice(request={"steps": 3})).epochs is None
    assert request_of(suite, SuiteChoice(request={"protocol": "published"})).epochs is None


@pytest.mark.parametrize(
    ("request_", "steps"),
    [({}, [50, 100, 150, 200, 250]), ({"steps": 12}, [3, 5, 8, 10, 12])],
)
def test_a_training_curve_is_trained_epoch_by_epoch(
    request_: dict[str, int], steps: list[int]
) -> None:
    cells, _ = expand_suite(get_suite("lora-training"), SuiteChoice(seeds="1", request=request_))
    assert [found[0].recipe.steps for found in cells.values()] == steps


def test_what_did_not_run_is_said() -> None:
    (found,) = ledger(TABLE, DEFAULT, {line: [] for line in TABLE.lines}, {})
    assert [entry.status for entry in found.entries[:3]] == ["not run"] * 3
    assert str(found.order) == "No two lines can be compared."
    failed = make_failure(run(TABLE.lines[0], 0.5)[0].cell)
    cells = {TABLE.lines[0]: [failed.cell]}
    (found,) = ledger(TABLE, DEFAULT, cells, {failed.cell.id: failed})
    assert "1 of 1 runs are missing" in found.entries[0].status


def test_the_folds_of_a_seed_are_one_run() -> None:
    line = TABLE.lines[0]
    folds = [
        dataclasses.replace(record, cell=dataclasses.replace(record.cell, fold=fold, folds=2))
        for record in run(line, 0.7)
        for fold in range(2)
    ]
    renamed = [
        dataclasses.replace(
            record,
            per_image=tuple(
                {**row, "group": f"{row['group']}/{record.cell.fold}"} for row in record.per_image
            ),
        )
        for record in folds
    ]
    (found,) = ledger(
        TABLE, DEFAULT, {line: [r.cell for r in renamed]}, {r.cell.id: r for r in renamed}
    )
    assert found.entries[0].runs == 6
    assert found.entries[0].bounds is not None
    part = renamed[1:]
    (found,) = ledger(TABLE, DEFAULT, {line: [r.cell for r in part]}, {r.cell.id: r for r in part})
    assert found.entries[0].measured is None, "one seed lacks a fold"


def test_the_page_tells_figures_intervals_and_differences(tmp_path: Path) -> None:
    runs = run(TABLE.lines[0], 0.7)
    cells = {TABLE.lines[0]: [one.cell for one in runs]}
    records = {one.cell.id: one for one in runs}
    suite = dataclasses.replace(TABLE, differences="all of it")
    text = write_ledger(suite, DEFAULT, cells, records, tmp_path).read_text()
    assert text.startswith(ledger_markdown(suite, ledger(suite, DEFAULT, cells, records)))
    assert read_note(text) == ("made", SuiteChoice())
    assert "Differences: all of it." in text
    assert "| SAMed, rank=1 " in text
    assert "| 70.1 % [6" in " ".join(text.split())


def test_mistakes_are_told_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (
            ["suite", "run"],
            "the name of a suite is missing: give one or more of samed-comparison, ",
        ),
        (["suite", "run", "--seeds", "1", "samed-rnak"], "no suite 'samed-rnak'. Did you mean"),
    ):
        assert cli.main(words) == 2
        assert told in capsys.readouterr().err


def test_the_list_names_every_suite(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["suite", "list"]) == 0
    out = capsys.readouterr().out
    assert all(suite.name in out for suite in SUITES)
    assert re.search(r"SAMed \(arXiv 2304.13785\), 1: comparison +90 +30 +60: transformer", out)


def test_lora_of_every_rank_is_scaled_by_one() -> None:
    """`lora` scales updates by alpha / rank, and the sources' LoRA has no scale."""
    points = [
        {**method.options, **options}
        for suite in list_suites()
        for line in suite.lines
        if line.run
        for method, options in parse_methods(line.run)
        if method.name == "lora"
    ]
    assert points
    assert all(point["alpha"] == point["rank"] for point in points)


def test_a_choice_of_what_has_no_default_is_text_too() -> None:
    choice = SuiteChoice(request={"methods": "lora", "steps": None, "folds": 1})
    assert [choice.chosen(key) for key in ("methods", "datasets", "steps", "folds")] == [
        "lora", "", "", ""
    ]  # fmt: skip


def test_lines_by_rule_for_objects_differ_in_nothing_else() -> None:
    """The lines by components are the cells of the suite without rules."""
    choice = SuiteChoice(seeds="1")
    plain = expand_suite(get_suite("nuinsseg-folds"), choice)[0]
    lines = expand_suite(get_suite("nuinsseg-objects"), choice)[0]
    ids = {cell.id for cells in plain.values() for cell in cells}
    assert [line.objects for line in lines] == ["components", "watershed", "distances"] * 2
    for line, cells in lines.items():
        assert {cell.recipe.objects for cell in cells} == {line.objects}
        assert line.name.endswith(f", objects by {line.objects}")
        assert ({cell.id for cell in cells} <= ids) == (line.objects == "components")
        same = {
            replace(cell, recipe=replace(cell.recipe, objects="components")).id for cell in cells
        }
        assert same <= ids


def test_the_rule_of_a_user_enters_cells_and_the_name_of_the_ledger(tmp_path: Path) -> None:
    suite = get_suite("particles-rank")
    choice = SuiteChoice(seeds="1", request={"objects": "watershed"})
    lines = expand_suite(suite, choice)[0]
    assert {cell.recipe.objects for cells in lines.values() for cell in cells} == {"watershed"}
    path = write_ledger(suite, choice, lines, {}, tmp_path)
    assert path.name == "particles-rank_watershed.md"
    assert read_note(path.read_text()) == (suite.name, choice)
