"""Spoiled files for commands other than `data check`: layouts, records, models and weights."""

import io
import json
import os
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import foreign
import numpy as np
import tifffile
import torch
from bad_files import deep
from folders import make_folder
from kept_models import make_kept_model
from PIL import Image
from records import make_cell, make_record
from safetensors.torch import save_file

from bench.run.store import Store

Bad = Callable[[Path], object]  # makes everything in an empty folder, which is the working folder


def _changed(change: Callable[[bytes], bytes], path: Path) -> None:
    path.write_bytes(change(path.read_bytes()))


def _flipped(raw: bytes) -> bytes:
    """Every 37th byte is another one."""
    values = np.frombuffer(raw, np.uint8).copy()
    values[::37] ^= 0x5A
    return values.tobytes()


def _become(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


SPOILS: dict[str, Callable[[Path], object]] = {
    "is empty": lambda path: path.write_bytes(b""),
    "is cut": lambda path: _changed(lambda raw: raw[: len(raw) // 2], path),
    "is a web page": lambda path: path.write_text("<!DOCTYPE html><html>\n<body>log in</body>"),
    "has other bytes": lambda path: _changed(_flipped, path),
    "is zeros": lambda path: _changed(lambda raw: bytes(len(raw)), path),
    "is not UTF-8": lambda path: _changed(lambda raw: b"\xff\xfe" + raw, path),
    "is a folder": lambda path: _become(path, Path.mkdir),
    "is a FIFO": lambda path: _become(path, os.mkfifo),
    "is a device": lambda path: _become(path, lambda p: p.symlink_to("/dev/zero")),
    "is a broken link": lambda path: _become(path, lambda p: p.symlink_to("nowhere")),
}


def spoiled(make: Callable[[Path], object], file: str, how: str) -> Bad:
    """A file of what `make` makes is spoiled."""

    def bad(root: Path) -> None:
        make(root)
        SPOILS[how](root / file)

    return bad


def _below(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def inside(root: Path) -> None:
        (root / name).mkdir()
        make(root / name)

    return inside


ANNOTATIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "coco": (foreign.coco, "annotations/instances_test2017.json"),
    "labelme": (foreign.labelme, "image_0.json"),
    "voc": (foreign.voc, "SegmentationClass/image_0.png"),
    "yolo": (foreign.yolo, "data.yaml"),
    "rle-csv": (foreign.rle_csv, "train.csv"),
    "nnunet": (foreign.nnunet, "dataset.json"),
    "cvat": (foreign.cvat, "annotations.xml"),
    "geojson": (foreign.geojson, "image_0.geojson"),
    "npz": (foreign.npz, "image_0.npz"),
    "npy set": (foreign.npy_set, "X_train.npy"),
    "ome": (foreign.ome_tiff, "images/case0.ome.tif"),
    "nifti": (foreign.nifti, "sub-00/sub-00_seg.nii.gz"),
}
IMPORTS: dict[str, Bad] = {
    f"{layout}: {file} {how}": _below("source", spoiled(make, file, how))
    for layout, (make, file) in ANNOTATIONS.items()
    for how in SPOILS
}


def results(change: Callable[[dict[str, Any]], object]) -> Bad:
    """A results folder in which one record is changed."""

    def bad(root: Path) -> None:
        store = Store.open(root / "results")
        for seed in (0, 1):
            store.write(make_record(make_cell(seed=seed)))
        path = store.path(make_cell())
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))

    return bad


def results_with(how: str) -> Bad:
    """A results folder in which the file of a record is spoiled."""

    def bad(root: Path) -> None:
        results(lambda values: None)(root)
        SPOILS[how](Store.open(root / "results").path(make_cell()))

    return bad


def _set(*place: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: Any) -> None:
        for key in place[:-1]:
            values = values[key]
        values[place[-1]] = value

    return change


_PLACES = (
    *(("id",), ("schema",), ("status",), ("cell",), ("metrics",), ("per_image",), ("env",)),
    *(("history",), ("cost",), ("classes",), ("prompts",), ("error",)),
    *(("cell", "method"), ("cell", "task"), ("cell", "seed"), ("cell", "recipe", "lr")),
    *(("cell", "options"), ("metrics", "dice_dataset"), ("cost", "trainable_params")),
    *(("per_image", 0, "dice"), ("per_image", 0, "group"), ("history", 0, "step")),
    *(("cost", "infer_images_per_s"), ("cell", "task", "image_size"), ("cell", "folds")),
)
_VALUES: tuple[Any, ...] = (None, "x\n<b>", -1, 1e308, [[]], {"a": [1]}, 10**30)
RECORDS: dict[str, Bad] = {
    **{
        f"{'.'.join(map(str, place))} is {json.dumps(value)[:12]}": results(
            _set(*place, value=value)
        )
        for place in _PLACES
        for value in _VALUES
        if not (place == ("error",) and isinstance(value, str))  # any text is allowed
    },
    **{f"record {how}": results_with(how) for how in SPOILS},
    "record is deep": results(lambda values: values.update(env=json.loads(deep(900)))),
}


def _kept(root: Path) -> None:
    make_kept_model(root / "m.safetensors")
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(root / "a.png")


def _header(change: Callable[[dict[str, Any]], object]) -> Bad:
    """A kept model whose safetensors header is changed."""

    def bad(root: Path) -> None:
        _kept(root)
        raw = (root / "m.safetensors").read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size])
        change(header)
        text = json.dumps(header).encode()
        whole = len(text).to_bytes(8, "little") + text + raw[8 + size :]
        (root / "m.safetensors").write_bytes(whole)

    return bad


def _model(content: bytes) -> Bad:
    def bad(root: Path) -> None:
        _kept(root)
        (root / "m.safetensors").write_bytes(content)

    return bad


_FIELDS = ("cell", "base", "classes", "images", "trained_on", "prompts", "rule", "fit", "scaling")
MODELS: dict[str, Bad] = {
    **{f"model {how}": spoiled(_kept, "m.safetensors", how) for how in SPOILS},
    **{
        f"header: {field} is {value[:9]}": _header(
            lambda header, field=field, value=value: header["__metadata__"].update({field: value})  # type: ignore[misc]
        )
        for field in _FIELDS[:5]
        for value in ("null", "{}", "[1]", '"x"', "{", deep(900))
    },
    **{
        f"header: {field} is {value}": _header(
            lambda header, field=field, value=value: header["__metadata__"].update({field: value})  # type: ignore[misc]
        )
        for field, value in (
            *(("cost", '{"trainable_params": "x"}'), ("cost", '{"trainable_params": -1}')),
            *(("metrics", "[1]"), ("metrics", '{"dice_dataset": 1e308}')),
            *(("history", '[{"val_dice": "x"}]'), ("history", '[{"step": -1}]')),
            *(("repeats", "[5]"), ("repeats", '[{"cell_id": "a", "dice": 7}]'), ("env", "[]")),
        )
    },
    "no metadata": _header(lambda header: header.pop("__metadata__")),
    "no tensors": _header(lambda header: [header.pop(k) for k in list(header) if k[0] != "_"]),
    "a huge header": _model((1 << 40).to_bytes(8, "little") + b"{}"),
    "a header of no JSON": _model((9).to_bytes(8, "little") + b"no header" + bytes(99)),
    "a pickle": _model(pickle.dumps({"a": 1})),
}


def _torch(content: Any) -> Bad:
    return lambda root: torch.save(content, root / "w.pth")


def _weights(root: Path) -> None:
    save_file({"a": torch.zeros(3)}, root / "w.pth")


WEIGHTS: dict[str, Bad] = {
    **{f"weights: {how}": spoiled(_weights, "w.pth", how) for how in SPOILS},
    "weights: a list": _torch([torch.zeros(1)]),
    "weights: a number": _torch(7),
    "weights: nothing": _torch({}),
    "weights: wrong keys": _torch({"a": torch.zeros(1), 7: torch.zeros(2)}),
    "weights: no tensors": _torch({"a": "b", "c": None}),
    "weights: code": lambda root: (root / "w.pth").write_bytes(pickle.dumps(os.getcwd)),
    "weights: themselves": lambda root: _torch(_within_itself())(root),
    "weights: NaN": _torch({"image_encoder.pos_embed": torch.full((1, 16, 16, 96), torch.nan)}),
    "weights: complex": _torch({"image_encoder.pos_embed": torch.zeros(1, 16, dtype=torch.cfloat)}),
    "weights: sparse": _torch({"image_encoder.pos_embed": torch.zeros(2, 2).to_sparse()}),
    "weights: a zip of text": lambda root: _zip(root / "w.pth"),
}


def _with_images(bad: Bad) -> Bad:
    def both(root: Path) -> None:
        make_folder(root / "mine", 4)
        bad(root)

    return both


def _within_itself() -> dict[str, Any]:
    state: dict[str, Any] = {}
    state["state_dict"] = state
    return state


def _zip(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", "no pickle")


def _picture(write: Callable[[Path], object], name: str) -> Bad:
    def bad(root: Path) -> None:
        make_kept_model(root / "m.safetensors")
        write(root / name)

    return bad


def _bytes(kind: str, values: Any) -> bytes:
    stream = io.BytesIO()
    if kind == "TIFF":
        tifffile.imwrite(stream, values)
    else:
        Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def _write(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)


def _write_tiff(path: Path, kind: str) -> None:
    tifffile.imwrite(path, np.zeros((40, 48), kind))


PICTURES: dict[str, Bad] = {
    **{
        f"picture {name} {how}": spoiled(
            _picture(partial(_write, raw=raw), name),
            name,
            how,
        )
        for name, raw in (
            ("a.png", _bytes("PNG", np.zeros((40, 48), np.uint8))),
            ("a.tif", _bytes("TIFF", np.zeros((40, 48), np.uint16))),
        )
        for how in SPOILS
    },
    **{
        f"picture of {kind}": _picture(
            partial(_write_tiff, kind=kind),
            "a.tif",
        )
        for kind in ("complex64", "float64", "int32", "uint64", "bool")
    },
}


def commands() -> Iterator[tuple[str, list[str], Bad]]:
    """Name, words of the command and what is spoiled, of every case."""
    for name, bad in IMPORTS.items():
        yield f"import {name}", ["data", "import", "source", "target"], bad
    reading = (
        *(["status", "--out", "results"], ["compare", "results", "results"]),
        *(["merge", "results", "--out", "both"], ["verify", "--results", "results"]),
    )
    for number, (name, bad) in enumerate(RECORDS.items()):
        words = reading[number % len(reading)]
        yield f"{words[0]} {name}", words, bad
    for name, bad in MODELS.items():
        yield f"predict {name}", ["predict", "--model", "m.safetensors", "a.png"], bad
    for name, bad in PICTURES.items():
        file = "a.png" if "a.png" in name else "a.tif"
        yield f"predict {name}", ["predict", "--model", "m.safetensors", file], bad
    for name, bad in WEIGHTS.items():
        words = ["cells", "--methods", "lora", "--dataset", "mine", "--checkpoint", "w.pth"]
        yield name, words, _with_images(bad)
