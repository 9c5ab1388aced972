"""The list of cells says what a run with the same options would do."""

import json
from pathlib import Path

import pytest
from folders import make_folder
from records import make_cell, make_failure

from bench import cli
from bench.run.shard import shard_of
from bench.run.store import Store
from bench.spec import Cell

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    make_folder(Path("mine"))
    options = "--methods lora,unet --dataset mine --seeds 2 --device cpu --steps 2 --image-size 64"
    return ["cells", *options.split(), "--weights", "random", "--out", "out"]


def listed(capsys: Captured) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_each_cell_has_its_state(
    words: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells: list[Cell] = []
    monkeypatch.setattr("bench.cli.grid_cells.describe_cell", spy(cells))
    assert cli.main([*words, "--json"]) == 0
    rows = listed(capsys)
    assert [row["status"] for row in rows] == [None] * 4
    assert not Path("out").exists()
    store = Store.open(Path("out"))
    for cell, status in zip(cells[:3], ("oom", "failed", "unsupported"), strict=True):
        store.write(make_failure(cell, status))  # type: ignore[arg-type]
    assert cli.main([*words, "--json"]) == 0
    rows = listed(capsys)
    assert [row["status"] for row in rows] == ["oom", "failed", "unsupported", None]
    assert [row["done"] for row in rows] == [True, False, True, False]
    assert Path(str(rows[0]["record"])).is_file()
    assert cli.main([*words, "--json", "--retry"]) == 0
    assert not any(row["done"] for row in listed(capsys))


def spy(cells: list[Cell]) -> object:
    from bench.cli.grid_cells import describe_cell

    def describe(cell: Cell, store: Store, retry: bool) -> dict[str, object]:
        cells.append(cell)
        return describe_cell(cell, store, retry)

    return describe


def test_a_shard_runs_one_cell(words: list[str], capsys: Captured) -> None:
    assert cli.main([*words, "--json"]) == 0
    for row in listed(capsys):
        assert cli.main([*words, "--json", "--shard", str(row["shard"])]) == 0
        assert [one["id"] for one in listed(capsys)] == [row["id"]]


def test_shards_are_dealt_out_by_hash() -> None:
    cells = [make_cell(seed=seed) for seed in range(5)]
    (third,) = shard_of(cells, "3/5")
    assert third.id[-10:] == sorted(cell.id[-10:] for cell in cells)[2]


def test_lines_are_for_the_shell(words: list[str], capsys: Captured) -> None:
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    assert [line.split()[:3] for line in captured.out.splitlines()] == [["to", "do", "-"]] * 4
    assert "4 cells, 0 done" in captured.err


def test_a_missing_option_is_named(capsys: Captured) -> None:
    assert cli.main(["cells", "--methods", "lora"]) == 2
    assert "--dataset is missing" in capsys.readouterr().err
