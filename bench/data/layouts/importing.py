"""Import a foreign folder, or say what it looks like."""

import posixpath
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from bench.data.folder.files import IMAGES, MASKS
from bench.data.folder.read import read_folder
from bench.data.layouts.draft import Options, Report
from bench.data.layouts.groups import check_groups
from bench.data.layouts.pairs import is_own_layout
from bench.data.layouts.pictures import is_stack
from bench.data.layouts.registry import LAYOUTS, recognise
from bench.data.layouts.source import LABELS, Source
from bench.data.layouts.write import check_target, write_folder
from bench.data.masks import show_value
from bench.data.raster import SUFFIXES
from bench.errors import UserError, no_such
from bench.wording import counted

_PICTURES_ALONE = ("pairs", "object-masks", "class-folders")  # layouts that read no other files


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        layout: name of the layout.
        reason: why the folder has it.
        images: number of images in the target.
        sentences: counts, assumptions and what was left out.
        classes: name of each class as the target is read, and its mask value where this is not its
            index; empty where the target cannot be read yet.
        fault: why the target cannot be read yet, for example because mask values have no sure
            meaning; "" where it can.
    """

    layout: str
    reason: str
    images: int
    sentences: tuple[str, ...]
    classes: tuple[str, ...]
    fault: str


def import_folder(
    source: Path,
    target: Path,
    *,
    layout: str = "",
    options: Options | None = None,
    overwrite: bool = False,
) -> Imported:
    """Convert a foreign folder into one that `--dataset` reads.

    Args:
        source: folder to read; nothing in it is changed.
        target: folder to write; it appears when it is complete.
        layout: name of the layout; "" to recognise it.
        options: what the user says about the folder.
        overwrite: whether the target may be replaced, if an import made it.

    Raises:
        UserError: the target exists, no or several layouts fit, or the folder is faulty.
    """
    options = options or Options()
    target = target.absolute()  # "." has no name
    check_groups(options.groups)
    folder = Source(source)
    check_target(target, source, overwrite)
    by_name = "pairs" if options.images or options.masks else ""
    name, reason = choose_layout(folder, layout or by_name)
    if options.runs and name != "rle-csv":
        raise UserError(
            f"--runs is for run lengths in a CSV, but '{source}' has the layout {name}; leave the"
            " option out"
        )
    report = Report(options.skip)
    if folder.hidden:
        report.note(f"left out {counted(folder.hidden, 'hidden name')} (such as .DS_Store)")
    if others := _other_kinds(folder, name):
        report.note(f"files of other kinds are not read: {others}")
    try:
        draft = LAYOUTS[name].convert(folder, options, report)
        images = write_folder(draft, target, options, report, f"{source.resolve().name} ({name})")
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(
            f"'{source}' has labels that are not sound {LAYOUTS[name].title} ({error!r}); export "
            "it again"
        ) from error
    for damaged in folder.damaged:
        report.leave_out(damaged, "not valid JSON")
    report.counts["image found by its stem only"] = folder.by_stem_only
    classes, fault = _read(target)
    return Imported(name, reason, images, tuple(report.sentences()), classes, fault)


def choose_layout(source: Source, layout: str) -> tuple[str, str]:
    """The layout of a folder and the reason for it.

    Args:
        source: the folder.
        layout: name that the user gave; "" to recognise it.

    Raises:
        UserError: there is no such layout, none or several fit, or the folder needs no import.
    """
    if layout and layout not in LAYOUTS:
        raise no_such("layout", layout, LAYOUTS)
    if layout:
        reason = LAYOUTS[layout].recognise(source)
        return layout, reason or "as the options say"
    if is_own_layout(source):
        raise UserError(
            f"'{source.root}' needs no import: use it as --dataset (to import it still, add "
            "--layout pairs)"
        )
    reasons = recognise(source)
    if not reasons and (tool := name_tool(source)):
        raise UserError(f"'{source.root}' has no layout that is known here; {tool}")
    if not reasons:
        raise UserError(
            f"'{source.root}' has no layout that is known here ({', '.join(LAYOUTS)}); it holds "
            f"{_contents(source)}; see docs/import.md for the layouts, or name the files with "
            '--images GLOB and --masks GLOB, as in --images "*_flair.nii.gz" --masks "*_seg.nii.gz"'
        )
    if len(reasons) > 1:
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise UserError(
            f"'{source.root}' has {len(reasons)} layouts ({listed}); choose one with --layout NAME"
        )
    return next(iter(reasons.items()))


def hint(folder: Path, program: str) -> str:
    """What a folder looks like that `--dataset` cannot read, and how to import it.

    Args:
        folder: the folder.
        program: how the user calls this program.

    Returns:
        A clause for an error message; "" where no layout is recognised.
    """
    try:
        source = Source(folder)
        if is_own_layout(source):
            return ""
        reasons = recognise(source)
    except UserError:
        return ""
    if not reasons:
        return name_tool(source)
    if list(reasons) == ["pairs"] and _is_nearly_own(source):
        return ""
    titles = " or ".join(LAYOUTS[name].title for name in reasons)
    choice = "" if len(reasons) == 1 else f" --layout {next(iter(reasons))}"
    target = folder.resolve().with_name(f"{folder.resolve().name}_imported")
    if not folder.is_absolute() and folder.name:
        target = folder.with_name(target.name)
    words = f"{shlex.quote(str(folder))} {shlex.quote(str(target))}{choice}"
    return f"it looks like {titles}: {program} data import {words}"


def _is_nearly_own(source: Source) -> bool:
    """Whether images and masks lie in folders that `--dataset` reads, in formats that it reads."""
    folders = {posixpath.dirname(name).lower() for name in source.pictures}
    formats = {posixpath.splitext(name)[1].lower() for name in source.pictures}
    stacks = any(is_stack(source.files[name]) for name in source.pictures)
    known = folders & {*IMAGES} and folders & {*MASKS} and formats <= SUFFIXES
    return bool(known) and not stacks


def _contents(source: Source) -> str:
    """Numbers of files by suffix, such as "12 .png, 3 .xml"."""
    return _by_suffix(list(source.files)) or "no files"


def _other_kinds(source: Source, layout: str) -> str:
    """Numbers of files that no layout reads, or this one of pictures alone, by suffix."""
    text = (".json", ".geojson", ".xml", ".txt", ".csv", ".yaml", ".yml", ".npz")
    unread = text if layout in _PICTURES_ALONE else ()
    known = {*source.pictures, *source.with_suffix(*LABELS)} - {*source.with_suffix(*unread)}
    return _by_suffix([name for name in source.files if "." in name and name not in known])


def _by_suffix(names: list[str]) -> str:
    counts = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in names)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))


def _value(index: int, value: int) -> str:
    return "" if value == index else f" (mask value {show_value(value)})"


def _read(target: Path) -> tuple[tuple[str, ...], str]:
    """Classes of the target as the benchmark reads it, or why it cannot."""
    try:
        collection = read_folder(target)
    except UserError as error:
        return (), str(error)
    values = {index: value for value, index in (collection.mask_values or {}).items()}
    return tuple(
        f"{index} {name}" + _value(index, values.get(index, index))
        for index, name in enumerate(collection.classes)
    ), ""


def name_tool(source: Source) -> str:
    """Which tool wrote the labels of a folder without a known layout, and what to do.

    Returns:
        A clause such as "'a.json' is of Labelbox: convert it to COCO"; "" for no known tool.
    """
    for name in source.sample_json():
        content = source.json_like(name)
        for title, remedy, fits in _TOOLS:
            if fits(content):
                return f"'{name}' is of {title}: {remedy}"
    for name in source.with_suffix(".xml")[:20]:
        try:
            root = ElementTree.fromstring(source.text(name))
        except ElementTree.ParseError:
            continue
        if root.tag == "Annotations" and root.find("Annotation/Regions/Region") is not None:
            return f"'{name}' is of Aperio ImageScope: convert its regions to GeoJSON or to masks"
    return ""


def _is_via(content: Any) -> bool:
    entries = content.get("_via_img_metadata", content) if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        return False
    first = next(iter(entries.values()))
    return isinstance(first, dict) and {"filename", "regions"} <= first.keys()


def _is_supervisely(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("objects"), list)
        and isinstance(content.get("size"), dict)
    )


def _is_sa_1b(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("image"), dict)
        and isinstance(content.get("annotations"), list)
    )


def _is_labelbox(content: Any) -> bool:
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and bool({"Labeled Data", "data_row"} & first.keys())


_TOOLS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("VGG Image Annotator", "export the annotations as COCO", _is_via),
    ("Supervisely", "export the project as COCO or as masks", _is_supervisely),
    (
        "SA-1B (one JSON file for each image)",
        "join the files to one of COCO, with images, annotations and categories",
        _is_sa_1b,
    ),
    ("Labelbox", "convert the export to COCO or to masks", _is_labelbox),
)
