"""Folders of images with one bad file each, as damage, accidents and other programs make them."""

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

Spoil = Callable[[Path], object]

FIRST = "image_0"
SIDES = (40, 48)  # height and width in px


def image(root: Path, suffix: str = ".png") -> Path:
    """The path of the first image with a suffix, whose PNG is removed."""
    (root / "images" / f"{FIRST}.png").unlink(missing_ok=True)
    return root / "images" / f"{FIRST}{suffix}"


def mask(root: Path, suffix: str = ".png") -> Path:
    """The path of the mask of the first image with a suffix; its PNG is removed."""
    (root / "masks" / f"{FIRST}.png").unlink(missing_ok=True)
    return root / "masks" / f"{FIRST}{suffix}"


def tiff(kind: str, part: Callable[..., Path] = image) -> Spoil:
    """A TIFF whose values have a NumPy type."""
    values = (np.arange(SIDES[0] * SIDES[1]).reshape(SIDES) % 251).astype(kind)
    return lambda root: tifffile.imwrite(part(root, ".tif"), values)


def text(name: str, content: str | bytes) -> Spoil:
    """A file with a content."""
    raw = content.encode() if isinstance(content, str) else content
    return lambda root: (root / name).write_bytes(raw)


def cut(part: Callable[..., Path], keep: float) -> Spoil:
    """A file that ends too early."""

    def spoil(root: Path) -> None:
        folder = "images" if part is image else "masks"
        raw = (root / folder / f"{FIRST}.png").read_bytes()
        part(root).write_bytes(raw[: int(len(raw) * keep)])

    return spoil


def flip(part: Callable[..., Path], place: int) -> Spoil:
    """A PNG in which one byte differs."""

    def spoil(root: Path) -> None:
        folder = "images" if part is image else "masks"
        raw = bytearray((root / folder / f"{FIRST}.png").read_bytes())
        raw[place % len(raw)] ^= 0x55
        part(root).write_bytes(raw)

    return spoil


def png(width: int, height: int, part: Callable[..., Path] = image) -> Spoil:
    """A PNG whose header says another size than its pixels have."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b"")
    raw = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in parts)
    return lambda root: part(root).write_bytes(raw)


def animated(suffix: str, part: Callable[..., Path] = image) -> Spoil:
    """An image of three frames."""

    def spoil(root: Path) -> None:
        frames = [Image.fromarray(np.full(SIDES, 60 * n, np.uint8)) for n in range(3)]
        kind = "PNG" if suffix == ".png" else "TIFF" if suffix == ".tif" else "GIF"
        frames[0].save(part(root, suffix), kind, save_all=True, append_images=frames[1:])

    return spoil


def values(array: np.ndarray, part: Callable[..., Path] = image) -> Spoil:
    """A TIFF of an array."""
    return lambda root: tifffile.imwrite(part(root, ".tif"), array)


def deep(level: int) -> str:
    """JSON of objects within objects."""
    return '{"a":' * level + "1" + "}" * level


def link(name: str, target: str) -> Spoil:
    """A symbolic link in place of the first image or mask."""

    def spoil(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)

    return spoil


def cut_jpeg(root: Path) -> None:
    """A JPEG that ends too early."""
    file = image(root, ".jpg")
    Image.new("L", (48, 40), 90).save(file)
    file.write_bytes(file.read_bytes()[:200])


def renamed(name: str) -> Spoil:
    """The first image and its mask under another name."""

    def spoil(root: Path) -> None:
        for part in ("images", "masks"):
            (root / part / f"{FIRST}.png").rename(root / part / f"{name}.png")

    return spoil


def contents(file: str, table: dict[str, str | bytes]) -> dict[str, Spoil]:
    """A file with each of some contents."""
    return {f"{file}: {what}": text(file, content) for what, content in table.items()}


def fifo(root: Path) -> None:
    """A FIFO: opening it would wait for a writer."""
    os.mkfifo(image(root))


IMAGES: dict[str, Spoil] = {
    "empty image": text("images/image_0.png", b""),
    "text as image": text("images/image_0.png", "no image"),
    "HTML as image": text("images/image_0.png", "<html><body>404</body></html>"),
    "zeros as image": text("images/image_0.png", b"\0" * 4096),
    "signature alone": text("images/image_0.png", b"\x89PNG\r\n\x1a\n"),
    **{f"image cut at {keep}": cut(image, keep) for keep in (0.1, 0.3, 0.5, 0.7, 0.9)},
    **{f"mask cut at {keep}": cut(mask, keep) for keep in (0.1, 0.5, 0.9)},
    **{f"image, byte {n} differs": flip(image, n) for n in (1, 12, 17, 20, 24, 25, 26, 28, 33, 45)},
    **{f"mask, byte {n} differs": flip(mask, n) for n in (1, 17, 24, 25, 28, 45)},
    "width 0": png(0, 40),
    "width 2^31": png(2**31 - 1, 40),
    "huge size": png(60000, 60000),
    "more rows than pixels": png(48, 400),
    "mask of width 0": png(0, 40, mask),
    "huge mask": png(60000, 60000, mask),
    "fifo": fifo,
    "device": link("images/image_0.png", "/dev/zero"),
    "null device": link("images/image_0.png", "/dev/null"),
    "broken link": link("images/image_0.png", "nowhere.png"),
    "link to itself": link("images/image_0.png", "image_0.png"),
    "mask is a broken link": link("masks/image_0.png", "nowhere.png"),
    "animated PNG": animated(".png"),
    "animated PNG mask": animated(".png", mask),
    "GIF named PNG, animated": lambda root: (
        animated(".gif")(root) or (root / "images/image_0.gif").rename(root / "images/image_0.png")
    ),
    "TIFF of three pages": animated(".tif"),
    **{f"{kind} image": tiff(kind) for kind in ("complex64", "complex128", "float16")},
    **{f"{kind} mask": tiff(kind, mask) for kind in ("complex64", "complex128", "float16")},
    "uint64 image beyond 2^63": values(np.full(SIDES, 2**64 - 5, np.uint64)),
    "uint64 mask beyond 2^63": values(np.full(SIDES, 2**64 - 5, np.uint64), mask),
    "int64 mask below 0": values(np.full(SIDES, -(2**62), np.int64), mask),
    "int32 mask below 0": values(np.full(SIDES, -7, np.int32), mask),
    "NaN mask": values(np.full(SIDES, np.nan, np.float32), mask),
    "infinite mask": values(np.full(SIDES, np.inf, np.float64), mask),
    "infinite image": values(np.full(SIDES, np.inf, np.float32)),
    "NaN image": values(np.full(SIDES, np.nan, np.float64)),
    "float mask of 1e300": values(np.full(SIDES, 1e300), mask),
    "float image of 1e308": values(np.linspace(-1, 1, 1920).reshape(SIDES) * 1e308),
    "image of no pixels": values(np.zeros((0, 48), np.uint8)),
    "volume as image": values(np.zeros((5, 40, 48), np.uint8)),
    "five dimensions": values(np.zeros((2, 2, 2, 40, 48), np.uint8)),
    "seven channels": values(np.zeros((7, 40, 48), np.uint8)),
    "mask with 65,536 values": values(np.arange(1920, dtype=np.uint32).reshape(SIDES) * 30, mask),
    "TIFF header alone": text("images/image_0.png", b"II*\0\x08\0\0\0"),
    "TIFF that points to itself": lambda root: image(root, ".tif").write_bytes(
        b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0"
    ),
    "TIFF, directory outside": lambda root: image(root, ".tif").write_bytes(
        b"II*\0\xff\xff\xff\x7f"
    ),
    "TIFF of a huge strip": lambda root: image(root, ".tif").write_bytes(
        b"II*\0\x08\0\0\0\x04\0"
        + struct.pack("<HHII", 256, 4, 1, 48)
        + struct.pack("<HHII", 257, 4, 1, 2**31)
        + struct.pack("<HHII", 273, 4, 1, 99)
        + struct.pack("<HHII", 279, 4, 1, 2**31)
        + b"\0\0\0\0"
    ),
    "BMP of negative size": lambda root: image(root, ".bmp").write_bytes(
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, -9, -9, 1, 24, 0, 0, 0, 0, 0, 0)
    ),
    "JPEG cut": cut_jpeg,
    "folder named as an image": lambda root: image(root).mkdir(),
    "folder without rights as mask": lambda root: mask(root).mkdir(mode=0),
    "PNG bomb of text": lambda root: image(root).write_bytes(_text_bomb()),
}


def _text_bomb() -> bytes:
    content = b"a\0\0" + zlib.compress(b"x" * (1 << 26))
    chunk = struct.pack(">I", len(content)) + b"zTXt" + content
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + content))
    header = struct.pack(">IIBBBBB", 48, 40, 8, 0, 0, 0, 0)
    first = struct.pack(">I", 13) + b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + first + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + chunk


JSONS: dict[str, str | bytes] = {
    "empty": "",
    "cut": '{"a": ',
    "list": "[1, 2",
    "null": "null",
    "number": "1e999",
    "not a number": '{"background": NaN, "x": 1}',
    "deep": deep(100_000),
    "deep list": "[" * 100_000,
    "long number": f'{{"x": {"9" * 5000}}}',
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "zeros": b"\0" * 64,
    "lone surrogate": '{"\\ud800": 1, "b": 2}',
    "wrong types": '{"classes": 7, "items": 7, "train": 7}',
    "nested wrong types": '{"classes": [[]], "items": {"image_0": 7}, "train": [7]}',
    "huge value": '{"background": 0, "x": 1e400}',
}
TABLES: dict[str, str | bytes] = {
    "empty": "",
    "huge field": f"image_0,{'x' * 200_000}\n",
    "open quote": 'image_0,"train\n' + "x" * 200_000,
    "NUL": "image_0,\0train\n",
    "no UTF-8": b"image_0,\xff\xfe\n",
    "one column": "image_0\n",
    "many columns": "image_0" + ",a" * 10_000 + "\n",
    "long row": "x" * 1_000_000,
    "binary": bytes(range(256)) * 20,
}
LISTS: dict[str, str | bytes] = {
    "empty": "",
    "no UTF-8": b"\xff\xfe\xff",
    "one long line": "x" * 1_000_000,
    "many numbers": "1 " * 20_000,
    "long number": "9" * 5000 + " grain\n0 back",
    "NUL": "back\0ground\nobject\n",
}
SIDECARS: dict[str, Spoil] = {
    **contents("meta.json", JSONS),
    **contents("classes.json", JSONS),
    **contents("split.json", JSONS),
    **contents("groups.csv", TABLES),
    **contents("split.csv", TABLES),
    **contents("classes.txt", LISTS),
    "meta.json is a folder": lambda root: (root / "meta.json").mkdir(),
    "classes.json is a FIFO": lambda root: os.mkfifo(root / "classes.json"),
    "groups.csv is a FIFO": lambda root: os.mkfifo(root / "groups.csv"),
    "classes.json is a device": link("classes.json", "/dev/zero"),
    "meta.json, items of wrong kinds": text(
        "meta.json", json.dumps({"items": {"image_0": {"group": {"a": [1]}}}, "licence": [1]})
    ),
}

NAMES: dict[str, Spoil] = {
    "no UTF-8": lambda root: (root / "images/image_0.png").rename(root / "images/bad_\udcff.png"),
    "no UTF-8, with its mask": lambda root: [
        (root / part / "image_0.png").rename(root / part / "bad_\udcff.png")
        for part in ("images", "masks")
    ],
    "no UTF-8, folder": lambda root: (root / "x\udcff").mkdir(),
    "no UTF-8, other file": lambda root: os.mkfifo(os.fsencode(root) + b"/images/y\xff.txt"),
    **{
        f"name with {what}": renamed(name)
        for what, name in {
            "newline": "a\nb",
            "tab": "a\tb",
            "brackets": "[red]a[bold]",
            "backtick": "`a`|b",
            "HTML": "<img src=x onerror=y>".replace("/", ""),
            "formula": "=1+1",
            "comma": "a,b",
            "quote": "a\"b'c",
            "escape": "\x1b[31mred",
            "right to left": "‮abc",
            "255 bytes": "x" * 250,
        }.items()
    },
}

BAD = {
    f"{part}: {name}": spoil
    for part, table in (("image", IMAGES), ("sidecar", SIDECARS), ("name", NAMES))
    for name, spoil in table.items()
}
