"""Different weights are never one method, whatever their files are called."""

import dataclasses

from records import make_cell, make_record

from bench.report.compare.across_datasets import find_standings
from bench.report.compare.comparison import make_comparisons
from bench.report.compare.label_budgets import find_budgets
from bench.report.page.tables import overview_table
from bench.report.plots.label_budgets import budget_curves
from bench.report.plots.style import assign
from bench.report.records.frame import to_frame
from bench.report.records.weights import name_weights
from bench.spec import Cell


def weighed(path: str, sha: str = "", method: str = "lora", dataset: str = "steel") -> Cell:
    return dataclasses.replace(
        make_cell(method, weights=path, dataset=dataset), weights_sha=sha * 64
    )


def names(*weights: tuple[str, str]) -> list[str]:
    return name_weights([weighed(path, sha) for path, sha in weights])


def test_folders_are_shown_only_where_they_are_needed() -> None:
    assert names(("/a/best.pt", "a"), ("/b/last.pt", "b")) == ["best", "last"]
    assert names(("/a/best.pt", "a"), ("/b/best.pt", "b")) == ["a/best.pt", "b/best.pt"]
    assert names(("/x/a/best.pt", "a"), ("/y/a/best.pt", "b"))[0] == "x/a/best.pt"
    assert names(("/a/best.pt", "a"), ("/a/best.pth", "b")) == ["best.pt", "best.pth"]


def test_one_path_with_two_contents_tells_the_fingerprint() -> None:
    assert names(("best.pt", "a"), ("best.pt", "b")) == ["best aaaaaaaa", "best bbbbbbbb"]
    assert names(("pretrained", "a"), ("/a/pretrained.pt", "b"), ("random", "")) == [
        "pretrained", "pretrained.pt", "random",
    ]  # fmt: skip


def test_one_file_in_two_places_is_one_row() -> None:
    cells = [weighed("/b/best.pt", "a"), dataclasses.replace(weighed("best.pt", "a"), seed=1)]
    (found,) = make_comparisons(to_frame(map(make_record, cells)))
    assert [(row.weights, row.status) for row in found.rows] == [("best", "2 ok")]


def test_no_table_or_plot_merges_two_weights() -> None:
    records = [
        make_record(
            weighed(f"/{sha}/best.pt", sha, method, dataset),
            dice=0.5 + 0.1 * shift + 0.01 * len(method),
        )
        for dataset in ("steel", "nuclei", "emps")
        for method in ("lora", "full", "adapter")
        for shift, sha in enumerate("ab")
    ]
    split = {"split": {"train": 2, "val": 1, "test": 1}}
    records += [
        make_record(dataclasses.replace(record.cell, labels=2), env=split) for record in records[:2]
    ]
    split = {"split": {"train": 9, "val": 1, "test": 1}}
    records[:2] = [dataclasses.replace(record, env=split) for record in records[:2]]
    frame = to_frame(records)
    found = make_comparisons(frame)
    looks = assign(frame, [row for one in found for row in one.rows])
    assert all(len({row.name for row in one.rows}) == len(one.rows) for one in found)
    (part,) = overview_table([one for one in found if "labels" not in one.slug], looks, {})
    assert [len([f for f in line.figures if f]) for line in part.lines] == [3] * 6
    (standing,) = find_standings(found)
    assert standing.ranks.shape == (3, 6)
    (budgets,) = find_budgets(found)
    curves = budget_curves(budgets, looks)
    assert [look.name for look in curves] == ["lora (a/best.pt)", "lora (b/best.pt)"]
    assert [[images for images, _ in points] for points in curves.values()] == [[2, 9]] * 2
