"""--fit-memory: the largest parts of a batch that fit, the same for all methods of a table."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from records import make_cell, make_record

from bench.cost.predict.fit import Plan
from bench.cost.predict.memory import MemoryPrediction
from bench.errors import UnsupportedError
from bench.run import fit_memory as module
from bench.run.device_memory import CPU_EXTRA_BYTES, CPU_FACTOR
from bench.run.fit_memory import fit_memory
from bench.run.store import Store
from bench.run.training_sizes import TrainingSizes
from bench.spec import Cell, Recipe

GIB = 2**30
Available = Callable[[float], None]


@pytest.fixture
def available(monkeypatch: pytest.MonkeyPatch) -> Available:
    """Sets how many images fit at once; `full` needs 2 GiB for each, other methods 1 GiB."""

    def memory(plan: Plan, inference: bool = True) -> MemoryPrediction:
        images = -(-plan.recipe.batch_size // plan.recipe.accumulate)
        each = GIB * (2 if plan.method.name == "full" else 1)
        return MemoryPrediction(0, 0, 0, images * each, 0, 0)

    def allow(images: float) -> None:
        size = int(images * GIB * CPU_FACTOR[1]) + CPU_EXTRA_BYTES[1] + 10
        monkeypatch.setattr(module, "free_bytes", lambda device: size)

    monkeypatch.setattr(Plan, "memory", memory)
    monkeypatch.setattr(TrainingSizes, "of", lambda self, cell: 20)
    return allow


def cells(*methods: str, **recipe: object) -> list[Cell]:
    settings = {"batch_size": 12, "loss": "ce", **recipe}
    return [make_cell(name, recipe=Recipe(1e-3, **settings)) for name in methods]  # type: ignore[arg-type]


def parts(chosen: list[Cell]) -> list[int]:
    return [cell.recipe.accumulate for cell in chosen]


@pytest.mark.parametrize(
    ("images", "number"), [(12, 1), (11, 2), (6, 2), (5, 3), (3.5, 4), (2, 6), (1, 12)]
)
def test_the_largest_equal_parts_that_fit(
    tmp_path: Path, available: Available, images: float, number: int
) -> None:
    available(images)
    chosen, notes = fit_memory(cells("lora"), Store(tmp_path), "cpu")
    assert parts(chosen) == [number]
    words = (
        "batches of 12 fit as they are"
        if number == 1
        else f"batches of 12 in {number} parts of {12 // number} (--accumulate {number}): lora"
    )
    assert notes == [f"--fit-memory: {words}"]


def test_methods_of_one_table_have_the_same_number(tmp_path: Path, available: Available) -> None:
    available(6)
    chosen, notes = fit_memory(cells("lora", "full", "adapter"), Store(tmp_path), "cpu")
    assert parts(chosen) == [4, 4, 4]
    assert notes == [
        "--fit-memory: batches of 12 in 4 parts of 3 (--accumulate 4): lora, full, adapter"
    ]
    assert chosen[0].id != cells("lora")[0].id
    typed = replace(cells("lora")[0], recipe=replace(cells("lora")[0].recipe, accumulate=4))
    assert chosen[0].id == typed.id, "the cell is that of the typed number"
    published = [replace(cell, protocol="published") for cell in cells("lora", "full")]
    assert parts(fit_memory(published, Store(tmp_path), "cpu")[0]) == [2, 4]


def test_what_fits_in_no_way_is_named_and_leaves_the_others_alone(
    tmp_path: Path, available: Available
) -> None:
    available(1.5)
    chosen, notes = fit_memory(cells("lora", "full"), Store(tmp_path), "cpu")
    assert parts(chosen) == [12, 12]
    assert notes[0].startswith("--fit-memory: full on sam_nano")
    assert "no change of the recipe makes it fit" in notes[0]


def test_a_second_run_finds_the_records_of_the_first(tmp_path: Path, available: Available) -> None:
    store = Store.open(tmp_path)
    available(6)
    (first,), _ = fit_memory(cells("lora"), store, "cpu")
    store.write(make_record(first))
    available(12)  # now a whole batch fits, too
    (again,), _ = fit_memory(cells("lora"), store, "cpu")
    assert again == first
    available(3)  # parts of 6 fit no longer
    (smaller,), _ = fit_memory(cells("lora"), store, "cpu")
    assert smaller.recipe.accumulate == 4


def test_an_update_that_is_not_equal_is_named(tmp_path: Path, available: Available) -> None:
    available(6)
    grid = cells("lora", loss="balanced_ce_dice")
    grid.append(make_cell("unet", backbone="none", recipe=grid[0].recipe))
    _, notes = fit_memory(grid, Store(tmp_path), "cpu")
    assert notes[1] == (
        "--fit-memory: the loss balanced_ce_dice, BatchNorm in unet: computed for each part, so the"
        " update is not that of the whole batch"
    )


def test_nothing_is_chosen_where_the_memory_is_not_known(
    tmp_path: Path, available: Available, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: None)
    chosen, notes = fit_memory(cells("lora"), Store(tmp_path), "cpu")
    assert parts(chosen) == [1]
    assert notes == ["--fit-memory: lora: the free memory is not known"]


def test_parts_that_are_not_predicted_do_not_count_as_fitting(
    tmp_path: Path, available: Available, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory(plan: Plan, inference: bool = True) -> MemoryPrediction:
        images = plan.recipe.batch_size // plan.recipe.accumulate
        if images == 1 or plan.method.name == "full":
            raise UnsupportedError("the model refuses the batch")
        return MemoryPrediction(0, 0, 0, images * GIB, 0, 0)

    monkeypatch.setattr(Plan, "memory", memory)
    available(0.9)
    chosen, notes = fit_memory(cells("lora"), Store(tmp_path), "cpu")
    assert parts(chosen) == [1]
    assert len(notes) == 1
    assert "lora on sam_nano does not fit" in notes[0]
    available(12)
    chosen, notes = fit_memory(cells("lora", "full"), Store(tmp_path), "cpu")
    assert parts(chosen) == [1, 1]
    assert notes == ["--fit-memory: full: the model refuses the batch"]
