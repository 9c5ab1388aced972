"""Readers of public collections, on tiny ones in the same layouts; and on real ones where present.

Every collection in `EXPECTED` goes through the same tests; a new reader adds a line here and a
maker to layouts.py.
"""

import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import layouts
import numpy as np
import pytest

from bench import cli
from bench.data.decode import decode, instance_numbers
from bench.data.fingerprint import fingerprint
from bench.data.items import IGNORE, Collection
from bench.data.public.download import find_folder, require_folder
from bench.errors import UserError
from bench.plugins import registry
from bench.plugins.registry import list_datasets, load_collection


class Expected(NamedTuple):
    """What the tiny collection holds, and the file whose loss must be told."""

    groups: dict[str, int]  # group to number of items
    parts: tuple[int, int, int] | None  # items to train, validate, test; None without a split
    needed: str
    instances: int = 0  # in the first item
    ignored: bool = False


EXPECTED = {
    "uhcs": Expected(
        {"uhcs0006": 1, "uhcs0007": 1, "uhcs0075": 1, "uhcs0124": 1}, (2, 1, 1),
        "labels/uhcs0007.npy",
    ),
    "metaldam": Expected(
        {"1": 1, "1_3fases_incluyePrecipitados": 1, "C6-C8-c12-400": 2, "C62-c14-300": 3,
         "IV-26": 2}, None, "images/IV-26-03.png", ignored=True,
    ),
    "nasa_super": Expected(
        {"spot3": 2, "spot4": 1, "spot1": 1, "spot2": 1, "SE": 1}, (3, 1, 2),
        "Super1/val_annot/spot1_0d_0_mask.tif",
    ),
    "emps": Expected(
        {"10.1/x": 2, "10.1/y": 1, "10.1/z": 1}, (3, 0, 1), "segmaps/0b.png", instances=4,
    ),
    "dsb2018": Expected(
        {"0" * 16: 1, "1a" * 8: 1, "f3" * 8: 1}, None, f"{'1a' * 32}/images/{'1a' * 32}.png",
        instances=3,
    ),
    "nuinsseg": Expected(
        {"human bladder": 2, "mouse heart": 1}, None,
        "human bladder/label masks modify/human_bladder_02.tif", instances=3,
    ),
    "monuseg": Expected(
        {"TCGA-18-5592": 2, "TCGA-2Z-A9J9": 1}, (2, 0, 1),
        "MoNuSegTestData/TCGA-2Z-A9J9-01A-01-TS1.tif", instances=2,
    ),
    "camo": Expected(
        {f"camourflage_0000{number}": 1 for number in range(3)}, (2, 0, 1),
        "GT/camourflage_00002.png",
    ),
    "chameleon": Expected({"animal-1": 1, "animal-2": 1}, None, "Imgs/animal-2.jpg"),
    "cod10k": Expected(
        {f"COD10K-CAM-1-Aquatic-1-BatFish-{number}": 1 for number in range(3)}, (2, 0, 1),
        "Test/GT_Object/COD10K-CAM-1-Aquatic-1-BatFish-2.png",
    ),
    "istd": Expected(
        {"train_1": 2, "train_2": 1, "test_91": 1}, (3, 0, 1), "test/test_B/91-1.png",
    ),
    "sbu": Expected(
        {"train_lssd1": 1, "train_lssd2": 1, "test_lssd1": 1}, (2, 0, 1),
        "SBU-Test/ShadowImages/lssd1.jpg",
    ),
    "refuge": Expected(
        {"g0001": 1, "n0001": 1, "V0001": 1, "T0001": 1}, (2, 1, 1),
        "Annotation-Training400/Disc_Cup_Masks/Glaucoma/g0001.bmp",
    ),
    "refuge_disc": Expected(
        {"g0001": 1, "n0001": 1, "V0001": 1, "T0001": 1}, (2, 1, 1),
        "Annotation-Training400/Disc_Cup_Masks/Glaucoma/g0001.bmp",
    ),
    "refuge_cup": Expected(
        {"g0001": 1, "n0001": 1, "V0001": 1, "T0001": 1}, (2, 1, 1),
        "Annotation-Training400/Disc_Cup_Masks/Glaucoma/g0001.bmp",
    ),
    "kvasir_seg": Expected(
        {"cju0qkwl35piu": 1, "cju0qoxqj9q6s": 1}, None, "masks/cju0qkwl35piu.jpg",
    ),
    "isic": Expected(
        {"ISIC_0000000": 1, "ISIC_0000001": 1, "ISIC_0012255": 1, "ISIC_0012169": 1}, (2, 1, 1),
        "ISIC2018_Task1-2_Training_Input/ISIC_0000001.jpg",
    ),
    "tn3k": Expected(
        {"trainval_0000": 1, "trainval_0001": 1, "trainval_0002": 1, "test_0000": 1}, (2, 1, 1),
        "trainval-mask/0001.jpg",
    ),
    "synapse": Expected(
        {"case0005": 2, "case0001": 2}, (2, 0, 2), "RawData/Training/img/img0001.nii.gz",
    ),
    "acdc": Expected(
        {"patient001": 4, "patient101": 2}, (4, 0, 2),
        "testing/patient101/patient101_frame01.nii.gz",
    ),
    "nasa_ebc": Expected(
        {"010417#4": 1, "050317#3": 2, "062216#3": 1, "040617#2": 1}, (3, 1, 1),
        "EBC1/test_annot/050317#3_S0440016.tif",
    ),
    "bam_tio2": Expected(
        {"1908248": 1, "1908250": 1}, None, "Electron Microscopy Images/SEM/1908250.tif",
        instances=3,
    ),
    "brats": Expected(
        {"BraTS20_Training_001": 11, "BraTS20_Training_355": 11}, None,
        "BraTS20_Training_355/BraTS20_Training_355_t2.nii",
    ),
    "brats_volumes": Expected(
        {"BraTS20_Training_001": 126, "BraTS20_Training_355": 126}, None,
        "BraTS20_Training_355/BraTS20_Training_355_t2.nii",
    ),
    "brats_whole_tumour": Expected(
        {"BraTS20_Training_001": 126, "BraTS20_Training_355": 126}, None,
        "BraTS20_Training_355/BraTS20_Training_355_t2.nii",
    ),
    "ddti": Expected({"1": 1, "2": 1}, None, "2_preprocessed_data/stage1/p_mask/2.PNG"),
}  # fmt: skip
REAL = {"uhcs": 24, "metaldam": 42, "nasa_super": 23, "emps": 120, "dsb2018": 200}  # images
names = pytest.mark.parametrize("name", EXPECTED)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which collections are looked for, and no cache."""
    monkeypatch.setenv("SAM_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SAM_BENCH_DATA", str(tmp_path / "collections"))
    return tmp_path / "collections"


def make(name: str, home: Path) -> Path:
    (home / name).mkdir(parents=True)
    getattr(layouts, f"make_{name}")(home / name)
    return home / name


def pixels(collection: Collection) -> list[tuple[Any, ...]]:
    """Image, mask and instances of every item, as they are decoded."""
    decoded = [decode(item, collection) for item in collection.items]
    return [
        (image, mask, instance_numbers(item, mask.shape))
        for item, (image, mask) in zip(collection.items, decoded, strict=True)
    ]


@names
def test_the_official_layout_is_read(name: str, home: Path) -> None:
    make(name, home)
    collection = load_collection(name)
    expected = EXPECTED[name]
    assert collection.name == name
    assert Counter(item.group for item in collection.items) == expected.groups
    listed = [item.name for item in collection.items]
    assert listed == sorted(set(listed))
    if expected.parts is None:
        assert collection.official is None
    else:
        official = collection.official or {}
        assert tuple(len(official[part]) for part in ("train", "val", "test")) == expected.parts
        assert {one for part in official.values() for one in part} == set(listed)
    seen: set[int] = set()
    for item in collection.items:
        image, mask = decode(item, collection)
        assert image.shape == (*mask.shape, 3)
        seen |= set(np.unique(mask).tolist())
    assert seen == {*range(collection.num_classes), *([IGNORE] if expected.ignored else [])}
    assert fingerprint(collection) == fingerprint(load_collection(name))


@names
def test_instances_number_the_foreground(name: str, home: Path) -> None:
    make(name, home)
    collection = load_collection(name)
    item = collection.items[0]
    if not EXPECTED[name].instances:
        assert item.instances is None
        return
    _, mask = decode(item, collection)
    numbers = instance_numbers(item, mask.shape)
    assert len(np.unique(numbers[numbers > 0])) == EXPECTED[name].instances
    np.testing.assert_array_equal(numbers > 0, mask == 1)


def make_plain(collection: Collection, root: Path) -> None:
    """Put the same items in the place of a collection, in the layout that any folder may have."""
    decoded = pixels(collection)
    shutil.rmtree(root)
    for item, (image, mask, numbers) in zip(collection.items, decoded, strict=True):
        layouts.save(image, root / "images" / f"{item.name}.png")
        layouts.save(mask, root / "masks" / f"{item.name}.png")
        if item.instances is not None:
            layouts.save(numbers.astype(np.uint16), root / "instances" / f"{item.name}.png")
    facts = {
        "classes": dict(enumerate(collection.classes)),
        "ignore_index": IGNORE,
        "items": {item.name: {"group": item.group} for item in collection.items},
    }
    layouts.write(json.dumps(facts), root / "meta.json")
    if collection.official is not None:
        layouts.write(json.dumps(collection.official), root / "split.json")


@names
def test_the_plain_layout_gives_the_same_items(name: str, home: Path) -> None:
    root = make(name, home)
    official = load_collection(name)
    expected = pixels(official)
    make_plain(official, root)
    plain = load_collection(name)
    assert (plain.name, plain.classes) == (name, official.classes)
    assert plain.official == official.official
    for found, wanted in zip(plain.items, official.items, strict=True):
        assert (found.name, found.group) == (wanted.name, wanted.group)
    for ours, theirs in zip(pixels(plain), expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_plain_layout_must_have_the_classes_of_the_collection(home: Path) -> None:
    root = make("uhcs", home)
    make_plain(load_collection("uhcs"), root)
    layouts.write('{"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}', root / "classes.json")
    message = (
        r"declares 5 classes, but 'uhcs' has 4 \(matrix \(ferritic\), .*correct its class list"
    )
    with pytest.raises(UserError, match=message):
        load_collection("uhcs")


@names
def test_a_missing_collection_is_told_in_a_sentence(name: str, home: Path) -> None:
    cache = home.parent / "cache" / "data"
    sentence = (
        f"the collection '{name}' is missing: there is no folder '{name}' in '{home}' or "
        f"'{cache}'; "
    )
    with pytest.raises(
        UserError, match=re.escape(sentence) + r"(fetch|[a-z ]+).*https?://"
    ) as told:
        load_collection(name)
    assert str(told.value).endswith(", or set SAM_BENCH_DATA to the folder that holds it")
    assert ". " not in str(told.value)


def test_how_to_get_a_missing_collection(home: Path) -> None:
    with pytest.raises(UserError, match=r"; fetch it with 'sam-bench data fetch uhcs' \(https:"):
        require_folder("uhcs", "https://example.org")
    with pytest.raises(UserError, match=r"; register and download .* and put its files there, or"):
        require_folder("synapse", "https://example.org")
    with pytest.raises(UserError, match=r"; get it from https://example.org and put its files"):
        require_folder("mine", "https://example.org")


def test_the_list_tells_what_is_here(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(registry, "list_methods", lambda: [])

    def row(name: str) -> str:
        assert cli.main(["--list"]) == 0
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if line.startswith(f"│ {name} "))

    assert "│ procedural " in row("steel")
    assert "│ not downloaded " in row("uhcs")
    make("uhcs", home)
    assert "│ downloaded " in row("uhcs")


@names
def test_a_file_that_is_lost_is_told_in_a_sentence(name: str, home: Path) -> None:
    root = make(name, home)
    lost = root / EXPECTED[name].needed
    lost.unlink()
    with pytest.raises(UserError, match=re.escape(lost.stem)) as caught:
        load_collection(name)
    assert str(caught.value).endswith("get it again")
    assert "\n" not in str(caught.value)


@names
def test_a_file_that_is_cut_short_is_told_in_a_sentence(name: str, home: Path) -> None:
    cut = make(name, home) / EXPECTED[name].needed
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"(get it again|replace or remove the file)$") as caught:
        pixels(load_collection(name))
    assert "\n" not in str(caught.value)


@names
def test_another_layout_is_told_in_a_sentence(name: str, home: Path) -> None:
    (home / name / "something").mkdir(parents=True)
    with pytest.raises(UserError, match=f"{home / name}.*(datasets/{name}.py|get it again)"):
        load_collection(name)


def test_the_cache_is_looked_into_where_the_own_folder_has_none(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_folder("uhcs") is None
    cached = make("uhcs", home.parent / "cache" / "data")
    assert find_folder("uhcs") == cached
    own = make("uhcs", home)
    assert find_folder("uhcs") == own
    monkeypatch.delenv("SAM_BENCH_DATA")
    assert find_folder("uhcs") == cached
    shutil.rmtree(cached)
    with pytest.raises(UserError, match=r"no folder 'uhcs' in '[^']*cache/data'; fetch it"):
        load_collection("uhcs")


def test_smoothed_edges_are_parted_at_the_middle(home: Path) -> None:
    make("camo", home)
    for number, (_, mask, _) in enumerate(pixels(load_collection("camo"))):
        np.testing.assert_array_equal(mask, layouts.smooth(number) > 127)
        assert {90, 160} <= set(layouts.smooth(number).ravel().tolist())


def test_synapse_has_the_organs_of_transunet(home: Path) -> None:
    make("synapse", home)
    collection = load_collection("synapse")
    named = ["background", "spleen", "right kidney", "left kidney", "gallbladder", "oesophagus",
             "liver", "stomach", "aorta", "cava", "veins", "pancreas", "right", "left"]  # fmt: skip
    for number, (image, mask, _) in enumerate(pixels(collection)):
        assert np.unique(image).tolist() == [(0, 128)[number % 2]]  # -1000 and 75 HU
        stored = layouts.indices(number % 2, 14)
        for label, organ in enumerate(named):
            index = collection.classes.index(organ) if organ in collection.classes else 0
            assert (mask[stored == label] == index).all()


def test_synapse_in_the_files_of_transunet(home: Path) -> None:
    layouts.make_synapse_files(home / "synapse")
    collection = load_collection("synapse")
    parts = {part: list(found) for part, found in (collection.official or {}).items()}
    training = ["case0005_slice000", "case0005_slice001", "case0006_slice000"]
    assert parts == {
        "train": training, "val": [], "test": ["case0001_slice000", "case0001_slice001"]
    }  # fmt: skip
    for item, (image, mask, _) in zip(collection.items, pixels(collection), strict=True):
        number = ([*training, *parts["test"]]).index(item.name)
        np.testing.assert_array_equal(image[..., 0], layouts.image(number))
        np.testing.assert_array_equal(mask, layouts.indices(number, 9))


@pytest.mark.parametrize(
    ("name", "library"), [("synapse", "nibabel"), ("acdc", "nibabel"), ("brats", "nibabel")]
)
def test_a_library_that_is_not_installed_is_told(
    name: str, library: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(name, home)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=f"needs {library}: pip install {library}$"):
        load_collection(name)


@pytest.mark.parametrize("name", ["synapse", "acdc", "brats_volumes"])
def test_slices_name_their_volume_and_its_spacing(name: str, home: Path) -> None:
    make(name, home)
    items = load_collection(name).items
    assert all(item.volume.startswith(item.group) for item in items)
    assert {item.spacing_mm for item in items} == {layouts.SPACING_MM}


def test_monuseg_fills_outlines_in_the_order_of_the_file(home: Path) -> None:
    make("monuseg", home)
    item = load_collection("monuseg").items[0]
    numbers = instance_numbers(item, layouts.SIDES)
    assert (numbers[5, 5], numbers[12, 16], numbers[5, 12], numbers[15, 3]) == (1, 2, 0, 0)
    assert 42 <= np.count_nonzero(numbers == 1) <= 64  # 6.6 x 6.5 px, with its border


def test_pixels_are_made_once_and_anew_where_a_source_changes(home: Path) -> None:
    root = make("dsb2018", home)
    first = load_collection("dsb2018").items[0].mask
    assert isinstance(first, Path)
    made = first.stat().st_mtime_ns
    again = load_collection("dsb2018").items[0].mask
    assert again == first
    assert first.stat().st_mtime_ns == made
    assert not list(first.parent.glob("*.part"))
    nucleus = next((root / ("0" * 64) / "masks").iterdir())
    layouts.save(np.full(layouts.SIDES, 255, np.uint8), nucleus)
    collection = load_collection("dsb2018")
    assert collection.items[0].mask != first
    assert decode(collection.items[0], collection)[1].min() == 1


def test_an_image_in_two_parts_is_told(home: Path) -> None:
    root = make("uhcs", home)
    shutil.copy(root / "splits" / "train16A.txt", root / "splits" / "test4A.txt")
    with pytest.raises(UserError, match="has two images called 'uhcs0007'"):
        load_collection("uhcs")


def test_metaldam_as_it_is_released(home: Path) -> None:
    layouts.make_metaldam_release(home / "metaldam")
    collection = load_collection("metaldam")
    assert [(item.name, item.group) for item in collection.items] == [
        ("micrograph0", "micrograph0"), ("micrograph1", "micrograph1")
    ]  # fmt: skip
    for number, (image, mask, _) in enumerate(pixels(collection)):
        stored = layouts.indices(number, 5)
        assert image.shape == (*stored.shape, 3)
        assert image[-4:].mean() > 15  # no row of the bar is left
        np.testing.assert_array_equal(mask[stored == 3], IGNORE)
        np.testing.assert_array_equal(mask[stored == 4], 3)
        np.testing.assert_array_equal(mask[stored < 3], stored[stored < 3])


@pytest.mark.parametrize(
    "name",
    [name if REAL[name] < 40 else pytest.param(name, marks=pytest.mark.slow) for name in REAL],
)
def test_the_real_ones_in_the_plain_layout(
    name: str, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (data_root / name).is_dir():
        pytest.skip(f"no {name} there")
    monkeypatch.setenv("SAM_BENCH_DATA", str(data_root))
    collection = load_collection(name)
    assert len(collection.items) == REAL[name]
    official = collection.official or {}
    assert sum(map(len, official.values())) == REAL[name]
    listed = next(dataset for dataset in list_datasets() if dataset.name == name)
    assert collection.classes == listed.classes
    image, mask = decode(collection.items[0], collection)
    assert image.shape == (*mask.shape, 3)
