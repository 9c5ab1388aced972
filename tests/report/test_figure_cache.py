"""A report draws only what has changed, and gives the same files as one that draws everything."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from records import make_cell, make_failure, make_record

from bench.report.compare.comparison import make_comparisons
from bench.report.overview import write_report
from bench.report.plots import drawing, gallery, write
from bench.report.plots.cache import FigureCache
from bench.report.plots.style import Series, save, style
from bench.report.records import digests as digests_module
from bench.report.records.digests import RecordDigests
from bench.report.records.frame import to_frame
from bench.report.records.rows import Row
from bench.spec import Record

Images = dict[str, Callable[[str], tuple[Any, Any]]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the figures that are drawn; they are drawn by hand, fast."""
    names: list[str] = []

    def instead(figure: Any, path: Path, *, vector: bool = True) -> list[Path]:
        names.append(path.name)
        path.parent.mkdir(exist_ok=True, parents=True)
        files = [path.with_name(f"{path.name}.{end}") for end in ("png", "svg")[: 1 + vector]]
        for file in files:
            file.write_text(f"{path.name} number {len(names)}")
        return files

    monkeypatch.setattr(drawing, "save", instead)
    monkeypatch.setattr(gallery, "save", instead)
    return names


@pytest.fixture(autouse=True)
def nothing_drawn(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """With `drawn`, figures are empty."""
    if "drawn" in request.fixturenames:
        kinds: dict[str, Any] = {kind: lambda comparison, looks: None for kind in write.KINDS}
        kinds |= {kind: lambda comparison, looks: _Empty() for kind in ("pareto", "memory")}
        monkeypatch.setattr(write, "KINDS", kinds)
        monkeypatch.setattr(write, "draw_ranks", lambda standing, looks: _Empty())
        monkeypatch.setattr(write, "draw_budgets", lambda budgets, looks: _Empty())


class _Empty:
    def clear(self) -> None:
        """In place of a figure."""


def report(
    records: Sequence[Record], folder: Path, images: Images | None = None, cached: bool = True
) -> list[str]:
    digests = RecordDigests()
    frame = to_frame(digests.note(records))
    files = write_report(
        frame,
        make_comparisons(frame),
        folder,
        images,
        digests=digests if cached else None,
    )
    return [path.relative_to(folder).as_posix() for path in files]


def two_tables() -> list[Record]:
    return [
        make_record(make_cell(method, dataset=dataset), dice=dice)
        for dataset in ("nuclei", "steel")
        for method, dice in (("adapter", 0.7), ("lora", 0.8))
    ]


def test_only_the_comparison_of_a_new_record_is_drawn_again(
    tmp_path: Path, drawn: list[str]
) -> None:
    records = two_tables()
    files = report(records, tmp_path)
    assert drawn == ["nuclei_pareto", "nuclei_memory", "steel_pareto", "steel_memory"]
    drawn.clear()
    assert report(records, tmp_path) == files
    assert report(records[::-1], tmp_path), "the order of reading does not matter"
    assert drawn == []
    added = [*records, make_record(make_cell("lora", seed=1), dice=0.81)]
    assert report(added, tmp_path) == files
    assert drawn == ["steel_pareto", "steel_memory"]
    drawn.clear()
    changed = [*records[:3], make_failure(records[3].cell)]
    report(changed, tmp_path)
    assert drawn == ["steel_pareto", "steel_memory"]


def test_figures_of_several_comparisons(tmp_path: Path, drawn: list[str]) -> None:
    records = [
        make_record(make_cell(method, dataset=dataset), dice=dice)
        for dataset in ("nuclei", "organs", "steel")
        for method, dice in (("adapter", 0.7), ("full", 0.6), ("lora", 0.8))
    ]
    report(records, tmp_path)
    assert drawn[-1] == "across-3-datasets_ranks"
    drawn.clear()
    report([*records, make_record(make_cell("lora", seed=1), dice=0.81)], tmp_path)
    assert "across-3-datasets_ranks" not in drawn, "the ranks are the same"
    drawn.clear()
    report([*records, make_record(make_cell("full", seed=1), dice=0.99)], tmp_path)
    assert drawn[-1] == "across-3-datasets_ranks"


def test_a_new_name_changes_the_looks_of_no_other(tmp_path: Path, drawn: list[str]) -> None:
    records = two_tables()
    report(records, tmp_path)
    drawn.clear()
    new = make_record(make_cell("zero_shot"))
    report([*records, new], tmp_path)
    assert drawn == ["steel_pareto", "steel_memory"]
    drawn.clear()
    report([*records, new, make_record(make_cell("aardvark"))], tmp_path)
    assert drawn == ["steel_pareto", "steel_memory"], "though it is the first by name"


@pytest.mark.parametrize(
    "note", ["", "{", "[]", '{"key": 1}', '{"key": "KEY", "files": {"../index.md": "x"}}']
)
def test_a_broken_or_foreign_note_is_made_again(
    note: str, tmp_path: Path, drawn: list[str]
) -> None:
    report(two_tables(), tmp_path)
    path = tmp_path / "cache" / "figures" / "steel_pareto.json"
    whole = path.read_text()
    path.write_text(note.replace("KEY", json.loads(whole)["key"]))
    drawn.clear()
    report(two_tables(), tmp_path)
    assert drawn == ["steel_pareto"]
    assert json.loads(path.read_text())["key"] == json.loads(whole)["key"]


def test_a_figure_that_was_changed_or_removed_is_drawn_again(
    tmp_path: Path, drawn: list[str]
) -> None:
    report(two_tables(), tmp_path)
    (tmp_path / "plots" / "steel_pareto.svg").write_text("edited")
    (tmp_path / "plots" / "nuclei_memory.png").unlink()
    drawn.clear()
    report(two_tables(), tmp_path)
    assert drawn == ["nuclei_memory", "steel_pareto"]


def test_other_code_draws_everything(
    tmp_path: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report(two_tables(), tmp_path)
    drawn.clear()
    monkeypatch.setattr("bench.report.plots.cache.code_version", lambda: "of another version")
    report(two_tables(), tmp_path)
    assert len(drawn) == 4
    assert len(digests_module.code_version()) == 64


def test_galleries_follow_their_predictions(tmp_path: Path, drawn: list[str]) -> None:
    record = make_record(image_dice=[0.9, 0.1, 0.6])
    maps = tmp_path / "predictions" / record.cell.id
    maps.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(maps / f"image_{number}.png")
    asked: list[str] = []

    def look_up(name: str) -> tuple[Any, Any]:
        asked.append(name)
        return np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8)

    files = report([record], tmp_path, {"steel": look_up})
    assert "plots/steel_gallery.png" in files
    assert drawn[-1] == "steel_gallery"
    drawn.clear()
    asked.clear()
    assert report([record], tmp_path, {"steel": look_up}) == files
    assert drawn == asked == []
    Image.fromarray(np.ones((8, 8), np.uint8)).save(maps / "image_1.png")
    report([record], tmp_path, {"steel": look_up})
    assert drawn == ["steel_gallery"]


def test_with_and_without_cache_the_files_are_the_same(tmp_path: Path) -> None:
    records = two_tables()[1:]
    cached, whole = tmp_path / "cached", tmp_path / "whole"
    report(records[:1], cached)
    for _ in range(2):
        assert report(records, cached) == report(records, whole, cached=False)
    names = {path.relative_to(whole) for path in whole.rglob("*.*")}
    own = [path for path in cached.rglob("*.*") if cached / "cache" not in path.parents]
    assert names == {path.relative_to(cached) for path in own}
    for name in names:
        assert (cached / name).read_bytes() == (whole / name).read_bytes(), name


def with_sizes(record: Record) -> Record:
    """The record, if the objects of its images had been measured."""
    sizes: dict[str, Any] = {"particles_truth": 9, "d50": 5.0, "d50_truth": 4.0, "d50_error": 1.0}
    sizes |= {"size_counts": [0, 0, 4, 1], "size_counts_truth": [0, 3, 6]}
    values = {f"{key}/{record.classes[1]}": value for key, value in sizes.items()}
    return dataclasses.replace(
        record, per_image=tuple({**row, **values} for row in record.per_image)
    )


@pytest.mark.parametrize("kind", list(write.KINDS))
def test_a_figure_shows_no_other_part_of_a_look(kind: str, tmp_path: Path) -> None:
    frame = to_frame([with_sizes(make_record(make_cell(seed=seed))) for seed in range(2)])
    (comparison,) = make_comparisons(frame)
    look = Series("lora", "#CC6677", "o", "-")
    other = Series("full", "#332288", "s", "--")
    unseen = {part: getattr(other, part) for part in vars(other) if part not in write.LOOKS[kind]}

    def files(one: Series) -> list[bytes]:
        looks: dict[Row, Series] = dict.fromkeys(comparison.rows, one)
        with style():
            figure = write.KINDS[kind](comparison, looks)
            assert figure is not None
            return [path.read_bytes() for path in save(figure, tmp_path / "one")]

    assert files(dataclasses.replace(look, **unseen)) == files(look)


def test_records_that_were_not_noted_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    (comparison,) = make_comparisons(to_frame([make_record()]))
    with pytest.raises(KeyError):
        FigureCache(tmp_path, RecordDigests()).records_of(comparison)
