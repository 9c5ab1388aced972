import io
import re
import time
from dataclasses import replace

import pytest
from records import make_cell, make_failure, make_record
from rich.console import Console

from bench.cli.progress import Progress, RunningCell
from bench.cli.progress_log import ProgressLog
from bench.record_values import PredictedCost
from bench.run.events import (
    CellFinished,
    CellProgressed,
    CellStarted,
    CostPredicted,
    PhaseStarted,
    RunStarted,
    TrainingProgress,
    WaitingForOtherRun,
)
from bench.spec import Cell, Recipe

TRAIN = TrainingProgress(step=120, epoch=3.75, loss=0.1234, images_per_s=123.4)
RECIPE = Recipe(lr=1e-3, steps=300)
LONG = make_cell(
    options={"rank": 16, "targets": "qkvom", "blocks": "0-5", "alpha": 32.0},
    dataset="carbides_of_ultra_high_carbon_steel",
    seed=12,
    fold=2,
    folds=5,
    labels=20,
    weights="random",
    recipe=RECIPE,
)


class Clock:
    """What `time.monotonic` tells."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def started(count: int) -> Progress:
    """The display of a run of that many cells, none of which has started."""
    progress = Progress()
    progress.update(RunStarted((LONG,) * count))
    return progress


def shown(progress: Progress, width: int = 100) -> list[str]:
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(progress)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_training_of_a_proposer_is_named() -> None:
    progress = replace(TRAIN, of_proposer=True)
    assert RunningCell(LONG, 1, 0.0, progress).words[0] == "proposer, step 120/300"


def test_a_note_of_the_run_remains_above_its_cells() -> None:
    line = Progress().update(RunStarted((LONG,), 4, "each cell runs with 4 threads"))
    assert str(line) == "note: each cell runs with 4 threads"


def test_training_shows_cell_epoch_loss_speed_and_time_left(clock: Clock) -> None:
    progress = started(4)
    cell = make_cell(options={"rank": 8}, recipe=RECIPE)
    progress.update(CellStarted(cell))
    clock.now += 12
    progress.update(CellProgressed(cell, TRAIN))
    name, figures = shown(progress)
    assert name == "[1/4] lora[rank=8] · steel · seed 0"
    # 12 s for 120 of 300 steps: 18 s more, and 30 s for each of three other cells
    told = "step 120/300  epoch 3.8  loss 0.123  123.4 images/s  1:48 left"
    assert re.fullmatch(rf"━+ +{re.escape(told)}", figures)


def test_the_first_steps_say_nothing_about_the_time(clock: Clock) -> None:
    progress = started(4)
    progress.update(CellStarted(LONG))
    clock.now += 40  # most of it to load the model
    progress.update(CellProgressed(LONG, replace(TRAIN, step=14)))
    assert "left" not in shown(progress)[1]
    progress.update(CellProgressed(LONG, replace(TRAIN, step=15)))
    assert "52:40 left" in shown(progress)[1]


@pytest.mark.parametrize("width", [80, 100])
def test_two_lines_are_enough_for_the_longest_name(clock: Clock, width: int) -> None:
    progress = started(12)
    progress.update(CellStarted(LONG))
    clock.now += 3600
    progress.update(CellProgressed(LONG, replace(TRAIN, epoch=10.0)))
    lines = shown(progress, width)
    assert len(lines) == 2
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("[1/12] lora[alpha=32.0,blocks=0-5,rank=16,targets=qkvom] · carb")
    assert lines[0].endswith("…")
    assert "loss 0.123  123.4 images/s  29:00:00 left" in lines[1]


def test_everything_that_tells_cells_apart_is_in_the_name() -> None:
    progress = started(1)
    progress.update(CellStarted(LONG))
    (name, _) = shown(progress, 200)
    assert name.endswith(
        "· carbides_of_ultra_high_carbon_steel · seed 12 · random weights · fold 3/5 · 20 labels"
    )


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (None, "starting"),
        (PhaseStarted("data"), "reading images"),
        (PhaseStarted("evaluate"), "evaluating"),
        (PhaseStarted("measure"), "measuring cost"),
    ],
)
def test_the_phases_around_training_are_told(event: PhaseStarted | None, told: str) -> None:
    progress = started(1)
    progress.update(CellStarted(LONG))
    if event is not None:
        progress.update(CellProgressed(LONG, event))
    assert told in shown(progress)[1]


def test_time_left_follows_the_cells_run_so_far(clock: Clock) -> None:
    progress = started(4)
    assert progress.seconds_left is None
    for seed, seconds in enumerate((40, 60)):
        progress.update(CellStarted(make_cell(seed=seed)))
        clock.now += seconds
        progress.update(CellFinished(make_record(make_cell(seed=seed)), seconds))
    assert progress.seconds_left == 100
    progress.update(CellStarted(make_cell(seed=2)))
    clock.now += 20
    assert progress.seconds_left == 80
    clock.now += 900  # longer than thought: the cell that runs counts as nearly done
    assert progress.seconds_left == 50
    assert "0:50 left" in shown(progress)[1]


def test_cells_done_before_say_nothing_about_the_time() -> None:
    progress = started(2)
    progress.update(CellStarted(make_cell()))
    line = progress.update(CellFinished(make_record(dice=0.8123), None))
    assert line is not None
    assert line.plain == "[1/2] ok       lora · steel · seed 0  Dice 0.812  done before"
    assert progress.seconds_left is None


def test_cells_of_a_second_round_count_on() -> None:
    progress = Progress()
    for cells in ((LONG, LONG), (LONG,)):
        progress.update(RunStarted(cells, 1))
        for cell in cells:
            progress.update(CellStarted(cell))
            line = progress.update(CellFinished(make_record(dice=0.5), 3.0))
    assert line is not None
    assert line.plain.startswith("[3/3] ")


def test_a_failure_is_kept_with_its_reason() -> None:
    progress = started(1)
    failure = make_failure(make_cell(), "diverged", "the loss became nan")
    line = progress.update(CellFinished(failure, 7.2))
    assert line is not None
    assert line.plain == "[1/1] diverged lora · steel · seed 0  7 s  the loss became nan"


def test_waiting_for_another_run_is_told() -> None:
    progress = started(3)
    assert shown(progress) == [""]
    progress.update(WaitingForOtherRun((LONG, make_cell())))
    assert shown(progress) == ["waiting for another run to finish 2 cells"]


def test_a_method_that_does_not_train_has_a_full_bar_at_once() -> None:
    progress = started(1)
    cell = Cell("zero_shot", "steel", LONG.task, RECIPE)
    progress.update(CellStarted(cell))
    progress.update(CellProgressed(cell, PhaseStarted("evaluate")))
    assert shown(progress)[1].startswith("━" * 10)


def test_the_bar_is_empty_while_the_cost_is_predicted(clock: Clock) -> None:
    progress = started(1)
    progress.update(CellStarted(LONG))
    clock.now += 5
    progress.update(CellProgressed(LONG, PhaseStarted("predict")))
    words = [one.words for one in progress.running.values()]
    assert (words, progress.time_left) == ([["predicting memory and time"]], ""), (
        "no time is left over from a full bar"
    )
    progress.update(CellProgressed(LONG, CostPredicted(PredictedCost("cpu"), 4)))
    assert progress.running[LONG.id].words == ["starting"]


def logged(every_s: float = 30.0) -> tuple[ProgressLog, io.StringIO]:
    file = io.StringIO()
    return ProgressLog(Console(file=file, width=40), every_s), file


def test_a_log_has_a_line_for_each_phase_and_one_every_half_minute(clock: Clock) -> None:
    log, file = logged()
    cell = make_cell(options={"rank": 8}, recipe=RECIPE)
    log.update(RunStarted((cell, cell)))
    log.update(CellStarted(cell))
    log.update(CellProgressed(cell, PhaseStarted("data")))
    for step in range(1, 75):  # one report per second
        clock.now += 1
        report = replace(TRAIN, step=step, data_bytes=50 << 20)
        log.update(CellProgressed(cell, report))
    log.update(CellProgressed(cell, PhaseStarted("evaluate")))
    log.update(CellFinished(make_record(cell=cell), 80.0))
    lines = file.getvalue().splitlines()
    name = "[1/2] lora[rank=8] · steel · seed 0"
    assert [line.partition(": ")[0] for line in lines[:-1]] == [name] * 6
    said = [line.partition(": ")[2].partition("  ")[0] for line in lines[:-1]]
    assert said == ["starting", "reading images", *["training"] * 3, "evaluating"]
    assert "step 31/300" in lines[3]
    assert "data 50 MiB" in lines[3]
    assert lines[-1].startswith("[1/2] ok")
    assert not re.search(r"[^\n\x20-\uffff]", file.getvalue())


def test_a_phase_that_reports_nothing_is_printed_in_time() -> None:
    log, file = logged(every_s=0.02)
    with log:
        log.update(RunStarted((LONG,)))
        log.update(CellStarted(LONG))
        log.update(CellProgressed(LONG, PhaseStarted("measure")))
        until = time.monotonic() + 5
        while file.getvalue().count("measuring cost") < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert file.getvalue().count("measuring cost") >= 3
