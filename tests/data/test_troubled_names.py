"""Names, places and sidecars of troubled folders: read right, or refused with the mend."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from troubled_folders import (
    NAMES,
    Folder,
    check_folder,
    cut_short,
    edit,
    folder,
    grey,
    levels,
    masks,
    save,
    three,
    two,
)

from bench.data.folder.read import read_folder
from bench.data.split import split
from bench.errors import UserError
from bench.plugins.registry import load_collection

INDEX = ("background", "class 1")
BINARY = levels(0, 255, of=two)
PLAIN = masks(two)


def named(image: str, mask: str) -> Callable[[Path], None]:
    """A folder whose files are named by patterns such as "masks/{}_mask.png"."""

    def make(root: Path) -> None:
        for number, name in enumerate(NAMES):
            save(grey(number), root / image.format(name))
            save(two(number), root / mask.format(name))

    return make


def rename(old: str, new: str) -> Callable[[Path], object]:
    """Rename a file or folder."""
    return lambda root: shutil.move(root / old, root / new)


def text(name: str, content: Any) -> Callable[[Path], None]:
    """Write a file, an object as JSON."""

    def run(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        written = content if isinstance(content, str) else json.dumps(content)
        (root / name).write_bytes(written.encode())

    return run


def copy(old: str, new: str) -> Callable[[Path], object]:
    """Copy a file."""
    return lambda root: shutil.copy(root / old, root / new)


def unlink(*names: str) -> Callable[[Path], None]:
    """Remove files."""

    def run(root: Path) -> None:
        for name in names:
            (root / name).unlink()

    return run


def read(image: str, mask: str, note: str = "similar names") -> Folder:
    """A folder that is read at once."""
    return Folder(named(image, mask), INDEX, two(0), note)


FOLDERS: dict[str, Folder] = {
    # Names of files and folders.
    "Images and Masks": read("Images/{}.png", "Masks/{}.png", ""),
    "IMG and Labels": read("IMG/{}.PNG", "Labels/{}.png", ""),
    "prefix mask_": read("images/{}.png", "masks/mask_{}.png"),
    "img_ and mask_": read("images/img_{}.png", "masks/mask_{}.png"),
    "image_ and label_": read("images/image_{}.png", "labels/label_{}.png"),
    "suffix of Cellpose": read("images/{}.png", "masks/{}_cp_masks.png"),
    "suffix of ilastik": read("images/{}.png", "masks/{}_Simple Segmentation.tif"),
    "names of DRIVE": read("images/{}_training.tif", "masks/{}_manual1.png"),
    "a.jpg.png": read("images/{}.jpg", "masks/{}.jpg.png"),
    "masks as OME-TIFF": read("images/{}.png", "masks/{}.ome.tif"),
    "suffix of GlaS": read("images/{}.bmp", "masks/{}_anno.bmp"),
    "GroundTruth suffix": read("images/{}.png", "masks/{}_GroundTruth.png"),
    "other letters": read("images/IMG{}.png", "masks/img{}.png"),
    "spaces, brackets, percent": read("images/{} [1] 50%.png", "masks/{} [1] 50%.png", ""),
    "dots": read("images/{}.x.1.png", "masks/{}.x.1.png", ""),
    "two images of one mask": Folder(
        edit(
            PLAIN,
            rename("images/a.png", "images/a_raw.png"),
            rename("images/b.png", "images/a_img.png"),
            rename("masks/a.png", "masks/a_mask.png"),
        ),
        INDEX,
        refused=r"a_mask\.png' may belong to '.*a_img\.png' or to '.*a_raw\.png'; give it the",
        mend=edit(
            rename("masks/a_mask.png", "masks/a_raw.png"), rename("masks/b.png", "masks/a_img.png")
        ),
    ),
    "two masks of one image": Folder(
        edit(
            PLAIN, rename("masks/a.png", "masks/a_mask.png"), copy("masks/b.png", "masks/a_gt.png")
        ),
        INDEX,
        two(0),
        refused=r"a_gt\.png' and '.*a_mask\.png' belong to one image; keep one of them",
        mend=unlink("masks/a_gt.png"),
    ),
    "images and Images": Folder(
        edit(PLAIN, lambda root: shutil.copytree(root / "images", root / "Images")),
        INDEX,
        two(0),
        refused="'.*Images' and '.*images' have one name; join or rename them",
        mend=lambda root: shutil.rmtree(root / "Images"),
    ),
    "a.png next to a.tif": Folder(
        edit(PLAIN, copy("images/a.png", "images/a.tif")),
        INDEX,
        two(0),
        refused=r"a\.png' and '.*a\.tif' share one name; keep one or rename it",
        mend=unlink("images/a.tif"),
    ),
    "two folders of masks": Folder(
        edit(PLAIN, lambda root: shutil.copytree(root / "masks", root / "1st_manual")),
        INDEX,
        two(0),
        refused="2 folders of masks, '1st_manual', 'masks': keep the right one as masks/ and move",
        mend=lambda root: shutil.rmtree(root / "1st_manual"),
    ),
    # What is missing or too much.
    "one image without a mask": Folder(
        edit(PLAIN, unlink("masks/b.png")), INDEX, two(0), r"1 image \(b\.png\) without a mask"
    ),
    "one mask without an image": Folder(
        edit(PLAIN, unlink("images/b.png")),
        INDEX,
        two(0),
        refused="1 of 3 masks have no image, .* or remove the masks",
        mend=unlink("masks/b.png"),
    ),
    "one misspelt mask": Folder(
        edit(PLAIN, rename("masks/b.png", "masks/bb.png")),
        INDEX,
        two(0),
        refused=r"bb\.png', and the image '.*b\.png' has no mask; give image and mask the",
        mend=rename("masks/bb.png", "masks/b.png"),
    ),
    "no masks but one": Folder(
        edit(PLAIN, unlink("masks/b.png", "masks/c.png")),
        INDEX,
        two(0),
        refused="2 of 3 images have no mask, .* or remove the images",
        mend=unlink("images/b.png", "images/c.png"),
    ),
    "hidden files and Thumbs.db": Folder(
        edit(PLAIN, text("images/._a.png", "x"), text("masks/Thumbs.db", "x")),
        INDEX,
        two(0),
        r"masks/: 1 file \(Thumbs\.db\)",
    ),
    "a folder in images": Folder(
        edit(PLAIN, text("images/old/a.png", "x")), INDEX, two(0), r"images/: 1 folder \(old\)"
    ),
    "an empty file": Folder(
        edit(PLAIN, text("images/b.png", "")),
        INDEX,
        two(0),
        refused=r"cannot read '.*b\.png' as an image .*; replace or remove the file",
        mend=unlink("images/b.png", "masks/b.png"),
    ),
    "a web page called .png": Folder(
        edit(PLAIN, text("images/b.png", "<html>")),
        INDEX,
        two(0),
        refused=r"cannot read '.*b\.png' as an image",
        mend=unlink("images/b.png", "masks/b.png"),
    ),
    "an image cut short": Folder(
        edit(PLAIN, cut_short("images/b.png")),
        INDEX,
        two(0),
        refused=r"cannot read '.*b\.png' as an image",
        mend=unlink("images/b.png", "masks/b.png"),
    ),
    "a link that leads nowhere": Folder(
        edit(
            PLAIN, unlink("images/b.png"), lambda root: (root / "images/b.png").symlink_to("gone")
        ),
        INDEX,
        two(0),
        refused=r"cannot read '.*b\.png' as an image",
        mend=unlink("images/b.png", "masks/b.png"),
    ),
    "images are the masks": Folder(
        masks(BINARY, image=BINARY),
        refused=r"3 of 3 images hold the same pixels as their masks, .*: put the pictures there",
        mend=masks(BINARY),
        truth=two(0),
    ),
    "a mask of half the size": Folder(
        edit(PLAIN, lambda root: save(two(1)[::2, ::2], root / "masks/b.png")),
        INDEX,
        two(0),
        refused=r"image 'b' is 48 x 40 pixels .* is 24 x 20; make them the same size",
        mend=PLAIN,
    ),
    "a mask that is turned": Folder(
        edit(PLAIN, lambda root: save(two(1).T, root / "masks/b.png")),
        INDEX,
        two(0),
        refused=r"make them the same size \(one of them is turned by 90 degrees",
        mend=PLAIN,
    ),
    # Sidecars.
    "groups of Excel": Folder(
        edit(PLAIN, text("groups.csv", "\ufeffImage;Patient\r\na.png;p1\r\nb.png;p1\r\n")),
        INDEX,
        two(0),
        "1 of 3 images have no specimen group",
    ),
    "groups with a third column": Folder(
        edit(PLAIN, text("groups.csv", "a,p1,f\nb,p1,m\nc,p2,f\n")),
        INDEX,
        two(0),
        refused="has a row .*; each row must be an id and a group",
        mend=text("groups.csv", "a,p1\nb,p1\nc,p2\n"),
    ),
    "split of Windows paths": Folder(
        edit(
            PLAIN,
            text(
                "split.json", {"Train": ["images\\a.png"], "VAL": ["b"], "test": ["images/c.png"]}
            ),
        ),
        INDEX,
        two(0),
        "split as in split.json",
    ),
    "a trailing comma": Folder(
        edit(PLAIN, text("classes.json", '{"background": 0, "class 1": 1,}')),
        INDEX,
        two(0),
        refused=r"classes\.json' is not valid JSON .*; correct the file",
        mend=text("classes.json", '{"background": 0, "class 1": 1}'),
    ),
    "classes.json in UTF-16": Folder(
        edit(
            PLAIN,
            lambda root: (root / "classes.json").write_text('["background", "class 1"]', "utf-16"),
        ),
        INDEX,
        two(0),
        refused=r"classes\.json' is not UTF-8 text .*; save it as UTF-8",
        mend=text("classes.json", ["background", "class 1"]),
    ),
    "a class without a value": Folder(
        edit(PLAIN, text("classes.json", {"background": 0, "class 1": None})),
        INDEX,
        two(0),
        refused=r"classes\.json' has the mask value null; use an integer",
        mend=text("classes.json", {"background": 0, "class 1": 1}),
    ),
    "a class without pixels": Folder(
        edit(PLAIN, text("classes.json", ["background", "class 1", "rare"])),
        (*INDEX, "rare"),
        two(0),
    ),
    "lists of parts as text": Folder(
        edit(PLAIN, text("train.txt", "a\nb\n")), INDEX, two(0), r"1 file \(train\.txt\)"
    ),
    "indices stored times 64": Folder(
        masks(levels(0, 64, 128)), ("background", "value 64", "value 128"), three(0)
    ),
    "objects black on white": Folder(
        masks(levels(255, 0, of=two)), ("background", "object"), 1 - two(0), "to change this"
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_read_right_or_refused_with_the_mend(name: str, tmp_path: Path) -> None:
    check_folder(FOLDERS[name], tmp_path)


def test_the_right_level_is_named(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    folder(root / "mine", two)
    with pytest.raises(UserError, match=r"holds only mine; .*; give '.*/mine/mine' instead"):
        read_folder(root)
    with pytest.raises(UserError, match=r"it needs a folder images/ .*; give the folder above, '"):
        read_folder(root / "mine" / "images")
    with pytest.raises(UserError, match="it needs a folder images/"):
        load_collection(str(root / "mine" / "masks"))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    folder(tmp_path, two)
    with pytest.raises(UserError, match=r"a\.png' is a file: give the folder that holds images/"):
        load_collection(str(tmp_path / "images" / "a.png"))


def test_a_level_with_two_folders_of_masks_is_not_named(tmp_path: Path) -> None:
    folder(tmp_path / "training", two)
    shutil.copytree(tmp_path / "training" / "masks", tmp_path / "training" / "1st_manual")
    with pytest.raises(UserError, match="holds only training") as raised:
        read_folder(tmp_path)
    assert "instead" not in str(raised.value)


def test_a_split_by_windows_paths_is_used(tmp_path: Path) -> None:
    FOLDERS["split of Windows paths"].make(tmp_path)
    parts = split(read_folder(tmp_path))
    assert [[item.name for item in part] for part in (parts.train, parts.val, parts.test)] == [
        ["a"],
        ["b"],
        ["c"],
    ]


def test_one_bit_masks_where_white_is_zero_are_told(tmp_path: Path) -> None:
    masks(lambda number: two(number) == 0, ".tif", photometric="miniswhite")(tmp_path)
    collection = read_folder(tmp_path)
    assert any("3 of 3 masks are TIFF where white is zero" in note for note in collection.notes)
    assert isinstance(collection.items[0].mask, Path)
    assert np.asarray(Image.open(collection.items[0].mask)).dtype == bool
