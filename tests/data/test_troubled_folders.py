"""Every troubled folder is read right, or refused with a sentence that holds the mend.

After doing just what the sentence says, the folder is read.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from troubled_folders import (
    SIDES,
    U8,
    Folder,
    alpha,
    blurred,
    check_folder,
    colours,
    cut_short,
    declared,
    edit,
    enlarged,
    grey,
    levels,
    make_readable,
    many,
    masks,
    palette,
    per_file,
    remove,
    strewn,
    three,
    two,
    wide_png,
    with_instances,
)

from bench.cli import main
from bench.data.items import IGNORE

INDEX = ("background", "class 1")
INDICES = ("background", "class 1", "class 2")
LEVELS = ("background", "value 128", "value 255")
NAMED = ("ground", "grain")
MAP = "labelmap.txt"
BLACK, RED, BLUE = (0, 0, 0), (255, 0, 0), (0, 0, 255)
BINARY = levels(0, 255, of=two)
PAINTED = colours(BLACK, RED, of=two)
MANY = (many(0) > 0).astype(U8)
PAINT = np.vstack([[BLACK], np.random.default_rng(1).integers(1, 255, (20, 3))]).astype(U8)
IGNORED = np.where(three(0) == 2, IGNORE, three(0))


def signed(value: float, kind: Any = np.int16) -> Any:
    """A folder of masks with 0, 1 and a value for unlabelled pixels, in TIFF of a type."""
    return masks(levels(0, 1, value, kind=kind), ".tif")


def wide(value: int) -> Any:
    """Masks with 0 and a value, in 16 bits."""
    return levels(0, value, of=two, kind=np.uint16)


def tiles(number: int) -> Any:
    """Touching squares in three rows, numbered from 1, on a background below."""
    columns = np.minimum(np.arange(SIDES[1]) // 9, 4 + (number > 0))
    rows = np.arange(SIDES[0]) // 9
    numbers = rows[:, None] * (columns.max() + 1) + columns + 1
    return np.where(rows[:, None] < 3, numbers, 0).astype(np.uint16)


def framed(number: int) -> Any:
    """Index 0 in three columns at the left, then those of `three` plus 1."""
    return np.where(np.arange(SIDES[1]) < 3, 0, three(number) + 1)


def stray_colour(number: int) -> Any:
    """A red object, and one pixel of another colour in mask a."""
    mask = PAINTED(number)
    mask[2, 40] = (9, 200, 30) if number == 0 else mask[2, 40]
    return mask


def clusters(number: int) -> Any:
    """Masks of 160 x 192 with three classes and, in mask a, spots of 15 pixels of six others."""
    mask = np.kron(three(number), np.ones((4, 4), U8))
    for value in range(3, 9) if number == 0 else ():
        mask[4:7, 20 * value : 20 * value + 5] = value
    return mask


def numbered(first: int, kind: Any) -> Any:
    """A folder with instance maps of large numbers."""
    return with_instances(BINARY, levels(0, first, first + 1, kind=kind), ".tif")


FOLDERS: dict[str, Folder] = {
    # Values that need no guess.
    "0/255": Folder(masks(BINARY), truth=two(0), note="0, 255 taken as classes 0 to 1"),
    "0/1": Folder(masks(two), INDEX, two(0), "taken as class indices"),
    "0/1/2": Folder(masks(three), INDICES, three(0)),
    "0/128/255": Folder(masks(levels(0, 128, 255)), LEVELS, three(0)),
    "0/100": Folder(masks(levels(0, 100, of=two)), truth=two(0)),
    "0/65535": Folder(masks(levels(0, 65535, of=two, kind=np.uint16)), truth=two(0)),
    "1 bit PNG": Folder(masks(lambda n: two(n).astype(bool)), INDEX, two(0)),
    "BMP": Folder(masks(BINARY, ".bmp"), truth=two(0)),
    "colours": Folder(
        masks(colours(BLACK, RED, BLUE)),
        ("background", "value #0000ff", "value #ff0000"),
        np.array([0, 2, 1], U8)[three(0)],
    ),
    # Stray pixels.
    "11 stray values beside 3 classes": Folder(
        masks(strewn(three, *range(3, 14))), INDICES, refused=r"3, 4, 5.* few pixels \(11 in all"
    ),
    "stray grey levels": Folder(
        masks(strewn(levels(0, 128, 255), 7, 90, 200)), LEVELS, refused="7, 90, 200 in so few"
    ),
    "one stray pixel beside 0/255": Folder(masks(strewn(BINARY, 254)), refused="hold 254 in so"),
    "stray colours": Folder(masks(stray_colour), refused="hold #09c81e in so few"),
    "clustered stray values": Folder(
        masks(clusters, image=lambda n: np.kron(grey(n), np.ones((4, 4), U8))),
        INDICES,
        refused="3, 4, 5, 6, 7, 8 in so few pixels",
    ),
    "JPEG of colours": Folder(
        masks(colours(BLACK, RED, BLUE), ".jpg", quality=95),
        refused=r"different colours, .* \('.*a\.jpg' is a JPEG, which .*; save them as PNG with",
        mend=edit(remove("masks/*"), masks(colours(BLACK, RED, BLUE))),
        classes=("background", "value #0000ff", "value #ff0000"),
        truth=np.array([0, 2, 1], U8)[three(0)],
    ),
    # Values that no one mask has together.
    "0/1 beside 0/255": Folder(
        masks(per_file(two, BINARY)), truth=two(0), refused=r"1 or 255, never both in one mask"
    ),
    "0/1/2 beside 0/128/255": Folder(
        masks(per_file(three, levels(0, 128, 255))),
        INDICES,
        three(0),
        refused="1, 2 or 128, 255, never both",
    ),
    "0/128 beside 0/255": Folder(
        masks(per_file(levels(0, 128, of=two), BINARY)), truth=two(0), refused="128 or 255, never"
    ),
    "0/255 beside 0/65535": Folder(
        masks(per_file(wide(255), wide(65535))), truth=two(0), refused="255 or 65535, never"
    ),
    "grey beside a colour": Folder(
        masks(per_file(PAINTED, levels(0, 76, of=two))),
        truth=two(0),
        refused="76 or #ff0000, never both in one mask",
    ),
    "classes in masks of their own": Folder(
        masks(per_file(two, levels(0, 2, of=two))), INDICES, two(0), "never both in one mask"
    ),
    # Smooth edges.
    "blurred 0/255": Folder(masks(blurred(BINARY)), note="smooth edges.* from 128 on as object"),
    "little blurred 0/255": Folder(masks(blurred(BINARY, 0.4)), note="smooth edges"),
    "enlarged 0/255": Folder(masks(enlarged(BINARY)), note="smooth edges"),
    "JPEG 0/255": Folder(masks(BINARY, ".jpg", quality=75), truth=two(0), note="smooth edges"),
    "JPEG 0/200": Folder(masks(levels(0, 200, of=two), ".jpg"), truth=two(0), note="smooth"),
    "RGB JPEG 0/255": Folder(
        masks(lambda n: np.dstack([BINARY(n)] * 3), ".jpg"), truth=two(0), note="smooth edges"
    ),
    "blurred 0/128/255": Folder(
        masks(blurred(levels(0, 128, 255), 0.5)),
        LEVELS,
        refused="different values.*without smoothing",
    ),
    "JPEG 0/128/255": Folder(
        masks(levels(0, 128, 255), ".jpg"), LEVELS, refused=r"different values.*JPEG"
    ),
    "JPEG of indices": Folder(
        masks(levels(0, 8, 16), ".jpg", quality=50),
        INDICES,
        three(0),
        refused="is a JPEG.*save them as PNG with one value per class",
        mend=edit(remove("masks/*"), masks(three)),
    ),
    # Unlabelled pixels.
    "-1": Folder(signed(-1), INDEX, IGNORED, "-1 taken as unlabelled"),
    "-1 beside 0/128/255": Folder(
        masks(levels(-1, 0, 128, 255, of=framed, kind=np.int16), ".tif"),
        LEVELS,
        np.where(framed(0) == 0, IGNORE, three(0)),
        "-1 taken as unlabelled",
    ),
    "255 beside 0/1": Folder(masks(levels(0, 1, 255)), INDEX, IGNORED, "255 as unlabelled"),
    "65535 beside 0/1": Folder(signed(65535, np.uint16), INDEX, IGNORED, "65535 as unlabelled"),
    "-100 (PyTorch)": Folder(signed(-100), INDEX, IGNORED, "-100 as unlabelled"),
    "2^32-1": Folder(signed(2**32 - 1, np.uint32), INDEX, IGNORED, "as unlabelled"),
    "-2^31": Folder(signed(-(2**31), np.int32), INDEX, IGNORED, "as unlabelled"),
    "-7": Folder(signed(-7), INDEX, IGNORED, refused="hold the value -7"),
    "-2 and -3": Folder(
        masks(per_file(levels(0, 1, -2, kind=np.int8), levels(0, 1, -3, kind=np.int8)), ".tif"),
        INDEX,
        IGNORED,
        refused="hold the values -3, -2",
    ),
    "254 beside 0/1": Folder(masks(levels(0, 1, 254)), INDEX, IGNORED, refused="0, 1 and 254"),
    "255 beside 1/2": Folder(
        masks(levels(1, 2, 255)), ("background", "class 2"), IGNORED, refused="1, 2 and 255"
    ),
    "NaN": Folder(signed(np.nan, np.float32), INDEX, IGNORED, "NaN .*unlabelled"),
    "infinity": Folder(signed(np.inf, np.float64), INDEX, IGNORED, "NaN or infinite .*unlabelled"),
    # Object numbers in masks/.
    "object numbers": Folder(
        masks(many), truth=MANY, note="up to 14 are object numbers", instances=12
    ),
    "object numbers and -1": Folder(
        masks(lambda n: np.where(framed(0) == 0, -1, many(n).astype(np.int16)), ".tif"),
        truth=np.where(framed(0) == 0, IGNORE, MANY),
        note="up to 14 are object numbers",
        instances=12,
    ),
    "object numbers on white": Folder(
        masks(lambda n: np.where(many(n)[..., None] > 0, PAINT[many(n)], U8(255))),
        truth=MANY,
        refused=r'besides 255, .*"background": 255, "object": "others"',
    ),
    "as many numbers in each mask": Folder(
        masks(lambda n: many(0)), truth=MANY, refused="if they number objects, write"
    ),
    "touching object numbers": Folder(
        masks(tiles), truth=(tiles(0) > 0).astype(U8), note="up to 18 are", instances=15
    ),
    "few object numbers": Folder(masks(three), INDICES, three(0), "if they number objects"),
    "object numbers with gaps": Folder(
        masks(lambda n: many(n) * 3), truth=MANY, refused="if they number objects, write"
    ),
    "a colour for each object": Folder(
        masks(lambda n: PAINT[many(n)]), truth=MANY, refused="if they number objects, write"
    ),
    # Types and tags.
    "white is zero, 1 bit": Folder(
        masks(lambda n: two(n) == 0, ".tif", photometric="miniswhite"), INDEX, two(0)
    ),
    "white is zero, 8 bits": Folder(
        masks(lambda n: 255 - BINARY(n), ".tif", photometric="miniswhite"),
        truth=two(0),
        note="white is zero",
    ),
    "white is zero, 16 bits": Folder(
        masks(lambda n: 65535 - wide(65535)(n), ".tif", photometric="miniswhite"), truth=two(0)
    ),
    "white is zero, indices": Folder(
        masks(three, ".tif", photometric="miniswhite"), INDICES, three(0)
    ),
    "palette": Folder(palette(three, *BLACK, *RED, *BLUE), INDICES, three(0)),
    "palette of white and black": Folder(
        palette(lambda n: 1 - two(n), *(255,) * 3, *BLACK), INDEX, two(0), "palette"
    ),
    "label in alpha": Folder(masks(alpha(BINARY)), truth=two(0), note="alpha"),
    "label in alpha of white": Folder(masks(alpha(BINARY, 255)), truth=two(0), note="alpha"),
    "indices in alpha": Folder(masks(alpha(three)), INDICES, three(0), note="alpha"),
    "one transparent mask": Folder(
        masks(per_file(alpha(BINARY, 255), alpha(lambda n: 0 * two(n), 255))), truth=two(0)
    ),
    "one opaque mask": Folder(
        masks(per_file(alpha(BINARY), alpha(lambda n: 0 * two(n) + 255))),
        truth=two(0),
        refused=r"b\.png' is opaque.* save masks without alpha",
        mend=masks(BINARY),
    ),
    "RGBA, opaque": Folder(
        masks(lambda n: np.dstack([*[BINARY(n)] * 3, 0 * two(n) + 255])), truth=two(0)
    ),
    "16-bit RGB TIFF": Folder(
        masks(lambda n: np.dstack([wide(60000)(n)] * 3), ".tif", photometric="rgb"), truth=two(0)
    ),
    "16-bit RGB PNG": Folder(edit(masks(two), wide_png("masks")), INDEX, two(0)),
    "16-bit RGB PNG of values above 255": Folder(
        edit(masks(two), wide_png("masks", 256)), truth=two(0), note="0, 256 taken as classes"
    ),
    "16-bit RGB PNG of colours": Folder(
        edit(masks(three), wide_png("masks", np.array([1, 7, 65535]))),
        ("background", "value #00010007ffff", "value #0002000efffe"),
        three(0),
    ),
    "16-bit RGB PNG beside 8 bits": Folder(
        edit(masks(BINARY), wide_png("masks", 257, "a")),
        truth=two(0),
        refused="255 or 65535, never",
    ),
    "16-bit RGB PNG as instances": Folder(
        edit(with_instances(BINARY, three), wide_png("instances", 300)), truth=two(0), instances=2
    ),
    "16-bit RGB PNG cut short": Folder(
        edit(masks(two), wide_png("masks"), cut_short("masks/b.png")),
        INDEX,
        two(0),
        refused=r"cannot read '.*b\.png' as an image",
        mend=edit(remove("masks/*"), masks(two)),
    ),
    "int8": Folder(masks(levels(0, 1, 2, kind=np.int8), ".tif"), INDICES, three(0)),
    "int64": Folder(masks(levels(0, 1, 2, kind=np.int64), ".tif"), INDICES, three(0)),
    "uint64 above 2^63": Folder(
        masks(levels(0, 2**63 + 5, of=two, kind=np.uint64), ".tif"), truth=two(0)
    ),
    "float64": Folder(masks(levels(0, 1, of=two, kind=np.float64), ".tif"), INDEX, two(0)),
    "complex of whole numbers": Folder(
        masks(levels(0, 1, of=two, kind=np.complex64), ".tif"), INDEX, two(0)
    ),
    "complex with imaginary parts": Folder(
        masks(lambda n: two(n) * np.complex64(1j), ".tif"),
        INDEX,
        two(0),
        refused=r"a\.tif' holds complex numbers; save class indices",
        mend=masks(two, ".tif"),
    ),
    "probabilities": Folder(
        masks(lambda n: two(n) * np.float32(0.7), ".tif"),
        INDEX,
        two(0),
        refused=r"a\.tif' holds fractions, such as 0\.7; save class indices",
        mend=masks(two, ".tif"),
    ),
    "one value": Folder(masks(lambda n: 0 * two(n) + 255), refused="hold the one value 255"),
    "no object": Folder(masks(lambda n: 0 * two(n)), refused="hold the one value 0"),
    # Ways to declare classes.
    **{
        f"classes.json {json.dumps(content)}": Folder(declared(two, content), NAMED, two(0))
        for content in (
            {"ground": 0, "grain": 1},
            {"ground": "0", "grain": "1", "ignore": 255},
            {"0": "ground", "1": "grain"},
            {"1": "grain", "0": "ground", "255": "ignore"},
            ["ground", "grain"],
            [{"id": 0, "name": "ground"}, {"id": 1, "name": "grain"}],
            [{"name": "ground", "value": 0, "color": "#000000"}, {"name": "grain", "value": 1}],
            {"classes": {"0": "ground", "1": "grain"}, "ignore_index": 255},
            {"labels": {"ground": 0, "grain": 1}},
            {"names": ["ground", "grain"], "nc": 2},
            {"names": {"0": "ground", "1": "grain"}, "nc": 2},
            {"categories": [{"id": 0, "name": "ground"}, {"id": 1, "name": "grain"}]},
            {"id2label": {"0": "ground", "1": "grain"}, "label2id": {"ground": 0, "grain": 1}},
            {"ground": {"id": 0, "color": [0, 0, 0]}, "grain": {"id": 1, "color": [1, 1, 1]}},
            {"ground": [0], "grain": [1, 7]},
            {"ground": 0, "grain": "others"},
            [["ground", 0], ["grain", 1]],
        )
    },
    "background is listed last": Folder(
        declared(two, {"grain": 1, "background": 0}), ("background", "grain"), two(0)
    ),
    "another class is listed first": Folder(
        declared(two, {"grain": 1, "ground": 0}), NAMED[::-1], 1 - two(0), "'grain' is the backgr"
    ),
    "colours as numbers": Folder(
        declared(PAINTED, {"ground": [0, 0, 0], "grain": [255, 0, 0]}), NAMED, two(0)
    ),
    "colours as text": Folder(
        declared(PAINTED, {"ground": "0,0,0", "grain": "(255, 0, 0)"}), NAMED, two(0)
    ),
    "colours as keys": Folder(
        declared(PAINTED, {"255,0,0": "grain", "#000": "ground"}), NAMED, two(0)
    ),
    "colours in a list": Folder(
        declared(
            PAINTED,
            [
                {"id": 0, "name": "ground", "color": [0, 0, 0]},
                {"id": 1, "name": "grain", "color": "#FF0000"},
            ],
        ),
        NAMED,
        two(0),
    ),
    **{
        f"classes.txt {text!r}": Folder(declared(two, text, "classes.txt"), NAMED, two(0))
        for text in (
            "ground\ngrain\n",
            "0 ground\n1 grain",
            "0: ground\n1: grain",
            "ground: 0\ngrain: 1",
            "0,ground\r\n1,grain\r\n",
            "# mine\nground\t0\ngrain\t1",
        )
    },
    "labelmap.txt of CVAT": Folder(
        declared(PAINTED, "# label:color_rgb:parts:actions\nground:0,0,0::\ngrain:255,0,0::", MAP),
        NAMED,
        two(0),
    ),
    "two classes of one name": Folder(
        declared(two, {"0": "grain", "1": "grain"}),
        NAMED,
        two(0),
        refused="two classes 'grain'; give each class its own name",
        mend=lambda root: (root / "classes.json").write_text('["ground", "grain"]'),
    ),
    "a value without a class": Folder(
        declared(three, {"ground": 0, "grain": 1}),
        (*NAMED, "value 2"),
        three(0),
        refused="holds 2, but only 0, 1 are declared; correct the mask or the class list",
    ),
    "stray values without a class": Folder(
        declared(strewn(two, 9, 17), {"ground": 0, "grain": 1}), NAMED, refused=r"holds 9, but only"
    ),
    # Instance maps.
    "instances": Folder(with_instances(BINARY, three), truth=two(0), instances=2),
    "instances in colours": Folder(
        with_instances(BINARY, colours(BLACK, RED, BLUE)), truth=two(0), instances=2
    ),
    "instances from 2^24 on": Folder(numbered(2**24, np.int32), truth=two(0), instances=2),
    "instances up to 2^32": Folder(numbered(2**32 - 2, np.uint32), truth=two(0), instances=2),
    "instances up to 2^63": Folder(numbered(2**63 - 2, np.int64), truth=two(0), instances=2),
    "instances of float": Folder(numbered(70000, np.float32), truth=two(0), instances=2),
    "instances as JPEG": Folder(
        with_instances(BINARY, levels(0, 100, 200), ".jpg"),
        truth=two(0),
        refused="a JPEG changes numbers; save .* or remove the files",
        mend=remove("instances/*"),
    ),
    "instances of another image": Folder(
        with_instances(BINARY, lambda n: np.roll(three(n), 24, axis=1)),
        truth=two(0),
        refused=r"instances '.*a\.png' lie on the background.* or remove the file",
        mend=remove("instances/*"),
    ),
    "instances all zero": Folder(
        with_instances(BINARY, lambda n: 0 * two(n)),
        truth=two(0),
        refused=r"instances '.*a\.png' hold no object.* or remove the file",
        mend=remove("instances/*"),
    ),
    "instances with a numbered background": Folder(
        with_instances(BINARY, levels(3, 1, 2)),
        truth=two(0),
        refused="number the background; save 0 where there is no object",
        mend=with_instances(BINARY, three),
        instances=2,
    ),
    "instances below zero": Folder(
        with_instances(BINARY, levels(-1, 1, 2, kind=np.int16), ".tif"),
        truth=two(0),
        refused="number -1; number objects from 1 and save 0 where there is none",
        mend=with_instances(BINARY, three, ".tif"),
        instances=2,
    ),
    "instances of some objects": Folder(
        with_instances(BINARY, lambda n: (three(n) == 1).astype(U8)),
        truth=two(0),
        note="cover less than half of the foreground",
        instances=1,
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_read_right_or_refused_with_the_mend(name: str, tmp_path: Path) -> None:
    check_folder(FOLDERS[name], tmp_path)


def test_the_table_holds_at_least_120_folders() -> None:
    assert len(FOLDERS) >= 120


@pytest.mark.slow
def test_mended_folders_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = [case for case in FOLDERS.values() if case.refused]
    paths = []
    for number, case in enumerate(refused[::4]):
        paths.append(tmp_path / f"folder{number}")
        make_readable(case, paths[-1])
    words = ["--methods", "frozen_head", "--dataset", ",".join(map(str, paths))]
    recipe = "--steps 2 --batch-size 2 --image-size 64 --allow-leakage --threads 1"
    out = ["--keep", "none", "--out", str(tmp_path / "results")]
    assert main([*words, *recipe.split(), *out]) == 0, capsys.readouterr().out
    assert len(list((tmp_path / "results" / "records").glob("*.json"))) == len(paths) > 8
