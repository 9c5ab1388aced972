"""Folders as people really have them: masks saved in all kinds of ways. Each is made by code."""

import json
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from banks import make_bank
from PIL import Image
from scipy import ndimage

from bench.data.decode import decode, instance_numbers
from bench.data.folder.read import read_folder
from bench.data.items import IGNORE
from bench.errors import UserError

Array = npt.NDArray[Any]
NAMES = "abc"
SIDES = (40, 48)  # height and width in px
U8 = np.uint8


@dataclass(frozen=True)
class Folder:
    """A folder, and what must happen when it is read.

    Attributes:
        make: makes it at a path.
        classes: names of the classes that are read at once, or after the mend; not compared if
            there are none.
        truth: the mask of image "a" as it must be read then; None: not compared.
        note: pattern of one of the notes, or of what is left out, then; "" for any.
        refused: pattern of the sentence that refuses the folder; "" if it is read at once.
        mend: does what the sentence says; None: the classes.json in the sentence is written.
        instances: number of objects in the instance map of image "a".
    """

    make: Callable[[Path], object]
    classes: Sequence[str] = ("background", "object")
    truth: Array | None = None
    note: str = ""
    refused: str = ""
    mend: Callable[[Path], object] | None = None
    instances: int = 0


def two(number: int) -> Array:
    """Mask 0 and 1: a rectangle and a disc."""
    mask = np.zeros(SIDES, U8)
    mask[4 + number : 16, 5 : 20 + number] = 1
    rows, columns = np.ogrid[: SIDES[0], : SIDES[1]]
    mask[(rows - 27) ** 2 + (columns - 33 + number) ** 2 < 70] = 1
    return mask


def three(number: int) -> Array:
    """Mask 0, 1 and 2: the rectangle is 1, the disc 2."""
    mask = two(number)
    return mask + (mask * (np.arange(SIDES[0]) > 17)[:, None]).astype(U8)


def many(number: int) -> Array:
    """Mask of 12 + number squares, numbered row by row from 1."""
    mask = np.zeros(SIDES, np.uint16)
    for index in range(12 + number):
        row, column = divmod(index, 5)
        mask[2 + 9 * row : 8 + 9 * row, 2 + 9 * column : 9 + 9 * column] = index + 1
    return mask


def grey(number: int) -> Array:
    """An image (H, W) uint8."""
    noise = np.random.default_rng(number).integers(0, 90, SIDES)
    return (noise + 60 * two(number)).astype(U8)


BAR = 20  # rows of the information bar of `barred`


def barred(number: int) -> Array:
    """An image of 90 rows, the last of them an information bar with text."""
    pixels = np.pad(grey(number), ((30, BAR), (0, 0)), mode="reflect")
    pixels[-BAR:] = 0
    pixels[-14:-6, 4:30:3] = 255
    return pixels


def save(pixels: Array, file: Path, **options: Any) -> Path:
    """Write an image file by its ending; TIFF with the type of the pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".tif":
        tifffile.imwrite(file, pixels, **{"photometric": "minisblack"} | options)
    else:
        Image.fromarray(pixels).save(file, **options)
    return file


def folder(
    root: Path,
    mask: Callable[[int], Array],
    ending: str = ".png",
    image: Callable[[int], Array] = grey,
    image_ending: str = ".png",
    **options: Any,
) -> Path:
    """Three images a, b, c with the masks of the numbers 0, 1, 2."""
    for number, name in enumerate(NAMES):
        save(image(number), root / f"images/{name}{image_ending}")
        save(mask(number), root / f"masks/{name}{ending}", **options)
    return root


def masks(mask: Callable[[int], Array], ending: str = ".png", **options: Any) -> Any:
    """A maker of a folder."""
    return lambda root: folder(root, mask, ending, **options)


def levels(*values: float, of: Callable[[int], Array] = three, kind: Any = U8) -> Any:
    """Masks whose indices are replaced by values."""
    return lambda number: np.array(values, kind)[of(number)]


def colours(*values: tuple[int, ...], of: Callable[[int], Array] = three) -> Any:
    """Masks whose indices are replaced by colours, 8 bits."""
    return lambda number: np.array(values, U8)[of(number)]


def blurred(values: Callable[[int], Array], sigma: float = 1.0) -> Any:
    """Masks with smooth edges."""
    return lambda number: ndimage.gaussian_filter(values(number) * 1.0, sigma).round().astype(U8)


def enlarged(values: Callable[[int], Array]) -> Any:
    """Masks that were resized bilinearly from half the size."""
    return lambda number: np.array(
        Image.fromarray(values(number)[::2, ::2]).resize(SIDES[::-1], Image.Resampling.BILINEAR)
    )


def strewn(values: Callable[[int], Array], *strays: int) -> Any:
    """Masks with single stray pixels of other values, each value in one mask."""

    def mask(number: int) -> Array:
        pixels = values(number)
        for index, stray in enumerate(strays):
            if index % 3 == number:
                pixels[2 + index % 2, 25 + index % 20] = stray
        return pixels

    return mask


def per_file(*makers: Callable[[int], Array]) -> Any:
    """Masks made in another way for each image."""
    return lambda number: makers[number % len(makers)](number)


def alpha(label: Callable[[int], Array], rgb: int = 0) -> Any:
    """RGBA masks of one colour with the label in the alpha channel."""
    return lambda number: np.dstack([np.full((*SIDES, 3), rgb, U8), label(number)])


def declared(mask: Callable[[int], Array], content: Any, name: str = "classes.json") -> Any:
    """A folder with a list of classes."""

    def make(root: Path) -> None:
        folder(root, mask)
        (root / name).write_text(content if isinstance(content, str) else json.dumps(content))

    return make


def with_instances(
    mask: Callable[[int], Array], numbers: Callable[[int], Array], ending: str = ".png", **how: Any
) -> Any:
    """A folder with instance maps."""

    def make(root: Path) -> None:
        folder(root, mask)
        for number, name in enumerate(NAMES):
            save(numbers(number), root / f"instances/{name}{ending}", **how)

    return make


def edit(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    """Steps one after the other, each with the path of the folder."""

    def run(root: Path) -> None:
        for step in steps:
            step(root)

    return run


def remove(pattern: str) -> Callable[[Path], None]:
    """Remove files, or a folder's files."""

    def run(root: Path) -> None:
        for file in root.glob(pattern):
            file.unlink()

    return run


def palette(mask: Callable[[int], Array], *colour: int) -> Any:
    """A folder of palette masks."""

    def make(root: Path) -> None:
        folder(root, mask)
        for file in root.glob("masks/*.png"):
            picture = Image.open(file)
            picture.putpalette(list(colour))
            picture.save(file)

    return make


def turned(root: Path, kind: str, orientation: int = 6) -> None:
    """Write an EXIF rotation into JPEG images or TIFF masks, whose pixels are stored turned."""
    for file in list(root.glob(f"{kind}/*.png")):
        pixels = np.rot90(np.array(Image.open(file)))
        file.unlink()
        if kind == "images":
            exif = Image.Exif()
            exif[274] = orientation
            save(pixels, file.with_suffix(".jpg"), exif=exif, quality=95)
        else:
            tags = [(274, "H", 1, orientation, True)]
            save(pixels, file.with_suffix(".tif"), extratags=tags)


def cut_short(name: str) -> Callable[[Path], None]:
    """Keep the first half of a file."""

    def run(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])

    return run


def wide_png(part: str, factor: Any = 1, names: str = "*") -> Callable[[Path], None]:
    """Save files again as PNG with 16 bits for each of red, green and blue.

    Grey levels are multiplied by a factor, one for all colours or one for each.
    """

    def run(root: Path) -> None:
        for file in root.glob(f"{part}/{names}.png"):
            grey = np.array(Image.open(file).convert("L")).astype(np.uint16)
            rows = (grey[..., None] * np.broadcast_to(factor, 3)).astype(">u2")
            content = b"".join(b"\0" + row.tobytes() for row in rows)
            size = struct.pack(">II", grey.shape[1], grey.shape[0])
            chunks = (b"IHDR", size + bytes([16, 2, 0, 0, 0])), (b"IDAT", zlib.compress(content))
            file.write_bytes(
                b"\x89PNG\r\n\x1a\n"
                + b"".join(
                    struct.pack(">I", len(body))
                    + kind
                    + body
                    + struct.pack(">I", zlib.crc32(kind + body))
                    for kind, body in (*chunks, (b"IEND", b""))
                )
            )

    return run


def check_folder(case: Folder, root: Path) -> None:
    """Make a folder; it must be read right, or be refused with one sentence and then read right.

    Between the two, just what the sentence says is done. Then all its images become training views.
    """
    make_readable(case, root)
    collection = read_folder(root)
    if case.classes:
        assert collection.classes == tuple(case.classes)
    item = collection.items[0]
    if case.truth is not None:
        np.testing.assert_array_equal(decode(item, collection)[1], case.truth)
    told = (*collection.notes, *collection.left_out)
    assert any(re.search(case.note, text) for text in told), told
    assert np.unique(instance_numbers(item, SIDES)).size == 1 + case.instances
    pairs = [decode(one, collection) for one in collection.items]
    bank = make_bank(pairs, views=2 * len(pairs), size=32, kind="standard", seed=0)
    assert set(np.unique(bank.masks)) <= {*range(collection.num_classes), IGNORE}


def make_readable(case: Folder, root: Path) -> None:
    """Make a folder; where it is refused, as it should be, do what the sentence says."""
    case.make(root)
    if not case.refused:
        return
    with pytest.raises(UserError, match=case.refused) as raised:
        read_folder(root)
    assert "\n" not in str(raised.value)
    if case.mend is None:
        written = re.search(r"classes\.json' as (\{.*\})", str(raised.value))
        assert written, raised.value
        (root / "classes.json").write_text(written[1])
    else:
        case.mend(root)
