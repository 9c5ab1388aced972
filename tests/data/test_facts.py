"""What is told of a collection: by data check, dry runs, records, index.md and the page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from troubled_folders import folder, save, three, two

from bench import cli
from bench.data.facts import ClassFacts, CollectionFacts
from bench.data.folder.read import read_folder
from bench.data.items import Collection, Item
from bench.report.records.image_facts import image_facts_of
from bench.spec import Cell, Recipe, Task


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images with masks 0, 1, 2, of which b lacks 2; one mask with an ignored row."""
    root = folder(tmp_path / "mine", lambda n: two(n) if n == 1 else three(n))
    ignored = three(0)
    ignored[0] = 255
    save(ignored, root / "masks/a.png")
    (root / "instances").mkdir()
    save(three(2), root / "instances/c.png")
    save(three(2), root / "instances/d.png")
    (root / "images/scale.txt").write_text("1 px = 2 nm")
    (root / "images/.DS_Store").write_text("")
    (root / "images/raw").mkdir()
    (root / "old").mkdir()
    (root / "notes.docx").write_text("")
    (root / "groups.csv").write_text("a,s1\nb,s1\nc,s1\n")
    return root


def test_facts_are_those_of_the_files(root: Path) -> None:
    facts = CollectionFacts.of(read_folder(root))
    masks = [three(0)[1:], two(1), three(2)]
    labelled = sum(mask.size for mask in masks)
    assert facts.sizes == {(40, 48): 3}
    assert facts.types == {"uint8, 1 channel": 3}
    for index, images in ((0, 3), (1, 3), (2, 2)):
        share = sum(int((mask == index).sum()) for mask in masks) / labelled
        name = "background" if index == 0 else f"class {index}"
        assert facts.classes[index] == ClassFacts(name, share, images)
    assert facts.unlabelled == pytest.approx(48 / (3 * 40 * 48))
    assert (facts.instances, facts.numbered, facts.specimens) == (2, 1, 1)
    assert facts.parts == {}
    assert any("too few specimen groups to split: 1 for" in text for text in facts.assumed)
    assert facts.left_out == (
        "images/: 1 folder (raw)",
        "images/: 1 hidden file (.DS_Store)",
        "images/: 1 file (scale.txt)",
        "instances/: 1 map (d.png) of no image that is used",
        "1 folder (old)",
        "1 file (notes.docx)",
    )


def test_arrays_have_the_same_facts_as_files(root: Path) -> None:
    collection = read_folder(root)
    again = Collection("mine", collection.classes, collection.items)
    assert CollectionFacts.of(again).classes == CollectionFacts.of(collection).classes
    drawn = Collection("drawn", ("a", "b"), (Item("x", two(0) * 90, two(0), "g"),))
    assert CollectionFacts.of(drawn).classes[1].share == pytest.approx(two(0).mean())


def test_parts_and_several_sizes(tmp_path: Path) -> None:
    root = folder(tmp_path, two)
    save(two(0)[:-4], root / "masks/a.png")
    tifffile.imwrite(root / "images/a.tif", np.zeros((36, 48), np.uint16))
    (root / "images/a.png").unlink()
    facts = CollectionFacts.of(read_folder(root))
    assert facts.sizes == {(40, 48): 2, (36, 48): 1}
    assert facts.types == {"uint8, 1 channel": 2, "uint16, 1 channel": 1}
    assert facts.parts == {"train": 1, "val": 1, "test": 1}
    assert "3 images (40 x 48 (2), 36 x 48 (1) px; uint8, 1 channel (2), uint16" in facts.summary


def test_data_check_prints_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", str(root)]) == 0
    shown = capsys.readouterr().out
    for text in ("40 x 48", "2 in 1 image", "class 2", "left out: images/: 1 file (scale.txt)"):
        assert text in shown
    assert cli.main(["data", "check", str(root), "--crop", "top=10"]) == 0
    assert "30 x 48" in capsys.readouterr().out


def test_reports_list_the_facts_of_each_collection_once() -> None:
    cells = [Cell("lora", name, Task(2), Recipe(1e-3)) for name in ("x", "x", "old")]
    frame = pd.DataFrame(
        {
            "cell": cells,
            "env/images/summary": ["3 images", "3 images", None],
            "env/images/assumed": [["a guess"], ["a guess"], None],
            "env/images/left_out": [["a.txt"], ["a.txt"], None],
        }
    )
    assert image_facts_of(frame) == ["x: 3 images; assumed: a guess; left out: a.txt"]
    assert image_facts_of(frame[["cell"]]) == []
