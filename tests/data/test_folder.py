import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from bench.data.decode import decode
from bench.data.facts import CollectionFacts
from bench.data.fingerprint import fingerprint
from bench.data.folder.read import read_folder
from bench.data.items import IGNORE, Collection
from bench.data.masks import COLOUR, read_instances
from bench.data.split import split
from bench.errors import UserError

REAL = Path(os.environ.get("SAM_BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))


def make(
    root: Path,
    names: tuple[str, ...] = ("a", "b", "c"),
    values: tuple[Any, ...] = (0, 1, 2),
    *,
    images: str = "images/{}.png",
    masks: str = "masks/{}.png",
) -> Path:
    """A folder of 12 x 10 images; every mask shows each of the values (levels or colours)."""
    for number, name in enumerate(names):
        for pattern in (images, masks):
            (root / pattern.format(name)).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 12), 20 * number, np.uint8)).save(root / images.format(name))
        index = np.arange(120).reshape(10, 12) // 4 % len(values)
        Image.fromarray(np.array(values, np.uint8)[index]).save(root / masks.format(name))
    return root


def write(file: Path, content: Any) -> None:
    file.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{}.png", "masks/{}.png"),
        ("imgs/{}.tif", "labels/{}.bmp"),
        ("image/{}.jpg", "annotations/{}_mask.png"),
        ("images/{}_img.PNG", "mask/{}-label.png"),
    ],
)
def test_usual_layouts(tmp_path: Path, images: str, masks: str) -> None:
    collection = read_folder(make(tmp_path, images=images, masks=masks))
    assert [item.name[0] for item in collection.items] == ["a", "b", "c"]
    for item in collection.items:
        assert isinstance(item.mask, Path)
        assert item.mask.name[0] == item.name[0]
        assert item.group == item.name
    assert collection.name == tmp_path.name
    assert not collection.images_may_be_shown


@pytest.mark.parametrize(
    ("values", "classes", "mask_values", "note"),
    [
        ((0, 1, 2), ("background", "class 1", "class 2"), None, "taken as class indices"),
        ((0, 1, 255), ("background", "class 1"), None, "255 as unlabelled"),
        ((0, 255), ("background", "object"), {0: 0, 255: 1}, "classes 0 to 1"),
        (
            (0, 128, 255),
            ("background", "value 128", "value 255"),
            {0: 0, 128: 1, 255: 2},
            "classes 0 to 2",
        ),
        (
            ((0, 0, 0), (0, 0, 9), (9, 9, 9)),
            ("background", "value 9", "value #000009"),
            {0: 0, 9: 1, COLOUR + 9: 2},
            "#000009",
        ),
    ],
)
def test_undeclared_values_are_found_and_told(
    tmp_path: Path,
    values: tuple[Any, ...],
    classes: tuple[str, ...],
    mask_values: dict[int, int] | None,
    note: str,
) -> None:
    collection = read_folder(make(tmp_path, values=values))
    assert collection.classes == classes
    assert collection.mask_values == mask_values
    assert note in collection.notes[0]
    mask = decode(collection.items[0], collection)[1]
    expected = {*range(len(classes)), *({IGNORE} if len(values) > len(classes) else ())}
    assert set(np.unique(mask)) == expected


def test_classes_file_sets_order_names_and_ignored_value(tmp_path: Path) -> None:
    make(tmp_path, values=((255, 255, 255), (255, 0, 0), (7, 7, 7)))
    write(tmp_path / "classes.json", {"paper": 255, "ink": "#ff0000", "ignore": 7})
    collection = read_folder(tmp_path)
    assert collection.classes == ("paper", "ink")
    assert collection.mask_values == {255: 0, COLOUR + 0xFF0000: 1, 7: IGNORE}
    assert set(np.unique(decode(collection.items[0], collection)[1])) == {0, 1, IGNORE}


def test_names_of_different_unicode_forms_are_one_name(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Körner") for form in ("NFC", "NFD"))
    make(tmp_path, (composed,), masks="masks/{}_mask.png")
    (tmp_path / "masks" / f"{composed}_mask.png").rename(
        tmp_path / "masks" / f"{decomposed}_mask.png"
    )
    write(tmp_path / "groups.csv", f"{decomposed}.png,s1\n")
    (item,) = read_folder(tmp_path).items
    assert (item.name, item.group) == (composed, "s1")
    (tmp_path / "groups.csv").unlink()
    write(tmp_path / "meta.json", {"items": {decomposed: {"group": "s2"}}})
    assert read_folder(tmp_path).items[0].group == "s2"


def test_meta_file(tmp_path: Path) -> None:
    make(tmp_path, values=(0, 1, 255))
    facts = {"a": {"group": "s1"}, "b": {"group": "s1"}, "c": {}}
    meta = {"classes": {"0": "matrix", "1": "carbide"}, "ignore_index": 255, "licence": "CC0"}
    write(tmp_path / "meta.json", {**meta, "items": facts})
    collection = read_folder(tmp_path)
    assert collection.classes == ("matrix", "carbide")
    assert collection.mask_values is None
    assert collection.licence == "CC0"
    assert [item.group for item in collection.items] == ["s1", "s1", "c"]
    assert collection.notes == ("1 of 3 images have no specimen group: each counts as its own",)
    write(tmp_path / "meta.json", {**meta, "items": facts | {"c": {"group": None}}})
    assert [item.group for item in read_folder(tmp_path).items] == ["s1", "s1", "c"]
    write(tmp_path / "groups.csv", "id;group\nb.png;s2\n")
    assert [item.group for item in read_folder(tmp_path).items] == ["s1", "s2", "c"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("split.json", {"train": ["a"], "valid": ["b"], "test": ["c.png"]}),
        ("split.csv", "id,part\na,train\nb,val\nc,test\n"),
        ("splits.csv", "a\ttrain\nb.png\tValidation\n\nc\ttest"),
    ],
)
def test_split_files(tmp_path: Path, name: str, content: Any) -> None:
    write(make(tmp_path) / name, content)
    collection = read_folder(tmp_path)
    assert collection.official == {"train": ("a",), "val": ("b",), "test": ("c",)}
    assert f"split as in {name}" in collection.notes


def test_images_without_a_mask_are_left_out_and_told(tmp_path: Path) -> None:
    make(tmp_path, tuple("abcdefgh"))
    for name in "bdh":
        (tmp_path / "masks" / f"{name}.png").unlink()
    (tmp_path / "images" / "b.png").write_text("never read")
    write(tmp_path / "groups.csv", "a,s1\nb,s1\nd,s2\n")
    write(tmp_path / "split.json", {"train": ["a", "b", "c"], "val": ["e"], "test": ["f", "h"]})
    collection = read_folder(tmp_path)
    assert [item.name for item in collection.items] == ["a", "c", "e", "f", "g"]
    assert collection.left_out == ("images/: 3 images (b.png, d.png, h.png) without a mask",)
    assert collection.official == {"train": ("a", "c"), "val": ("e",), "test": ("f",)}
    assert "split.json names 2 images (b, h) without a mask: not used" in collection.notes
    assert "4 of 5 images have no specimen group: each counts as its own" in collection.notes
    lines = " ".join(CollectionFacts.of(collection).to_dict()["left_out"])
    assert "b.png, d.png, h.png" in lines
    (tmp_path / "masks" / "g.png").unlink()
    assert len(read_folder(tmp_path).items) == 4  # half of the images
    (tmp_path / "masks" / "f.png").unlink()
    with pytest.raises(UserError, match="5 of 8 images have no mask"):
        read_folder(tmp_path)


def test_instances_are_optional_per_image(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "instances").mkdir()
    mask = np.array(Image.open(tmp_path / "masks" / "b.png"))
    Image.fromarray((mask > 0).astype(np.uint16)).save(tmp_path / "instances" / "b.png")
    first, second, _ = read_folder(tmp_path).items
    assert first.instances is None
    assert second.instances == tmp_path / "instances" / "b.png"
    Image.fromarray(np.ones((9, 12), np.uint16)).save(tmp_path / "instances" / "b.png")
    with pytest.raises(UserError, match=r"instances '.*b\.png' differ in size"):
        read_folder(tmp_path)


def index_masks(root: Path, *masks: Any) -> Path:
    """A folder of one image for each mask, saved as TIFF with the type of the mask."""
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number, mask in enumerate(masks):
        shade = np.full(np.shape(mask)[:2], 40, np.uint8)
        Image.fromarray(shade).save(root / f"images/{number}.png")
        tifffile.imwrite(root / f"masks/{number}.tif", np.array(mask), photometric="minisblack")
    return root


def test_minus_1_in_signed_masks_is_unlabelled(tmp_path: Path) -> None:
    mask = np.array([[-1, 0, 1], [0, 1, -1]], np.int16)
    collection = read_folder(index_masks(tmp_path, mask))
    assert collection.classes == ("background", "class 1")
    assert collection.notes[0] == "mask value -1 taken as unlabelled"
    assert decode(collection.items[0], collection)[1].tolist() == [[255, 0, 1], [0, 1, 255]]


def test_minus_1_next_to_grey_levels_is_unlabelled(tmp_path: Path) -> None:
    collection = read_folder(index_masks(tmp_path, np.array([[-1, 0, 128, 255]], np.int32)))
    assert decode(collection.items[0], collection)[1].tolist() == [[IGNORE, 0, 1, 2]]


def test_other_values_below_0_need_a_declaration(tmp_path: Path) -> None:
    folder = index_masks(tmp_path, np.array([[-2, 0, 1]], np.int16))
    with pytest.raises(UserError, match=r"hold the value -2, .*classes\.json' as .*-2"):
        read_folder(folder)
    write(folder / "classes.json", {"ground": 0, "object": 1, "ignore": -2})
    collection = read_folder(folder)
    assert decode(collection.items[0], collection)[1].tolist() == [[IGNORE, 0, 1]]


@pytest.mark.parametrize(
    ("first", "second"), [([[0, 1]], [[0, 255]]), ([[0, 1, 2]], [[0, 128, 255]])]
)
def test_one_class_saved_in_two_ways_is_refused(tmp_path: Path, first: Any, second: Any) -> None:
    folder = index_masks(tmp_path, *(np.array(mask, np.uint8) for mask in (first, second)))
    with pytest.raises(UserError, match=r"never both in one mask.*save all masks in one way"):
        read_folder(folder)
    write(folder / "classes.json", {"a": 0, "b": 1, "c": 2, "d": 128, "ignore": 255})
    assert read_folder(folder).classes == ("a", "b", "c", "d")


def test_255_with_an_index_in_one_mask_is_unlabelled(tmp_path: Path) -> None:
    masks = (np.array([[0, 1, 255]], np.uint8), np.array([[0, 1, 1]], np.uint8))
    collection = read_folder(index_masks(tmp_path, *masks))
    assert decode(collection.items[0], collection)[1].tolist() == [[0, 1, IGNORE]]


def test_instances_as_jpeg_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "instances").mkdir()
    ramp = np.arange(120, dtype=np.uint8).reshape(10, 12)
    Image.fromarray(ramp // 40 * 60).save(folder / "instances/a.jpg")
    with pytest.raises(UserError, match="different numbers, but a JPEG changes numbers"):
        read_folder(folder)


def test_colour_instances_are_objects(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "instances").mkdir()
    colours = np.zeros((10, 12, 3), np.uint8)
    colours[2:4, 2:5], colours[6:9, 2:5] = (20, 5, 45), (208, 166, 233)
    Image.fromarray(colours.any(axis=-1).astype(np.uint8)).save(folder / "masks/b.png")
    Image.fromarray(colours).save(folder / "instances/b.png")
    item = read_folder(folder).items[1]
    assert item.instances is not None
    numbers = read_instances(item.instances)
    assert np.bincount(numbers.ravel()).tolist() == [105, 6, 9]


def test_a_collection_needs_a_name_for_each_class() -> None:
    with pytest.raises(UserError, match="two classes of one name"):
        Collection("made", ("ground", "pore", "pore"), ())


def test_palettes_that_disagree_are_told(tmp_path: Path) -> None:
    make(tmp_path)
    for name, colour in (("a", 10), ("b", 99)):
        mask = Image.open(tmp_path / "masks" / f"{name}.png")
        mask.putpalette([0, 0, 0, colour, 0, 0, 0, 50, 0])
        mask.save(tmp_path / "masks" / f"{name}.png")
    assert any("index 1 has different colours" in note for note in read_folder(tmp_path).notes)


def spoil(root: Path, fault: str) -> None:
    make(root)
    image, mask = root / "images" / "b.png", root / "masks" / "b.png"
    if fault == "no masks":
        mask.unlink()
        (root / "masks" / "a.png").unlink()
    elif fault == "other name":
        mask.rename(mask.with_stem("ab"))
    elif fault == "no image":
        image.unlink()
    elif fault == "sizes":
        Image.new("L", (12, 9)).save(image)
    elif fault == "unreadable":
        image.write_bytes(image.read_bytes()[:50])
    elif fault == "unreadable mask":
        mask.write_bytes(b"text")
    elif fault == "twice":
        Image.new("L", (12, 10)).save(image.with_suffix(".bmp"))
    elif fault == "two masks":
        mask.rename(mask.with_stem("b_mask"))
        Image.new("L", (12, 10)).save(mask.with_stem("b-gt"))
    elif fault == "values":
        write(root / "meta.json", {"classes": ["x", "y"]})
    elif fault == "one value":
        for name in "abc":
            Image.new("L", (12, 10), 3).save(root / "masks" / f"{name}.png")
    elif fault == "blurred":
        Image.fromarray(np.arange(120, dtype=np.uint8).reshape(10, 12) * 2).save(mask)
    elif fault == "jpeg mask":
        Image.open(mask).save(mask.with_suffix(".jpg"))
        mask.unlink()
    else:
        name, content = fault.split(" ", 1)
        write(root / name, content)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no masks", r"2 of 3 images have no mask, such as '.*a\.png'; add the masks"),
        ("no image", r"1 of 3 masks have no image, such as '.*b\.png'; give image and mask the"),
        ("other name", r"'.*ab\.png', and the image '.*b\.png' has no mask; give image"),
        ("sizes", r"image 'b' is 12 x 9 pixels .* '.*b\.png' is 12 x 10; make"),
        ("unreadable", r"cannot read '.*images.b\.png' as an image"),
        ("unreadable mask", r"cannot read '.*masks.b\.png' as an image"),
        ("twice", r"b\.bmp' and '.*b\.png' share one name"),
        ("two masks", r"b-gt\.png' and '.*b_mask\.png' belong to one image"),
        ("values", r"mask '.*a\.png' holds 2, but only 0, 1 are declared; correct"),
        ("one value", "hold the one value 3; label a second class or list"),
        ("blurred", r"hold \d+ different values, which is not a class map .* save them as PNG"),
        ("jpeg mask", r"b\.jpg' is a JPEG\); save them as PNG"),
        ("split.json {]", r"split\.json' is not valid JSON"),
        ("split.json []", r"split\.json' must hold one JSON object"),
        ('split.json {"train": "a"}', "must hold a list of ids"),
        ('split.json {"train": ["a"], "test": ["z"]}', "names 'z', but there is no such image"),
        ('split.json {"train": ["a"], "test": ["a"]}', "puts 'a' into both train and test"),
        ("split.csv a,train\nb,tset", "names a part 'tset'; allowed are train, val and test"),
        ("split.csv a\nb", "each row must be an id and a part"),
        ("groups.csv z,s1", "names 'z', but there is no such image"),
        ("groups.csv a,s1\na.png,s2", "puts 'a' into both s1 and s2; keep one of them"),
        ('classes.json {"x": 0.9, "y": 2}', "has the mask value 0.9; use an integer"),
        ('classes.json {"x": Infinity, "y": 2}', "has the mask value inf; use an integer"),
        ('classes.json {"x": false, "y": 2}', "has the mask value False; use an integer"),
        ('classes.json {"x": 0, "x": 1}', "holds 'x' twice"),
        ('meta.json {"classes": ["x", "p", "p"]}', "has two classes 'p'; give each"),
        ('classes.json {"x": 0, "y": 0}', "has one mask value for two classes"),
        ('classes.json {"x": 0, "y": "red"}', "has the mask value 'red'"),
        ('classes.json {"x": 0}', "names 1 classes; name 2 to 255"),
        ('meta.json {"classes": 3}', "must list classes as an object or a list"),
        ('meta.json {"items": ["a"]}', "must list items as"),
    ],
)
def test_each_mistake_has_its_sentence(tmp_path: Path, fault: str, message: str) -> None:
    spoil(tmp_path, fault)
    with pytest.raises(UserError, match=message) as raised:
        read_folder(tmp_path)
    assert "\n" not in str(raised.value)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere' is not a folder; name one"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is empty; it needs a folder images/"):
        read_folder(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match="holds only images; it needs a folder masks/"):
        read_folder(tmp_path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match="has no images; put"):
        read_folder(tmp_path)


def test_fingerprint_follows_contents_not_place(tmp_path: Path) -> None:
    here, there = make(tmp_path / "x"), make(tmp_path / "elsewhere" / "y")
    before = fingerprint(read_folder(here))
    assert before == fingerprint(read_folder(there))
    seen = {before}
    write(here / "groups.csv", "a,s1\nb,s1")
    seen.add(fingerprint(read_folder(here)))
    write(here / "split.csv", "a,train\nc,test")
    seen.add(fingerprint(read_folder(here)))
    write(here / "classes.json", {"p": 0, "q": 1, "r": 2})
    seen.add(fingerprint(read_folder(here)))
    Image.fromarray(np.full((10, 12), 9, np.uint8)).save(here / "images" / "a.png")
    seen.add(fingerprint(read_folder(here)))
    assert len(seen) == 5


@pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not here")
@pytest.mark.parametrize(
    ("name", "images", "classes", "groups", "parts"),
    [
        ("uhcs", 24, 4, 24, (16, 4, 4)),
        ("nasa_super", 23, 3, 12, (10, 4, 9)),
        ("metaldam", 42, 4, 42, (29, 6, 7)),
        ("acdc_slices", 198, 4, 99, (138, 40, 20)),
    ],
)
def test_real_folders(
    name: str, images: int, classes: int, groups: int, parts: tuple[int, ...]
) -> None:
    collection = read_folder(REAL / name)
    assert len(collection.items) == images
    assert collection.num_classes == classes
    assert collection.mask_values is None
    assert len({item.group for item in collection.items}) == groups
    divided = split(collection)
    assert (len(divided.train), len(divided.val), len(divided.test)) == parts
    assert decode(collection.items[0], collection)[0].dtype == np.uint8
