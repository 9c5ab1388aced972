"""Files of `results/published/` that somebody changed are refused in one sentence."""

import shutil
from pathlib import Path

import pytest

from bench.ask import object_rules, proxy, published, reference, suites
from bench.errors import UserError

CACHES = (suites._suites, proxy._grid, object_rules._grid, reference._grids, published._by_place)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published files, which is read instead of them."""
    copy = Path(shutil.copytree(published.PUBLISHED, tmp_path / "published"))
    monkeypatch.setattr(published, "PUBLISHED", copy)
    for function in CACHES:
        monkeypatch.setattr(*_place(function), function.__wrapped__)
    return copy


def _place(function: object) -> tuple[object, str]:
    return next(
        (module, name)
        for module in (suites, proxy, object_rules, reference, published)
        for name, value in vars(module).items()
        if value is function
    )


def read_all() -> None:
    suites.list_suites()
    for module in (proxy, object_rules, reference):
        module.default_datasets()
    published.list_published()


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("suites.toml", 'title = "SAMed compared with networks made for organs"', "title = 3",
         "samed-comparison.title is 3: input should be a valid string"),
        ("suites.toml", 'title = "SAMed compared with networks made for organs"', "",
         "samed-comparison.title is missing"),
        ("suites.toml", 'table = "1: comparison"', 'table = "1: comparison"\ntabel = 1',
         "samed-comparison.tabel is 1: unexpected"),
        ("suites.toml", 'table = "1: comparison"', 'table = "1: comparison"\nfolds = 0',
         "folds of samed-comparison is 0: give a whole number from 1"),
        ("suites.toml", 'units = { "HD95 mean" = "voxels" }', 'units = { "HD95 mean" = 1 }',
         "samed-comparison.units.HD95 mean is 1: input should be a valid string"),
        ("suites.toml", '{ method = "U-Net", run = "unet" },', "3,",
         "samed-comparison.lines.0 is 3: input should be an object"),
        ("suites.toml", '{ method = "U-Net", run = "unet" },', "{ method = 'U', epochs = true },",
         "samed-comparison.lines.0.epochs is True: input should be a valid integer"),
        ("suites.toml", '{ method = "U-Net", run = "unet" },', "{ method = 'U', epochs = 0 },",
         "epochs of samed-comparison is 0: give a whole number from 1"),
        ("suites.toml", "[samed-comparison]", "[samed-comparison", "Expected"),
        ("suites.toml", "[samed-comparison]", "a = " + "[" * 9000, "cannot use"),
        ("suites.toml", "[samed-comparison]", "a = 3\n[samed-comparison]",
         "a is 3: input should be an object"),
        ("proxy.toml", "[kinds]", "[kinds]\nx = []", "kinds.x is empty"),
        ("proxy.toml", "[kinds]", "[kinds]\nx = 1", "it.kinds.x is 1: input should"),
        ("objects.toml", 'prompted = "zero_shot"', "prompted = [1]",
         "it.prompted is [1]: input should be a valid string"),
        ("objects.toml", 'folders = ["dsb2018", "emps"]', "", "it.folders is missing"),
        ("reference.toml", 'methods = "every"\n\n[[parts]]\ndatasets = ["uhcs"]',
         '[[parts]]\ndatasets = ["uhcs"]', "of a part methods is None: input should"),
        ("reference.toml", "folds = 4", "folds = 5", "of a part folds is 5, expected 4 at most"),
        ("reference.toml", "folds = 4", "fold = 4", "of a part 'fold' is an unknown field"),
        ("published_results.csv", "source,", "sauce,", "a row has no 'source'"),
        ("published_results.csv", "\n", "\nSAMed\n", "a row has no 'table'"),
        ("published_results.csv", "\n", "\n" + "x" * 200_000 + "\n", "field larger than"),
    ],
)  # fmt: skip
def test_a_changed_file_is_refused(folder: Path, file: str, old: str, new: str, fault: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    read_all()
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        read_all()
    assert f"cannot use '{folder / file}' (" in str(error.value)
    assert fault in str(error.value)


@pytest.mark.parametrize("file", ["suites.toml", "proxy.toml", "published_results.csv"])
def test_a_file_that_is_not_text_is_refused(folder: Path, file: str) -> None:
    (folder / file).write_bytes((folder / file).read_bytes() + b"\xff")
    with pytest.raises(UserError, match=r"cannot use .* \(.*utf-8.*restore the file"):
        read_all()
