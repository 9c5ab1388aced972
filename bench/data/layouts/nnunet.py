"""nnU-Net and Medical Segmentation Decathlon: imagesTr, labelsTr and dataset.json."""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bench.data.folder.classes import IGNORED
from bench.data.layouts.draft import BACKGROUND, Draft, Options, Report, Sample, is_background
from bench.data.layouts.pictures import Stack, read_stack
from bench.data.layouts.planes import Place, samples_of
from bench.data.layouts.source import Source, stem
from bench.errors import UserError


def recognise(source: Source) -> str | None:
    """Why the folder looks like nnU-Net: imagesTr/, labelsTr/ and a dataset.json next to them."""
    root = _root(source)
    return None if root is None else f"'{posixpath.join(root, 'dataset.json')}' lies by labelsTr/"


def convert(source: Source, options: Options, report: Report) -> Draft:
    """Slices of the training cases; imagesTs have no labels, or those of labelsTs.

    The channels _0000, _0001, ... of a case become red, green and blue; a single one is grey. All
    slices of a case are one specimen.

    Raises:
        UserError: dataset.json is malformed.
    """
    root = _root(source) or ""
    document = source.json(posixpath.join(root, "dataset.json"))
    labels = document.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise UserError(f"'{posixpath.join(root, 'dataset.json')}' has no labels; add their names")
    table = _classes(labels, document.get("regions_class_order"), report)
    if isinstance(named := document.get("channel_names", document.get("modality")), dict):
        report.note(f"channels: {', '.join(f'{key} {name}' for key, name in named.items())}")
    meta = {"licence": str(document.get("licence", document.get("license", "")))}
    return Draft(
        table, _samples(source, root, options, report), {k: v for k, v in meta.items() if v}
    )


def _root(source: Source) -> str | None:
    for name in source.with_suffix("dataset.json"):
        root = posixpath.dirname(name)
        if posixpath.basename(name) != "dataset.json":
            continue
        inside = posixpath.join(root, "labelsTr/")
        if any(other.startswith(inside) for other in source.pictures):
            return root
    return None


def _classes(
    labels: dict[str, Any], order: Any, report: Report
) -> Mapping[str, int | str | list[int]]:
    """Names to values, of {"0": "liver"} as in version 1 or {"liver": 1} as in version 2.

    Labels of version 2 may be regions that overlap: see `_of_regions`.
    """
    if any(isinstance(value, list) for value in labels.values()):
        return _of_regions(labels, order, report)
    try:
        if all(str(key).isdigit() for key in labels):
            values = {str(name): int(key) for key, name in labels.items()}
        else:
            values = {str(name): int(value) for name, value in labels.items()}
    except (TypeError, ValueError) as error:
        raise UserError(
            'dataset.json must give each label a whole number, as in {"background": 0, "liver": 1}'
        ) from error
    if len(values) < len(labels):
        raise UserError("dataset.json has two labels of one name; give each its own name")
    ordered: dict[str, int | str] = dict(sorted(values.items(), key=lambda entry: entry[1]))
    first = next(iter(ordered))
    if ordered[first] == 0 and is_background(first):
        ordered = {BACKGROUND: 0, **{k: v for k, v in ordered.items() if k != first}}
    return ordered


def _of_regions(
    labels: dict[str, Any], order: Any, report: Report
) -> Mapping[str, int | str | list[int]]:
    """Classes of regions such as {"whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}.

    A pixel has one class here: values that lie in the same regions are one class. It has the name
    of the region that nnU-Net would paint last (by regions_class_order, else the smallest one), and
    of all its regions where that name is taken. "(rest)" says that the region has other values too.
    """
    regions = {str(name): _region(str(name), value) for name, value in labels.items()}
    painted = [name for name, some in regions.items() if some != {0} and name not in IGNORED]
    if order is None:
        painted.sort(key=lambda name: -len(regions[name]))
    elif not isinstance(order, list) or len(order) != len(painted):
        raise UserError(
            f"dataset.json has {len(painted)} regions but regions_class_order is {order}; give one"
            " number for each region"
        )
    values_of: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for value in sorted(set().union(*(regions[name] for name in painted)) - {0}):
        values_of[tuple(name for name in painted if value in regions[name])].append(value)
    last = Counter(names[-1] for names in values_of)
    table: dict[str, int | str | list[int]] = {BACKGROUND: 0}
    for names, values in values_of.items():
        name = names[-1] if last[names[-1]] == 1 else " and ".join(names)
        rest = " (rest)" if last[names[-1]] == 1 and len(regions[name]) > len(values) else ""
        table[name + rest] = values[0] if len(values) == 1 else values
    for name in IGNORED:
        if name in regions:
            table["ignore"] = min(regions[name])
    shown = ", ".join(f"{name} {value}" for name, value in table.items())
    report.note(
        "regions of dataset.json overlap, and a pixel has one class here: the classes are the parts"
        f" that the regions have apart ({shown}); scores are of these parts, not of whole regions"
    )
    return table


def _region(name: str, value: Any) -> set[int]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, int) and one >= 0 for one in values):
        raise UserError(
            f"dataset.json gives '{name}' the value {value}; give a whole number or a list of them,"
            ' as in {"background": 0, "whole tumour": [1, 2], "core": [2]}'
        )
    return set(values)


def _samples(source: Source, root: str, options: Options, report: Report) -> Iterator[Sample]:
    for kind, part in (("Tr", "train"), ("Ts", "test")):
        inside = posixpath.join(root, f"images{kind}/")
        masks = {
            stem(name): name
            for name in source.pictures
            if name.startswith(posixpath.join(root, f"labels{kind}/"))
        }
        cases: dict[str, list[str]] = defaultdict(list)
        for name in source.pictures:
            if name.startswith(inside):
                case = stem(name) if stem(name) in masks else re.sub(r"_\d{4}$", "", stem(name))
                cases[case].append(name)
        for case in masks.keys() - cases.keys():
            report.fault(masks[case], f"has no image in images{kind}", "add the image")
        has_test = any(n.startswith(posixpath.join(root, "labelsTs/")) for n in source.pictures)
        for case, files in cases.items():
            if case not in masks:
                report.leave_out(files[0], f"no labels in labels{kind}")
                continue
            try:
                image = _join([read_stack(source, name, report) for name in files], case)
                mask = read_stack(source, masks[case], report)
            except UserError as error:
                report.fault(files[0], f"or its labels cannot be read: {error}", "replace the file")
                continue
            place = Place(case, files[0], masks[case], "", part if has_test else "")
            yield from samples_of(place, image, mask, options, report)


def _join(stacks: list[Stack], case: str) -> Stack:
    """The channels of a case as one image."""
    first = stacks[0]
    if len(stacks) == 1:
        return first
    if any(stack.planes.shape != first.planes.shape for stack in stacks):
        raise UserError(f"the channels of case '{case}' differ in size; make them equal")
    planes = np.stack([stack.planes for stack in stacks], -1)
    return Stack(planes, None, first.orientation)
