"""Every change by hand is found, and nothing else."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from records import CLASSES, ENV, report_of

from bench import cli
from bench.ask.grid import LoadedDataset
from bench.ask.suites import SuiteChoice, expand_suite, get_suite
from bench.data.fingerprint import fingerprint
from bench.data.items import Collection, Item
from bench.data.selection import WHOLE, Selection
from bench.errors import UserError
from bench.evaluate.scoring import Prediction, Scoring
from bench.report.compare.comparison import make_comparisons
from bench.report.page import Report, build_page
from bench.report.published.ledger_file import write_ledger
from bench.report.records.frame import to_frame
from bench.run.store import Store
from bench.spec import SCHEMA, Cell, Recipe, Record, Task
from bench.verify import verify

RNG = np.random.default_rng(0)
MASKS = RNG.integers(0, 3, (3, 12, 16)).astype(np.uint8)
ITEMS = tuple(Item(f"i{n}", mask * 80, mask, f"g{n}") for n, mask in enumerate(MASKS))
MADE = Collection("made", CLASSES, ITEMS)


def load(name: str, selection: Selection = WHOLE) -> Collection:
    if name not in ("made", "steel"):
        raise UserError("not here")
    return dataclasses.replace(MADE, name=name)


def run(store: Store, method: str, dataset: str) -> None:
    """A run on the made images, with its predictions stored."""
    sha = fingerprint(load("made"))
    run_cell(store, Cell(method, dataset, Task(3), Recipe(lr=1e-3), dataset_sha=sha))


def run_cell(store: Store, cell: Cell) -> None:
    scoring, folder = Scoring(MADE), store.predictions(cell)
    folder.mkdir(parents=True)
    for item, mask in zip(ITEMS, MASKS, strict=True):
        predicted = np.where(RNG.random(mask.shape) < 0.3, 1, mask).astype(np.uint8)
        scoring.add(Prediction(item, mask, predicted, (predicted > 0).astype(np.float32)))
        Image.fromarray(predicted).save(folder / f"{item.name}.png")
    metrics, rows = scoring.summary(), tuple(scoring.images)
    store.write(Record(cell, "ok", classes=CLASSES, metrics=metrics, per_image=rows, env=ENV))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store.open(tmp_path_factory.mktemp("results"))
    for method, dataset in (("lora", "made"), ("full", "made"), ("lora", "elsewhere")):
        run(store, method, dataset)
    write_page(store)
    report_of(store.read_all(), store.folder)
    return store.folder


def write_page(store: Store) -> None:
    """A page with pictures, which nothing but the images can give."""
    frame, records = to_frame(store.read_all()), store.read_all()
    image = np.zeros((12, 16, 3), np.uint8)
    masks = {item.name: (image, mask) for item, mask in zip(ITEMS, MASKS, strict=True)}
    images = {"made": lambda name: masks[name]}
    predictions = store.folder / "predictions"
    report = Report(records, frame, make_comparisons(frame), (), images, predictions)
    page = build_page(report)
    assert 'class="gallery"' in page
    (store.folder / "report.html").write_text(page)


@pytest.fixture
def results(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "results"))


def edit(change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Change the first record of `made`."""

    def apply(folder: Path) -> None:
        file = next((folder / "records").glob("made_*full*.json"))
        values = json.loads(file.read_text())
        change(values)
        file.write_text(json.dumps(values))

    return apply


def replace_in(pattern: str, old: str, new: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (file,) = folder.glob(pattern)
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return apply


def blank(folder: Path) -> None:
    file = next(folder.glob("predictions/made_*full*/i1.png"))
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(file)


def shrink(folder: Path) -> None:
    file = next(folder.glob("predictions/made_*full*/i1.png"))
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(file)


def scribble(folder: Path) -> None:
    next(folder.glob("predictions/made_*full*/i1.png")).write_text("no picture")


def test_a_folder_as_it_was_written_is_sound(sound: Path) -> None:
    verdict = verify(sound, load)
    assert verdict.findings == ()
    assert verdict.compared["record"] == 3
    assert verdict.compared["predicted map"] == 6
    assert verdict.compared["table"] > 3
    assert verdict.compared["figure"] == 2
    assert verdict.compared["page"] == 1
    assert verdict.skipped == ("predictions of elsewhere: its images are not on this machine",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit(lambda r: r["metrics"].update(dice_dataset=0.99)), "dice_dataset is 0.99, its im"),
        (edit(lambda r: r["metrics"].update(hd95_pooled_px=0.5)), "hd95_pooled_px is 0.5, its"),
        (edit(lambda r: r["per_image"][1].update(dice=1.0)), "dice is 1.0, this map gives 0"),
        (edit(lambda r: r["metrics"].pop("hd95_pooled_px")), "images give, such as hd95_pooled_px"),
        (edit(lambda r: r["metrics"].pop("pixel_accuracy")), "its maps give, such as pixel_acc"),
        (edit(lambda r: r["per_image"][1].pop("overlap_px/carbide")), "rows of its images cannot"),
        (edit(lambda r: r["per_image"][1].update(name="i9")), "is missing, its record"),
        (edit(lambda r: r["cell"]["recipe"].update(lr=0.1)), "has an id that moved: 'made_"),
        (edit(lambda r: r.update(schema=SCHEMA + 1)), f"has record schema {SCHEMA + 1}, this"),
        (edit(lambda r: r.pop("metrics") and r.pop("cell")), "is not a record (KeyError"),
        (replace_in("tables/made.md", "full", "best"), "line "),
        (replace_in("index.md", "Results", "Triumphs"), "line 1 is '# Triumphs', the records"),
        (replace_in("report.html", "<h2", "<h3"), "', the records give '"),
        (replace_in("report.html", "H4sI", "H4sIH"), "cannot be read"),
        (replace_in("plots/made_classes.svg", "</svg>", "<g/></svg>"), "differs from the figure"),
        (lambda folder: (folder / "tables" / "other.md").write_text("x"), "does not come from any"),
        (lambda folder: next(folder.glob("predictions/made_*full*/i1.png")).unlink(), "is missing"),
        (blank, "this map gives"),
        (shrink, "cannot be scored: prediction (5, 5) and mask (12, 16)"),
        (scribble, "cannot be scored"),
    ],
)  # fmt: skip
def test_every_change_by_hand_is_found(
    results: Path, change: Callable[[Path], None], message: str
) -> None:
    change(results)
    findings = verify(results, load).findings
    assert any(message in finding.message for finding in findings), findings


def test_bytes_that_are_not_text_are_findings(results: Path) -> None:
    paths = {results / name for name in ("tables/made.md", "plots/made_classes.svg", "ledger/x.md")}
    (results / "report.html").unlink()  # and other figures, which take time
    shutil.rmtree(results / "plots")
    for folder in ("plots", "ledger"):
        (results / folder).mkdir()
    for path in paths:
        path.write_bytes(b"\xff\xfe")
    findings = verify(results, load).findings
    assert {one.path for one in findings} == paths
    assert {one.message for one in findings} == {"is not a text file in UTF-8"}


def test_figures_of_another_matplotlib_are_not_compared(results: Path) -> None:
    replace_in("plots/made_classes.svg", "Matplotlib v", "Matplotlib v0.")(results)
    assert verify(results, load).findings == ()


def test_files_that_are_not_stored_are_named_and_not_wrong(results: Path) -> None:
    (results / "tables" / "made.tex").unlink()
    verdict = verify(results, load)
    assert verdict.findings == ()
    assert "tables/made.tex: not stored" in verdict.skipped
    shutil.rmtree(results / "tables")
    for path in (*results.glob("plots/*.svg"), *results.glob("plots/*_memory.png")):
        path.unlink()
    (results / "report.html").unlink()
    verdict = verify(results, load)
    assert verdict.findings == ()
    assert verdict.compared["figure"] == 0
    assert any(text.endswith(" files of tables: not stored") for text in verdict.skipped)
    assert "report.html: not stored" in verdict.skipped


@pytest.fixture
def steel(tmp_path: Path) -> Store:
    """Runs of a suite, with its ledger."""
    store = Store.open(tmp_path)
    suite, data = (
        get_suite("steel-baselines"),
        LoadedDataset(load("steel"), fingerprint(MADE), ((),)),
    )
    asked = SuiteChoice(seeds="1", request={"weights": "pretrained"})
    cells, _ = expand_suite(suite, asked, {"steel": data})
    for found in cells.values():
        for cell in found:
            run_cell(store, cell)
    write_ledger(suite, asked, cells, {r.cell.id: r for r in store.read_all()}, tmp_path)
    report_of(store.read_all(), tmp_path)
    return store


def test_ledgers_follow_from_the_records(steel: Store) -> None:
    verdict = verify(steel.folder, load)
    assert verdict.findings == ()
    assert verdict.compared["ledger"] == 1
    replace_in("ledger/steel-baselines.md", "not comparable", "reproduced")(steel.folder)
    (finding,) = verify(steel.folder, load).findings
    assert finding.path.name == "steel-baselines.md"
    assert "reproduced" in finding.message
    for old, new in (
        ("<!-- asked", "<!-- aksed"),
        ('"dataset"', '"data'),
        ('"weights"', '"wights"'),
    ):
        replace_in("ledger/steel-baselines.md", old, new)(steel.folder)
        assert "has no note of the request that it answers" in [
            one.message for one in verify(steel.folder, load).findings
        ]
        replace_in("ledger/steel-baselines.md", new, old)(steel.folder)
    replace_in("ledger/steel-baselines.md", '"seeds": "1"', '"seeds": 1')(steel.folder)
    messages = [one.message for one in verify(steel.folder, load).findings]
    assert messages == ["its note was changed: seeds is 1: input should be a valid string"]


def test_without_images_no_ledger_is_compared(steel: Store) -> None:
    def nowhere(name: str, selection: Selection) -> Collection:
        raise UserError(f"no {name}")

    verdict = verify(steel.folder, nowhere)
    assert verdict.findings == ()
    assert any(
        "steel-baselines.md: its images are not on this machine" in text for text in verdict.skipped
    )


def test_with_other_images_no_ledger_is_compared(steel: Store) -> None:
    def other(name: str, selection: Selection) -> Collection:
        return dataclasses.replace(load(name, selection), items=MADE.items[:-1])

    verdict = verify(steel.folder, other)
    assert verdict.findings == ()
    sentence = "steel-baselines.md: its images on this machine differ from those of the runs"
    assert sentence in verdict.skipped


def test_the_command_names_what_differs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", "--results", str(results)]
    assert cli.main(words) == 0
    assert "nothing differs" in capsys.readouterr().out
    (results / "tables" / "made.md").write_text("x")
    assert cli.main(words) == 1
    out = capsys.readouterr().out
    assert "made.md: line 1 is 'x'" in out
    assert "1 finding" in out
    assert cli.main(["verify", "--results", str(results / "none")]) == 2
