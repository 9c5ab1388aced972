"""Every table has a file name of its own, whatever its dataset is called."""

import dataclasses
import unicodedata
from pathlib import Path

import pytest
from records import make_cell, make_record

from bench.report.compare.comparison import make_comparisons
from bench.report.compare.grouping import names_of
from bench.report.records.frame import to_frame
from bench.report.tables.write import write_tables
from bench.spec import Cell


def slugs(*datasets: str, labels: int | None = None) -> list[str]:
    return [slug for _, slug in names_of([make_cell(dataset=d, labels=labels) for d in datasets])]


def test_letters_of_any_script_stay() -> None:
    assert slugs("Stähle", "Stühle", "鋼", "steel 1.5") == ["Stähle", "Stühle", "鋼", "steel-1.5"]
    spelt = [unicodedata.normalize(form, "Stähle") for form in ("NFC", "NFD")]
    assert slugs(spelt[0]) == slugs(spelt[1]), "a disk may spell a letter in two parts"


@pytest.mark.parametrize(
    "datasets", [("a b", "a_b"), ("Steel", "steel"), ("🔬", "🔭"), ("records", ".")]
)
def test_what_would_share_a_file_name_gets_another_that_stays(datasets: tuple[str, str]) -> None:
    found = slugs(*datasets, "nuclei")
    assert found[2] == "nuclei"
    assert len({slug.casefold() for slug in found} - {"", "records"}) == 3
    assert slugs("emps", *reversed(datasets))[:0:-1] == found[:2]


def test_a_thousand_labels_are_named_as_asked_for() -> None:
    assert slugs("steel", labels=1000) == ["steel_1000-labels"]
    (found,) = make_comparisons(to_frame([make_record(make_cell(labels=1000))]))
    assert found.title.count("labels") == 1


def test_the_same_words_with_other_contents_tell_the_fingerprint() -> None:
    cells: list[Cell] = [dataclasses.replace(make_cell(), dataset_sha=c * 64) for c in "ab"]
    assert [slug for _, slug in names_of(cells)] == ["steel_data-aaaaaaaa", "steel_data-bbbbbbbb"]


def test_no_table_overwrites_another(tmp_path: Path) -> None:
    names = ("a b", "a_b", "records")
    frame = to_frame(make_record(make_cell(dataset=name)) for name in names)
    written = write_tables(frame, tmp_path, make_comparisons(frame))
    assert len(set(written)) == len(written) == len(list(tmp_path.iterdir())) == 10
