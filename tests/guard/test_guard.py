"""Planted regressions raise an alarm, and clean code raises none."""

import json
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from folders import make_folder
from fuzzing import changed as changed_values
from fuzzing import check_sentence, fuzz
from records import ENV as RECORDED
from torch import nn

from bench import cli
from bench.ask.plain_values import to_plain
from bench.ask.request import Request
from bench.errors import UserError
from bench.guard import baseline
from bench.guard import compare as guard
from bench.guard.baseline import Figures, Run
from bench.guard.fingerprint import Fingerprint
from bench.guard.measure import measure, run_with_reference
from bench.learn.loop import train_step
from bench.plugins import registry
from bench.plugins.discover import Plugins
from bench.plugins.registry import get_method
from bench.run.store import Store
from bench.spec import Cell

COMMITTED = Path(__file__).parents[2] / "results" / "reference" / "guard.json"
ENV = {**RECORDED, "system": "Linux x86_64"}
GRID = {"methods": "lora", "datasets": "steel"}
LORA = {"encoder: parameters": 15_000, "training step: FLOPs": 9_000}
DICE = (0.60, 0.62, 0.61, 0.63, 0.59, 0.61)
PRINT = Fingerprint([[1.0, 2.0]], [0.5, 0.4], {"head: Net": [1.0, 1.0]}, {}, "a" * 64)
STORED = Figures(
    grid=GRID,
    env=ENV,
    contents={"steel": "5" * 64, "sam_nano": "a" * 64},
    counts={"full": {"encoder: parameters": 90_000}, "lora": LORA},
    runs={"lora": [Run(dice, 1_000, 0.5) for dice in DICE]},
    fingerprints={"full": PRINT, "lora": PRINT},
    losses={"ce": [1.0, 1.0, 1.0, 1.0]},
)


ELSEWHERE = "another machine than the baseline's: limits instead of equal digits"


def changed(env: dict[str, Any] | None = None, **run: Any) -> Figures:
    """The stored figures, two seeds of them, with another environment or another run."""
    found = [replace(one, **run) for one in STORED.runs["lora"][:2]]
    return replace(STORED, env={**ENV, **(env or {})}, runs={"lora": found})


def measures(now: Figures, stored: Figures = STORED) -> list[str]:
    """The first word of what differs in training, or the whole cause."""
    causes = [change.cause for change in guard.compare(stored, now)[0]]
    words = ("Dice", "peak memory", "speed", "failed")
    return [next((word for word in words if word in cause), cause) for cause in causes]


# Comparing


def test_what_is_as_it_was_raises_no_alarm() -> None:
    same = {**ENV, "numerics": {"cpu": "a"}}
    stored = replace(STORED, env=same)
    now = replace(changed(), env=same)
    assert guard.compare(stored, now) == ([], [])
    assert guard.compare(STORED, changed()) == ([], [ELSEWHERE])


@pytest.mark.parametrize(
    ("run", "found"),
    [
        ({"dice": 0.50}, ["Dice"]),
        ({"dice": 0.72}, ["Dice"]),
        ({"dice": 0.57}, []),
        ({"train_peak_bytes": 1_021}, ["peak memory"]),
        ({"train_peak_bytes": 979}, ["peak memory"]),
        ({"train_peak_bytes": 1_019}, []),
        ({"speed_ratio": 0.5 / 1.6}, ["speed"]),
        ({"speed_ratio": 0.5 / 1.4}, []),
        ({"speed_ratio": 0.9}, []),
        ({"dice": None, "error": "oom: out of memory"}, ["failed"]),
        ({"dice": None}, ["Dice"]),
        ({"train_peak_bytes": None}, ["peak memory"]),
        ({"speed_ratio": None}, ["speed"]),
    ],
)
def test_a_run_beyond_a_limit_is_named(run: dict[str, Any], found: list[str]) -> None:
    assert measures(changed(**run)) == found


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"lora": {**LORA, "encoder: parameters": 15_001}}, ["encoder: parameters higher"]),
        ({"lora": {**LORA, "training step: FLOPs": 8_999}}, ["training step: FLOPs lower"]),
        ({"new": LORA}, ["method is new: not in the baseline"]),
    ],
)
def test_a_count_that_differs_at_all_is_named(counts: dict[str, Any], found: list[str]) -> None:
    now = replace(changed(), counts={**STORED.counts, **counts})
    assert measures(now) == found
    gone = replace(changed(), counts={"lora": LORA})
    assert [change.names for change in guard.compare(STORED, gone)[0]] == [("full",)]


def test_a_method_that_the_grid_no_longer_trains_is_named() -> None:
    assert measures(replace(changed(), runs={})) == ["training: not in the grid any more"]


def test_other_images_or_weights_are_named() -> None:
    now = replace(changed(), contents={"steel": "6" * 64, "sam_nano": "a" * 64})
    (change,), _ = guard.compare(STORED, now)
    assert change.text == "contents differ from the baseline's (SHA-256) in 1 input: steel"


def test_another_torch_leaves_counts_and_dice() -> None:
    other = {"packages": {"torch": "2.9.0"}}
    now = changed(other, train_peak_bytes=2_000, speed_ratio=0.1, dice=0.5)
    _, (_, note) = guard.compare(STORED, now)
    assert measures(now) == ["Dice"]
    assert "torch 2.8.0 in the baseline, 2.9.0 here" in note
    assert "contents, memory, speed" in note
    now = replace(
        changed(other), counts={**STORED.counts, "lora": {**LORA, "training step: FLOPs": 1}}
    )
    assert measures(now) == ["training step: FLOPs lower"]


def test_another_processor_leaves_all_but_speed_and_what_is_drawn() -> None:
    now = changed({"cpu": "Other CPU"}, speed_ratio=0.1, train_peak_bytes=2_000)
    _, (_, note) = guard.compare(STORED, now)
    assert measures(now) == ["peak memory"]
    assert "not compared: contents, speed (cpu Example CPU in the baseline, Other CPU here)" in note


@pytest.mark.parametrize(
    ("name", "file"), [("full", "full"), ("full", "full_bridge"), ("full_s", "full_s")]
)
@pytest.mark.parametrize("lacks", [True, False])
def test_only_a_missing_library_excuses_a_method(name: str, file: str, lacks: bool) -> None:
    counts = {"full": LORA, "full_s": LORA, "lora": LORA}
    now = replace(changed(), counts={key: LORA for key in counts if key != name})
    stored = replace(STORED, counts=counts)
    changes, notes = guard.compare(stored, now, {file: "why"}, [file] if lacks else [])
    assert notes == ([f"not compared here: {name} (why)"] if lacks else []) + [ELSEWHERE]
    text = f"method no longer exists (why) in 1 method: {name}"
    assert [change.text for change in changes] == ([] if lacks else [text])


def test_another_method_of_a_longer_name_excuses_nothing() -> None:
    stored = replace(STORED, counts={"full": LORA, "full_s": LORA, "lora": LORA})
    now = replace(changed(), counts={"lora": LORA})
    changes, notes = guard.compare(stored, now, {"full_s": "no module named x"}, ["full_s"])
    assert [change.text for change in changes] == ["method no longer exists in 1 method: full"]
    assert notes == ["not compared here: full_s (no module named x)", ELSEWHERE]


@pytest.mark.parametrize(
    ("body", "lacking"),
    [
        ("import not_installed", True),
        ("from not_installed.part import name", True),
        ("raise ModuleNotFoundError('install the extra', name='x')", True),
        ("raise ImportError('no module named x: install the extra')", False),
        ("import json.no_such_part", False),
        ("from json import no_such_name", False),
        ("import bench.no_such_module", False),
        ("from bench.methods import no_such_name", False),
        ("import methods", False),
        ("import this is no python", False),
        ("1 / 0", False),
    ],
)
def test_a_library_is_lacking_where_it_is_from_elsewhere_and_not_here(
    body: str, lacking: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = ModuleType("made_for_guard")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    (tmp_path / "broken.py").write_text(body)
    monkeypatch.setattr(registry, "_METHODS", Plugins("method", package.__name__))
    assert list(registry.unavailable_methods()) == ["broken"]
    assert registry.methods_lacking_a_library() == ({"broken"} if lacking else set())


# Files and the command

EMPTY = {"grid": GRID, "env": ENV, "contents": {}, "counts": {}, "fingerprints": {}}


STORED_VALUES = {
    "schema": 2,
    "counts": STORED.counts,
    "contents": STORED.contents,
    "runs": {"lora": [{"dice": dice, "train_peak_bytes": 9, "pace": 0.5} for dice in DICE]},
    "fingerprints": to_plain(STORED, {"fingerprints": {"__all__": {"trace"}}})["fingerprints"],
    "losses": STORED.losses,
    "env": ENV | {"numerics": {}},
}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no baseline at"),
        ("no json", "is not a baseline of this guard"),
        ("[1]", "it is not a JSON object"),
        (json.dumps({"grid": {**GRID, "colour": 1}}), "it.colour is 1: unexpected"),
        (json.dumps({"grid": GRID, "schema": 0}), "its schema is 0, this version reads 2"),
        (json.dumps({"grid": GRID, "schema": 2}), "it.env is missing"),
        (
            json.dumps({"grid": {**GRID, "steps": "2"}}),
            "it.steps is '2': input should be a valid integer",
        ),
        (json.dumps({**EMPTY, "schema": 2, "runs": {"lora": [{}]}}), "needs two seeds"),
        (
            json.dumps({**EMPTY, "schema": 2, "runs": {}, "env": {"system": "x", "packages": {}}}),
            "cpu is missing",
        ),
    ],
)
def test_a_missing_or_foreign_baseline_is_refused_in_one_sentence(
    text: str | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "guard.json"
    if text is not None:
        path.write_text(text)
    assert cli.main(["guard", "--baseline", str(path)]) == 2
    assert why in " ".join(capsys.readouterr().err.split())


@fuzz(changed_values(EMPTY | STORED_VALUES))
def test_spoiled_baselines(tmp_path: Path, values: Any) -> None:
    """A baseline with other values is compared, or refused in one sentence."""
    path = tmp_path / "guard.json"
    path.write_text(json.dumps(values))
    try:
        baseline.read_request(path)
        for now in (changed(), replace(changed(), env=ENV | {"numerics": {}})):
            guard.compare(baseline.read(path), now)
    except UserError as error:
        check_sentence(error, str(path))


DEFAULT = Request(**json.loads(baseline.DEFAULT_GRID))


def test_the_default_grid_is_that_of_the_committed_baseline() -> None:
    assert baseline.read_request(COMMITTED) == DEFAULT


@pytest.mark.parametrize(
    ("text", "grid", "said"),
    [
        (None, DEFAULT, "guard.json does not exist: the default grid is used"),
        (json.dumps({"grid": GRID, "schema": 0}), Request(**GRID), "is kept"),  # type: ignore[arg-type]
    ],
)
def test_a_baseline_is_made_where_there_is_none_and_keeps_its_grid_where_there_is(
    text: str | None,
    grid: Request,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "new" / "guard.json"
    if text is not None:
        path.parent.mkdir()
        path.write_text(text)
    asked = []

    def measured(request: Request, seeds: int, methods: list[str], covers: str) -> Figures:
        asked.append(request)
        return STORED

    monkeypatch.setattr("bench.guard.measure.measure", measured)
    assert cli.main(["guard", "--write", "--baseline", str(path)]) == 0
    assert asked == [grid]
    assert said in capsys.readouterr().out
    assert baseline.read(path) == STORED


@pytest.mark.parametrize("text", ["no json: at all", "[1]", "{}"])
def test_a_file_that_is_not_a_baseline_is_not_written_over(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.json"
    path.write_text(text)
    assert cli.main(["guard", "--write", "--baseline", str(path)]) == 2
    assert "notes.json is not a baseline of this guard" in capsys.readouterr().err
    assert path.read_text() == text


def test_a_grid_with_a_slip_and_a_folder_are_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    path.write_text(json.dumps({"grid": {**GRID, "colour": 1}}))
    with pytest.raises(UserError, match=r"it.colour.*mend it, or remove the file"):
        baseline.request_to_write(path, "built-in")
    with pytest.raises(UserError, match=r"cannot read .* it is no regular file"):
        baseline.request_to_write(tmp_path, "built-in")


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "guard.json"
    baseline.write(STORED, path)
    assert baseline.read(path) == STORED
    baseline.write(baseline.read(COMMITTED), path)
    assert path.read_bytes() == COMMITTED.read_bytes()
    with pytest.raises(UserError, match="because a run failed: diverged"):
        baseline.write(changed(dice=None, error="diverged: at step 3"), path)


def test_the_command_ends_with_one_and_a_table_of_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "guard.json"
    baseline.write(STORED, path)

    def ask(now: Figures, *more: str) -> tuple[int, list[str]]:
        monkeypatch.setattr("bench.guard.measure.measure", lambda request, seeds, *rest: now)
        code = cli.main(["guard", "--baseline", str(path), *more])
        return code, capsys.readouterr().out.splitlines()

    code, (note, line) = ask(changed())
    assert note == ELSEWHERE
    assert code == 0
    assert "2 methods compared, 1 trained, all as in" in line
    code, lines = ask(changed(dice=0.5, speed_ratio=0.1))
    assert code == 1
    assert sum("lora" in line for line in lines) == 2
    renewed = replace(STORED, runs={"lora": [Run(0.5 + n / 100, 1_000, 0.1) for n in range(6)]})
    assert ask(renewed, "--write")[0] == 0
    assert ask(changed(dice=0.5, speed_ratio=0.1))[0] == 0


# Planted in real methods


def keep_activations(model: Any) -> None:
    parts = list(model.image_encoder.modules())
    kept: deque[Any] = deque(maxlen=2 * len(parts))  # of this step and the one before
    for part in parts:
        part.register_forward_hook(lambda module, inputs, output: kept.append(output))


Plant = Callable[[Callable[[nn.Module], None]], None]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Change every model that is built from now on."""

    def planted(change: Callable[[nn.Module], None]) -> None:
        def found(name: str) -> Any:
            method = get_method(name)

            def build(*args: Any, **options: Any) -> nn.Module:
                model = method.build(*args, **options)
                change(model)
                return model

            return replace(method, build=build)

        for module in ("bench.guard.measure", "bench.run.cell"):
            monkeypatch.setattr(f"{module}.get_method", found)

    return planted


def cell_of(name: str, seed: int = 0) -> Cell:
    """A cell of the committed baseline's grid."""
    return replace(baseline.cells(replace(DEFAULT, methods=name), 1)[0], seed=seed)


@pytest.mark.slow
def test_every_seed_is_trained_and_every_method_counted(
    tmp_path: Path,
) -> None:
    folder = str(make_folder(tmp_path / "mine"))
    asked = {"weights": "random", "image_size": 64, "steps": 2, "batch_size": 2}
    found = measure(Request("frozen_head", folder, **asked), 2, ["lora"])  # type: ignore[arg-type]
    assert found.grid == {"methods": "frozen_head", "datasets": folder, **asked}
    assert list(found.counts) == list(found.fingerprints) == ["lora"]
    assert found.losses
    assert list(found.contents) == ["mine"]
    first, second = found.runs["frozen_head"]
    assert first.error is second.error is None
    assert first.train_peak_bytes == second.train_peak_bytes
    assert first.speed_ratio is not None
    assert first.speed_ratio > 0


def run(cell: Cell, folder: Path) -> Run:
    """Train a cell in this process, where regressions can be planted."""
    said: list[dict[str, Any]] = []
    run_with_reference(cell, Store.open(folder), said.append)
    return Run(**said[0])


def alarms(stored: Sequence[Run], *now: Run) -> list[str]:
    clean = replace(STORED, runs={"lora": stored})
    return measures(replace(clean, runs={"lora": now}), clean)


def short() -> Cell:
    """Memory and speed need no long training."""
    cell = cell_of("lora")
    return replace(cell, recipe=replace(cell.recipe, steps=4))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """A baseline of memory and speed on this machine."""
    return [run(short(), tmp_path_factory.mktemp("clean"))] * 2


@pytest.mark.slow
def test_a_leaked_activation_is_seen_in_memory(
    clean: list[Run], plant: Plant, tmp_path: Path
) -> None:
    plant(keep_activations)
    assert alarms(clean, run(short(), tmp_path)) == ["peak memory"]


@pytest.mark.slow
def test_a_step_taken_twice_is_seen_in_speed(
    clean: list[Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def twice(*args: Any) -> Any:
        train_step(*args)
        return train_step(*args)

    monkeypatch.setattr("bench.cost.measure.train_step", twice)
    assert "speed" in alarms(clean, run(short(), tmp_path))


@pytest.mark.slow
def test_a_worse_initialisation_is_seen_in_dice(tmp_path: Path) -> None:
    cell = cell_of("lora")
    worse = replace(cell, task=replace(cell.task, weights="random"), weights_sha="")
    found = run(worse, tmp_path)
    stored = [replace(found, dice=one.dice) for one in baseline.read(COMMITTED).runs["lora"]]
    assert alarms(stored, found) == ["Dice"]


@pytest.mark.slow
def test_ten_clean_repeats_raise_no_alarm(tmp_path: Path) -> None:
    first = run(cell_of("frozen_head"), tmp_path)
    stored = baseline.read(COMMITTED).runs["frozen_head"]
    stored = [replace(first, dice=one.dice) for one in stored]  # its speed is another machine's
    for repeat in range(10):  # of the two seeds that the guard trains
        assert alarms(stored, run(cell_of("frozen_head", repeat % 2), tmp_path)) == []
