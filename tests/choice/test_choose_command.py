"""The command `choose` and `bench.choose`: limits, the clock, the report, wrong use."""

import shlex
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import make_folder
from planted_races import planted_cells, planted_race, planted_record

import bench
from bench import cli
from bench.ask.request import Request
from bench.choice.arms import make_arms
from bench.choice.choose import Choice, hold_choice
from bench.choice.commands import next_commands
from bench.choice.criterion import DICE, get_criterion
from bench.choice.limits import LeftOut, Limits
from bench.choice.live import Clock, TimeIsUp, hold
from bench.choice.page import write_choice
from bench.choice.race import NO_LIMITS
from bench.choice.setup import Setup, complete, in_turn, shorten, training_speed
from bench.choice.tune import VARIANTS, with_variants
from bench.choice.verdict import decide
from bench.errors import UserError
from bench.plugins.registry import get_method
from bench.run.events import CellFinished, CellProgressed, CellStarted, PhaseStarted
from bench.run.schedule import RunSettings
from bench.run.store import Store
from bench.spec import Cell

PRIOR = {"few parameters": 3.0}
REQUEST = Request(methods="lora", datasets="my images", steps=50)


def make_choice(out: Path) -> Choice:
    arms, records = planted_race({"lora": 80.0, "full": 79.5, "unet": 40.0}, seed=1)
    verdict = decide(arms, records, PRIOR).verdict
    left_out = (LeftOut("swin", "it needs 9.1 GiB and more (predicted for CUDA)"),)
    return Choice(verdict, left_out, (), ("Compared after 50 steps.",), REQUEST, out)


def test_the_report_says_the_verdict_first_and_names_what_was_given_up(tmp_path: Path) -> None:
    choice = make_choice(tmp_path)
    parts = {part.title: part for part in choice.paragraphs()}
    assert list(parts) == ["Verdict", "Costs", "Given up by the limits", "Race", "Next"]
    assert parts["Verdict"].lines[0] == f"Use {choice.recommended}."
    assert "Compared after 50 steps." in parts["Verdict"].lines
    assert any("at most" in line for line in parts["Verdict"].lines)
    assert "swin: it needs 9.1 GiB" in parts["Given up by the limits"].lines[0]
    assert parts["Race"].lines[-1].startswith("unet: stopped early, ")
    assert parts["Race"].lines[-1].endswith("; worse.")
    assert choice.stopped["swin"].startswith("it needs")
    assert str(choice).startswith("Verdict\nUse ")


def test_the_page_links_to_the_records_and_shows_the_figure(tmp_path: Path) -> None:
    choice = make_choice(tmp_path)
    limits = replace(choice, limits=Limits(max_params=5_000_000, min_speed=2.0)).limits_by_column
    assert limits == {"total_params": 5_000_000, "infer_images_per_s": 2.0}
    names = {path.name for path in write_choice(choice)}
    assert names == {"choose.md", "choose.html", "choose_pareto.png", "choose_pareto.svg"}
    page = (tmp_path / "choose.html").read_text()
    for evidence in choice.verdict.race.evidence:
        for run in evidence.runs.values():
            assert f'href="records/{run.record.cell.id}.json"' in page
    assert "choose_pareto.svg" in (tmp_path / "choose.md").read_text()


def test_commands_repeat_the_settings_and_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = make_choice(tmp_path)
    commands = next_commands(choice.verdict, REQUEST, "sam-bench", Path("out"))
    assert all("--steps 50" in one for one in commands if "predict" not in one)
    assert all("'my images'" in one for one in commands if "predict" not in one)
    for name in ("run", *cli.COMMANDS):
        monkeypatch.setattr(cli.command_module(name), "run", lambda *_: 0)
    assert [one for one in commands if cli.main(shlex.split(one)[1:]) != 0] == []


def test_commands_choose_by_the_same_score_and_labels() -> None:
    cells = planted_cells(["lora"], runs=1)["lora"]
    record = planted_record(cells[0], {0: 80.0}, 80)
    criterion, request = get_criterion("boundary_iou"), replace(REQUEST, labels="20")
    verdict = decide(make_arms(cells), [record], PRIOR, criterion).verdict
    verdict = replace(verdict, recommended=verdict.race.evidence[0])
    train, _, again, *_ = next_commands(verdict, request, "sam-bench", Path("out"))
    assert "--labels 20" in train
    assert "--by boundary_iou --labels 20" in again


def test_commands_name_a_learning_rate_that_is_not_the_method_s_own() -> None:
    (cell,) = planted_cells(["lora"], runs=1)["lora"]
    own = get_method("lora").lr or 0.0
    cell, tuned = (replace(cell, recipe=replace(cell.recipe, lr=lr)) for lr in (own, 0.1))
    records = [planted_record(one, dict.fromkeys(range(8), 80.0), 80) for one in (cell, tuned)]
    for cells, words in (([tuned], "--lr 0.1"), ([cell, tuned], f"--lr '{own:g}|0.1'")):
        verdict = decide(make_arms(cells), records, PRIOR).verdict
        commands = next_commands(verdict, REQUEST, "sam-bench", Path("out"))
        assert words in commands[2]
    assert (
        "--lr"
        not in next_commands(
            decide(make_arms([cell]), records, PRIOR).verdict, REQUEST, "sam-bench", Path("out")
        )[0]
    )


@pytest.mark.parametrize(
    ("train", "depth", "budgets"),
    [(30, 1, "5,10,20,all"), (12, 1, "5,10,all"), (4, 1, None), (30, 2, None)],
)
def test_commands_name_label_budgets_that_there_are_images_for(
    train: int, depth: int, budgets: str | None
) -> None:
    cells = planted_cells(["lora"], runs=1)["lora"]
    record = planted_record(cells[0], {0: 80.0}, 80)
    record = replace(record, env={**record.env, "split": {"train": train}})
    verdict = decide(make_arms(cells), [record], PRIOR).verdict
    request = replace(REQUEST, depth=depth)
    last = next_commands(verdict, request, "sam-bench", Path("out"))[-1]
    assert f"--labels {budgets} --seeds 3" in last if budgets else "choose" in last


@pytest.mark.parametrize(
    ("method", "backbone", "words"),
    [("lora", "sam_vit_b", "--backbone sam_vit_b"), ("unet", "none", "--image-size 256")],
)
def test_commands_for_one_method_name_its_backbone(method: str, backbone: str, words: str) -> None:
    (cell,) = planted_cells([method], runs=1)[method]
    cell = replace(cell, task=replace(cell.task, backbone=backbone))
    verdict = decide(make_arms([cell]), [planted_record(cell, {0: 80.0}, 80)], PRIOR).verdict
    request = replace(REQUEST, backbones="sam_nano,sam_vit_b")
    commands = next_commands(verdict, request, "sam-bench", Path("out"))
    assert words in commands[0]
    assert "sam_nano" not in commands[0]
    assert "--backbone sam_nano,sam_vit_b" in commands[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["choose"], "--dataset is missing"),
        (["choose", "--dataset", "x", "--max-time", "soon"], "give a time as 90s, 5min or 1h"),
        (["choose", "--dataset", "x", "--max-params", "-1"], "give a number as 500000 or 5M"),
        (["choose", "--dataset", "x", "--max-memory", "lots"], "GPU 'lots' is not known"),
        (["choose", "--dataset", "x", "--min-speed", "0"], "--min-speed is 0: give a number"),
        (["choose", "--dataset", "x", "--by", "dise"], "Did you mean 'dice'"),
        (["choose", "--dataset", "x", "--results", "y"], "--results goes with --replay"),
        (["choose", "--dataset", "x", "--fit-memory"], "choose: give --accumulate N"),
        (["choose", "--replay", "--results", "nowhere"], "nothing to replay"),
    ],
)
def test_wrong_use_is_one_sentence(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_another_score_than_dice_compares_three_folds() -> None:
    request = replace(REQUEST, seeds="")
    assert complete(request, DICE) == replace(request, seeds="3")
    assert complete(request, get_criterion("pq")) == replace(request, seeds="1", folds=3)
    five = complete(replace(request, folds=5), get_criterion("iou"))
    assert (five.folds, five.seeds) == (5, "1")


def test_a_method_that_was_stopped_early_may_be_not_distinguishable(tmp_path: Path) -> None:
    cells = planted_cells(["lora", "full"])
    records = [
        planted_record(cell, dict.fromkeys(range(3), 80.0), validation)
        for (name, part), validation in zip(cells.items(), (90.0, 70.0), strict=True)
        for cell in (part if name == "lora" else part[:1])
    ]
    arms = make_arms([cell for part in cells.values() for cell in part])
    verdict = decide(arms, records, PRIOR).verdict
    choice = Choice(verdict, (), (), (), REQUEST, tmp_path)
    parts = {part.title: part.lines for part in choice.paragraphs()}
    assert any("cheapest first: full (stopped early)." in line for line in parts["Verdict"])
    assert parts["Race"][-1].startswith("full: stopped early, 20.0 points behind")
    assert parts["Race"][-1].endswith("; not distinguishable.")
    assert parts["Race"][-2].endswith("; recommended.")


def test_a_dry_run_predicts_the_first_run_of_each_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = make_folder(tmp_path / "images"), tmp_path / "out"
    predicted: list[Cell] = []
    monkeypatch.setattr(
        "bench.cli.grid_cost.show_grid_cost", lambda cells, *_: predicted.extend(cells)
    )
    words = ["choose", "--dataset", str(folder), "--methods", "frozen_head,unet", "--dry-run"]
    assert cli.main([*words, "--device", "cpu", "--out", str(out)]) == 0
    assert "unet: up to 3 runs" in capsys.readouterr().out
    assert [(cell.method, cell.seed) for cell in predicted] == [("frozen_head", 0), ("unet", 0)]
    assert not out.exists()


def test_python_refuses_to_fit_the_memory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--fit-memory cannot be used with choose"):
        bench.choose("x", fit_memory=True, out=tmp_path)


def test_the_clock_stops_a_cell_that_would_not_end_in_time() -> None:
    cells = planted_cells(["a", "b"], runs=2)
    now = iter([0.0, 10.0, 10.0, 40.0, 106.0])
    clock = Clock(100.0, now=lambda: next(now))
    record = planted_record(cells["a"][0], {0: 80.0}, 80)
    assert clock.has_time_for(cells["a"][0])  # nothing is known yet
    clock.watch(CellFinished(record, 61.0))
    assert clock.expected(cells["a"][1]) == 61
    assert clock.has_time_for(cells["b"][0])
    assert not clock.has_time_for(cells["a"][1])  # 40 + 61 s
    with pytest.raises(TimeIsUp):
        clock.watch(CellProgressed(cells["b"][0], PhaseStarted("evaluate")))


def test_the_alarm_ends_whatever_is_waited_for() -> None:
    clock = Clock(0.05)
    with pytest.raises(TimeIsUp), clock.alarm():
        time.sleep(5)
    assert clock.elapsed < 2
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with Clock(None).alarm():
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_race_in_a_store_ends_without_running_what_is_there(tmp_path: Path) -> None:
    arms, records = planted_race({"a": 80.0, "b": 60.0})
    store = Store.open(tmp_path)
    for record in records:
        store.write(record)
    decision = hold(
        arms, store, RunSettings(device="cpu"), PRIOR, DICE, NO_LIMITS, Clock(None), _refuse
    )
    assert decision == decide(arms, store.read_all(), PRIOR)
    assert decision.verdict.finished


def _refuse(event: object) -> None:
    raise AssertionError(f"nothing should run: {event}")


def test_short_runs_are_complete_and_are_decided_once(tmp_path: Path) -> None:
    arms = make_arms(cell for part in planted_cells(["a", "b"]).values() for cell in part)
    operations = {cell.id: 1e9 for arm in arms for cell in arm.cells}
    setup = Setup(tuple(arms), (), (), operations)
    assert shorten(setup, 100.0, 1e9, tmp_path / "long") == setup
    short = shorten(setup, 1.0, 1e9, tmp_path)  # 2 s for one run of each, 0.5 s at most
    assert {cell.recipe.steps for arm in short.arms for cell in arm.cells} == {50}
    assert "after 50 steps" in short.conditions[0]
    assert shorten(setup, 1.0, 1e12, tmp_path).arms == short.arms  # as was decided
    assert shorten(setup, 100.0, 1e12, tmp_path) == setup  # another time, decided anew
    halved = shorten(setup, 10.0, 1e9, tmp_path, elapsed=7.0)  # 1.5 s are half of the rest
    assert {cell.recipe.steps for arm in halved.arms for cell in arm.cells} == {100}
    for file in (tmp_path / "choice").iterdir():
        file.write_text("{")
    assert shorten(setup, 1.0, 1e9, tmp_path).arms == short.arms


@pytest.mark.slow
def test_the_speed_is_measured_with_the_threads_of_a_cell() -> None:
    ours = torch.get_num_threads()
    assert training_speed("cpu", "fp32", ours + 1) > 1e8
    assert torch.get_num_threads() == ours


def test_published_recipes_are_not_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms, records = planted_race({"a": 80.0, "b": 60.0})
    store = Store.open(tmp_path)
    for record in records:
        store.write(record)
    setup = Setup(tuple(arms), (), (), {cell.id: 1e9 for arm in arms for cell in arm.cells})
    monkeypatch.setattr("bench.choice.choose.training_speed", lambda *_: 1.0)
    settings, limits = RunSettings(device="cpu"), Limits(max_seconds=60.0)

    def chosen(protocol: str) -> Choice:
        request = replace(REQUEST, protocol=protocol)
        clock = Clock(60.0, now=lambda: 0.0)
        return hold_choice(setup, request, DICE, limits, settings, store, clock, _stop)

    assert chosen("published").recommended == "a"
    shortened = chosen("equal")
    assert "after 50 steps" in shortened.conditions[0]
    assert shortened.request == REQUEST  # the commands that follow train in full


def _stop(event: object) -> None:
    raise TimeIsUp


def test_variants_have_the_same_budget_and_are_named() -> None:
    methods = ("lora", "unet", "decoder_only", "swin_unetr")
    cells = [planted_cells([name], runs=1)[name][0] for name in methods]
    variants = with_variants(cells)
    by_method = {name: [cell for cell in variants if cell.method == name] for name in methods}
    assert [len(part) for part in by_method.values()] == [VARIANTS] * 4
    smallest = replace(cells[0], options={"rank": 1})  # there is no smaller rank
    assert len(with_variants([smallest])) == VARIANTS
    widths = {cell.options.get("width") for cell in by_method["swin_unetr"]}
    assert widths == {None, 24}  # a width of 6 cannot be built
    names = [arm.name for arm in make_arms(variants)]
    assert len(set(names)) == 4 * VARIANTS
    assert "lora[rank=1] lr=0.001" in names or "lora[rank=1]" in names


def test_variants_run_in_turn_whatever_their_costs() -> None:
    cells = with_variants([part[0] for part in planted_cells(["full", "lora"]).values()])
    arms = make_arms(cells)
    ordered = in_turn(arms[::-1])
    assert [arm.cells[0].method for arm in ordered] == ["lora", "full"] * VARIANTS
    assert [arm.position for arm in ordered[::2]] == sorted(arm.position for arm in ordered[::2])
    assert ordered[1] is arms[0]


@pytest.mark.slow
def test_a_choice_from_python_goes_on_from_its_records(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "images", count=12)
    options: dict[str, Any] = {
        "steps": 2,
        "image_size": 64,
        "out": tmp_path / "out",
        "device": "cpu",
    }
    first = bench.choose(folder, "frozen_head,unet", seeds=2, **options)
    assert first.recommended in ("frozen_head", "unet")
    ran: list[object] = []
    again = bench.choose(folder, "frozen_head,unet", seeds=2, progress=ran.append, **options)
    assert not [event for event in ran if isinstance(event, CellStarted)]
    assert again.verdict == first.verdict
