"""Write a converted folder in one step: it is there as a whole, or not at all."""

import csv
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from bench.data.items import Pixels
from bench.data.layouts.draft import BACKGROUND, Draft, Options, Report, Sample
from bench.data.layouts.groups import group_of
from bench.data.masks import COLOUR, NOT_FINITE, mask_codes, show_value
from bench.data.parallel import tell
from bench.data.raster import SUFFIXES, load
from bench.errors import UserError
from bench.files import parse_json

MARK = "imported"  # the key of meta.json that says that an import made the folder
MOST_VALUES = 64  # of masks; with more, they number objects or have blurred edges


def check_target(target: Path, source: Path, overwrite: bool) -> None:
    """Refuse a target that is there already, or that lies in the source or around it.

    Args:
        target: folder to write.
        source: folder to read.
        overwrite: whether a folder that an import made may be replaced.

    Raises:
        UserError: see above; other folders than imported ones are never replaced.
    """
    here, there = target.resolve(), source.resolve()
    if here == there or here.is_relative_to(there) or there.is_relative_to(here):
        raise UserError(f"'{target}' is not apart from '{source}'; name a folder beside it")
    if here == Path.cwd():
        raise UserError(f"'{target}' is the current folder; name a folder that is not there yet")
    if target.is_dir() and not any(target.iterdir()):
        return
    if not target.exists() and not target.is_symlink():
        return
    if not _is_imported(target):
        raise UserError(f"'{target}' exists and is not from an import; name another folder")
    if not overwrite:
        raise UserError(f"'{target}' exists; name another folder, or replace it with --overwrite")


def write_folder(draft: Draft, target: Path, options: Options, report: Report, layout: str) -> int:
    """Write images, masks and the files beside them, then move the folder to its place.

    A folder ".<target>.importing" holds the files until then. Where a killed import has left one,
    it is removed and everything is written anew.

    Args:
        draft: the samples.
        target: checked by `check_target`; replaced where it exists.
        options: groups, and what to do about faults.
        report: gets faults and counts.
        layout: name of the source and of its layout, for `meta.json`.

    Returns:
        The number of images.

    Raises:
        UserError: a sample is faulty (unless left out), nothing was converted, another import
            writes the same folder, or the disk is full.
    """
    work = target.with_name(f".{target.name}.importing")
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = os.open(work, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another import writes '{target}' now; wait until it ends") from None
        try:
            _empty(work)
            written = _write_all(draft, work, options, report)
            _write_sidecars(draft, written, work, report, layout)
            _move(work, target)
        finally:
            os.close(lock)
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot write '{target}' ({error.strerror or error}): free some space or choose "
            "another folder, then run the command again"
        ) from error
    return len(written)


def _write_all(draft: Draft, work: Path, options: Options, report: Report) -> list[Sample]:
    """Write the files of all samples; returns them with their groups, without arrays."""
    written: list[Sample] = []
    taken: dict[str, str] = {}
    values: set[int] = set()
    for sample in draft.samples:
        if sample.name.casefold() in taken:
            other = taken[sample.name.casefold()]
            report.fault(sample.origin, f"and '{other}' have one name", "rename one")
            continue
        group = group_of(sample, options)
        stored = _write_sample(sample, work, report)
        if stored is None:
            continue
        taken[sample.name.casefold()] = sample.origin
        values |= stored
        if draft.classes is None and len(values) > MOST_VALUES:
            raise UserError(
                f"the masks hold more than {MOST_VALUES} different values, such as "
                f"{', '.join(map(show_value, sorted(values)[:4]))}: if they number objects, add "
                "--instances; otherwise save them without smoothing"
            )
        tell("converting images", len(written) + 1)
        written.append(Sample(sample.name, sample.origin, work, work, None, group, sample.part))
    if not written:
        reasons = f": {report.left_out[0][1]}" if report.left_out else ""
        raise UserError(f"no image could be converted{reasons}; see docs/import.md for the layouts")
    if draft.classes is None:
        report.note(_naming(sorted(values)))
    return written


def _naming(values: list[int]) -> str:
    """That the source names no classes, with the classes.json to write."""
    labels = [value for value in values if value != NOT_FINITE]
    ignored = labels[0] if len(labels) > 2 and labels[0] < 0 else None
    classes = [value for value in labels if value != ignored]
    names = [BACKGROUND, *(f"class {index}" for index in range(1, len(classes)))]
    names = names[: len(classes)] if len(classes) != 2 else [BACKGROUND, "object"]
    named: dict[str, int | str] = {
        name: show_value(value) if value >= COLOUR else value
        for name, value in zip(names, classes, strict=True)
    }
    if ignored is not None:
        named["ignore"] = ignored
    shown = ", ".join(map(show_value, labels))
    return (
        f"the source names no classes; its masks hold {shown}: to name them, write classes.json in "
        f"the target, as in {json.dumps(named)}"
    )


def _write_sample(sample: Sample, work: Path, report: Report) -> set[int] | None:
    """Write image, mask and instances; the values of the mask, or None for a faulty sample."""
    try:
        image = load(sample.image).values
        codes = mask_codes(load(sample.mask), sample.mask)
    except UserError as error:
        report.fault(sample.origin, f"cannot be read: {error}", "replace the file")
        return None
    if image.shape[:2] != codes.shape:
        report.fault(
            sample.origin,
            f"is {image.shape[1]} x {image.shape[0]} pixels (width x height) but its mask is "
            f"{codes.shape[1]} x {codes.shape[0]}",
            "make them the same size",
        )
        return None
    _write_pixels(sample.image, work / "images" / sample.name, is_image=True)
    whole = isinstance(sample.mask, np.ndarray) and sample.mask.ndim == 2
    lost = codes.size and codes.min() == NOT_FINITE  # no integer stands for NaN in a file
    _write_pixels(codes if whole and not lost else sample.mask, work / "masks" / sample.name)
    if sample.instances is not None:
        _write_pixels(sample.instances, work / "instances" / sample.name)
    return set(np.unique(codes).tolist())


def _write_pixels(pixels: Pixels, path: Path, *, is_image: bool = False) -> None:
    """Copy a file, or save an array without loss: PNG, or TIFF where PNG cannot hold it."""
    path.parent.mkdir(exist_ok=True)
    if isinstance(pixels, Path):
        assert pixels.suffix.lower() in SUFFIXES
        shutil.copyfile(pixels, path.with_name(path.name + pixels.suffix.lower()))
        return
    # A dark image of 16 bits keeps them: the reader stretches it as it does its neighbours.
    values = _narrow(pixels, np.uint16 if is_image and pixels.dtype.itemsize == 2 else np.uint8)
    if values.dtype in (np.uint8, np.uint16) and (values.ndim == 2 or values.dtype == np.uint8):
        Image.fromarray(np.ascontiguousarray(values)).save(path.with_name(f"{path.name}.png"))
        return
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(
        path.with_name(f"{path.name}.tif"), values, photometric=photometric, compression="zlib"
    )


def _narrow(values: npt.NDArray[Any], least: type[np.unsignedinteger[Any]]) -> npt.NDArray[Any]:
    """The same values in the smallest type from `least` that holds them and the reader reads."""
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for kind in (least, np.uint16, np.int16, np.int32, np.uint32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    raise UserError(f"a mask holds the value {high}; save values below 2^32")


def _write_sidecars(
    draft: Draft, written: list[Sample], work: Path, report: Report, layout: str
) -> None:
    """Write classes.json, split.json, groups.csv and meta.json."""
    if draft.classes is not None:
        _write_json(work / "classes.json", draft.classes)
    if split := _split(written, report):
        _write_json(work / "split.json", split)
    if any(sample.group for sample in written):
        with (work / "groups.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "group"])
            writer.writerows([sample.name, sample.group] for sample in written if sample.group)
    report.counts["group"] = len({sample.group for sample in written if sample.group})
    mark = {"from": layout, "notes": report.notes, "left_out": report.left_out}
    _write_json(work / "meta.json", {**draft.meta, MARK: mark})


def _split(written: list[Sample], report: Report) -> dict[str, list[str]]:
    """The parts of the source; empty where it has none that can train and test."""
    parts = {part: [s.name for s in written if s.part == part] for part in ("train", "val", "test")}
    if not parts["test"] and parts["train"] and parts["val"]:
        report.note(
            "the source has no test part: its val images are the test part here, and validation "
            "images are taken from train"
        )
        parts = {"train": parts["train"], "val": [], "test": parts["val"]}
    if not (parts["train"] and parts["test"]):
        named = [part for part, names in parts.items() if names]
        if named and len(parts[named[0]]) < len(written):
            report.note(f"only the part {named[0]} has masks: no split.json was written")
        return {}
    for part, names in parts.items():
        report.counts[f"{part} image"] = len(names)
    if loose := sum(not sample.part for sample in written):
        report.note(f"{loose} images are in no part and will not be used")
    return parts


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _move(work: Path, target: Path) -> None:
    """Put the finished folder in place; an old one is moved away first, then removed."""
    old = target.with_name(f".{target.name}.replaced")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    work.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _is_imported(target: Path) -> bool:
    try:
        return MARK in parse_json((target / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
