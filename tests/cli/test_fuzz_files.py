"""Random folders, checkpoints, images and names: a result, or one sentence."""

import io
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import check_sentence, fuzz, spoiled
from hypothesis import strategies as st
from kept_models import make_kept_model
from PIL import Image
from records import make_cell, make_failure, make_record
from safetensors.torch import save_file

from bench.cli import main
from bench.data.decode import show
from bench.data.raster import load
from bench.errors import UserError
from bench.keep.model_file import load_module
from bench.learn.training_state import TrainingState, read_state, write_state
from bench.report.compare.comparison import make_comparisons
from bench.report.page import Report, build_page
from bench.report.page.build import LIBRARIES
from bench.report.records.frame import to_frame
from bench.run.store import RecordError, read_record
from bench.sam.backbones.sam_nano import NANO_WEIGHTS
from bench.sam.build import load_sam
from bench.spec import Record, Task

pytestmark = [
    # As `bench.cli` sets it: a sentence names the damaged file.
    pytest.mark.filterwarnings(f"ignore:::{module}")
    for module in ("PIL", "tifffile")
]
KINDS = ("PNG", "TIFF", "JPEG", "BMP")


def encoded(pixels: Any, kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "NPY":
        np.save(stream, pixels)
    else:
        Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


IMAGES = {
    (kind, shape, bits): encoded(
        (np.arange(np.prod(shape)) * 7 % 251).astype(bits).reshape(shape), kind
    )
    for kind in KINDS
    for shape in ((12, 16), (12, 16, 3))
    for bits in ((np.uint8, np.uint16) if shape == (12, 16) and kind in KINDS[:2] else (np.uint8,))
}


SPOILED_IMAGES = st.sampled_from(list(IMAGES)).flatmap(
    lambda key: st.tuples(st.just(key[0]), spoiled(IMAGES[key]))
)


@fuzz(SPOILED_IMAGES, examples=150)
def test_decoder(tmp_path: Path, image: tuple[str, bytes]) -> None:
    path = tmp_path / f"image.{image[0].lower()}"
    path.write_bytes(image[1])
    try:
        assert show(load(path), "image").dtype == np.uint8
    except UserError as error:
        check_sentence(error, "image")


def test_a_tiff_without_width_has_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    width, height = b"\x00\x01\x04\x00", b"\x01\x01\x04\x00"
    path.write_bytes(IMAGES["TIFF", (12, 16), np.uint16].replace(width, height, 1))
    with pytest.raises(UserError, match="it has no pixels"):
        load(path)


@pytest.mark.parametrize("bits", [2, 4, 5, 12])
def test_a_tiff_of_few_bits_is_read_or_refused(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "image.tif"
    entry = b"\x02\x01\x03\x00\x01\x00\x00\x00"  # tag 258, bits of a value
    raw = IMAGES["TIFF", (12, 16), np.uint16]
    assert entry in raw
    path.write_bytes(raw.replace(entry + b"\x10", entry + bytes([bits]), 1))
    if bits == 5:
        with pytest.raises(UserError, match="cannot read"):
            load(path)
    else:
        assert load(path).values.shape == (12, 16)


MASK = (np.add.outer(np.arange(12), np.arange(16)) > 14).astype(np.uint8)
PIXELS = st.sampled_from([MASK, MASK * 255, MASK[:5], np.dstack([MASK * 200] * 3), 1 - MASK * 0])
PICTURES = st.tuples(PIXELS, st.sampled_from(KINDS)).map(lambda pair: encoded(*pair))
PLAIN = st.one_of(
    PICTURES,
    PICTURES.flatmap(spoiled),
    st.builds(encoded, PIXELS, st.just("NPY")).flatmap(spoiled),
    st.sampled_from(
        [
            *('{"background": 0, "object": 255}', '{"a": 0}', '["a", "b"]', "background\nobject\n"),
            *("name,group\na,1\nb,2\n", "name,part\na,train\nb,test\n", "", "[" * 3000, "a,b,c"),
            *('{"train": ["a"], "val": [], "test": ["b"]}', '{"items": {"a": {"group": "x"}}}'),
            '{"images": [{"id": 1, "file_name": "a"}], "annotations": [], "categories": []}',
            "image_id,rle\na,1 3\n",
        ]
    )
    .map(str.encode)
    .flatmap(lambda raw: st.just(raw) | spoiled(raw)),
)
STEMS = st.sampled_from(["a", "b", "c", "a_mask", "b_mask", "a.b", "é", "image_0", "=1", "a\nb"])
FILES = st.one_of(
    st.builds(
        "{}/{}{}".format,
        st.sampled_from(["images", "masks", "instances", "train", "labels", "images/deep", "."]),
        STEMS,
        st.sampled_from([".png", ".tif", ".jpg", ".bmp", ".npy", ".json", ".txt", ".csv", ".xml"]),
    ),
    st.sampled_from(
        ["classes.json", "classes.txt", "groups.csv", "split.json", "split.csv", "meta.json"]
    ),
)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes]:
    """Files of a folder by path: mostly pairs that are right, and some files of any kind."""
    files = {}
    for stem in draw(st.lists(STEMS, max_size=4, unique=True)):
        for part in ("images", "masks"):
            files[f"{part}/{stem}.png"] = encoded(MASK * 255, "PNG")
    return files | draw(st.dictionaries(FILES, PLAIN, max_size=4))


@fuzz(trees(), st.sampled_from(["check", "import"]))
def test_folders(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    files: dict[str, bytes],
    action: str,
) -> None:
    monkeypatch.setenv("SAM_BENCH_CACHE", str(tmp_path / "cache"))
    root, target = tmp_path / "folder", tmp_path / "target"
    for folder in (root, target):
        shutil.rmtree(folder, ignore_errors=True)
    root.mkdir()
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    code = main(["data", action, str(root), *([str(target)] if action == "import" else [])])
    output = capfd.readouterr().err
    assert code in (0, 2)
    assert output.count("\n") == (code == 2), output
    if code == 2:
        assert output.startswith("error: ")
        assert not target.exists()


def network() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(3)}


def _pth(content: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **how)
    return stream.getvalue()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files by name, each with the reader of its first word."""
    folder = tmp_path_factory.mktemp("checkpoints")
    make_kept_model(folder / "kept.safetensors")
    write_state(
        folder / "state.safetensors", TrainingState(network(), {"position": {}}), {"x": "y"}
    )
    save_file(network(), folder / "weights.safetensors")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["weights-nano.safetensors"] = NANO_WEIGHTS.read_bytes()
    files["weights.pth"] = _pth({"model": network()})
    files["weights-old.pth"] = _pth(network(), _use_new_zipfile_serialization=False)
    return files


NAMES = [
    *("kept.safetensors", "state.safetensors", "weights.safetensors", "weights-nano.safetensors"),
    *("weights.pth", "weights-old.pth"),
]


def _weights(path: Path) -> object:
    return load_sam(Task(2, 64, "sam_nano", str(path)))


READERS: dict[str, Callable[[Path], object]] = {
    "kept": load_module,
    "state": lambda path: read_state(path, {"x": "y"}),
    "weights": _weights,
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@fuzz(st.sampled_from(NAMES), st.data())
def test_checkpoints(
    checkpoints: dict[str, bytes], tmp_path: Path, name: str, data: st.DataObject
) -> None:
    raw = checkpoints[name]
    if name.endswith(".safetensors") and data.draw(st.booleans()):
        raw = _other_header(raw, data)
    else:
        raw = data.draw(spoiled(raw))
    path = tmp_path / name
    path.write_bytes(raw)
    try:
        READERS[name.replace(".", "-").split("-")[0]](path)
    except UserError as error:
        check_sentence(error, str(path))


def _other_header(raw: bytes, data: st.DataObject) -> bytes:
    """A safetensors file in whose header one value is another."""
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    key = data.draw(st.sampled_from(sorted(header)))
    part = header[key]
    if data.draw(st.booleans()) and part:
        inner = data.draw(st.sampled_from(sorted(part)))
        value = data.draw(JSON_VALUES)
        if key == "__metadata__":
            text = part[inner]
            value = json.dumps(value)
            if text[:1] == "{" and data.draw(st.booleans()):
                fields = json.loads(text)
                if fields:
                    fields[data.draw(st.sampled_from(sorted(fields)))] = json.loads(value)
                value = json.dumps(fields)
        part[inner] = value
    else:
        header[data.draw(st.text(max_size=5))] = header.pop(key)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + raw[8 + size :]


STRANGE = st.text(max_size=12) | st.sampled_from(
    [
        *("</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", "`a`|b", "a\nb"),
        *(
            "=1+1",
            "\\input{x}",
            "$x$",
            "%",
            "]]>",
            "<!--",
            "{{ x }}",
            "' onclick='x",
            '" x="',
            "\0",
        ),
        *("\ud800", "‮", "../../x", "x" * 300, "", " ", "&amp;", "javascript:alert(1)", "\0"),
    ]
)


SCRIPTS = len(LIBRARIES) + 1  # those that run


class Tags(HTMLParser):
    """Names of elements that a browser would run or load, and attributes that run code."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts, self.harm = 0, list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script" and "type" not in dict(attrs)
        self.harm += [name for name, _ in attrs if name.startswith("on")]
        self.harm += [
            f"{name}={value}"
            for name, value in attrs
            if name in ("src", "href") and not (value or "").startswith(("#", "data:", "https:"))
        ]


@fuzz(st.lists(STRANGE, min_size=6, max_size=6), examples=12)
def test_page(tmp_path: Path, texts: list[str]) -> None:
    """Texts of foreign records change no element of the page; tables can be written too."""
    dataset, group, image, reason, note, option = texts
    records = [
        make_record(
            make_cell(method, seed=seed, dataset=dataset or "x", options={"targets": option}),
            groups=[f"{group}{n}" for n in range(8)],
            env={"cpu": note, "gpu": None, "threads": 2, "packages": {"torch": note}},
        )
        for method in ("lora", "unet")
        for seed in (0, 1)
    ]
    records.append(make_failure(make_cell("full", dataset=image or "x"), error=reason))
    try:
        records = [_stored(record, tmp_path) for record in records]
    except RecordError as error:
        return check_sentence(error, str(tmp_path))
    frame = to_frame(records)
    text = build_page(Report(records, frame, make_comparisons(frame)))
    assert text.encode()
    page = Tags(text)
    assert page.scripts == SCRIPTS
    assert page.harm == []


def _stored(record: Record, folder: Path) -> Record:
    path = folder / "record.json"
    path.write_text(json.dumps(record.to_dict()))
    return read_record(path)
