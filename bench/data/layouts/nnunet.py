"""nnU-Net and Medical Segmentation Decathlon: imagesTr, labelsTr and dataset.json."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

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
        UserError: dataset.json is malformed, or labels are regions that overlap.
    """
    root = _root(source) or ""
    document = source.json(posixpath.join(root, "dataset.json"))
    labels = document.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise UserError(f"'{posixpath.join(root, 'dataset.json')}' has no labels; add their names")
    table = _classes(labels)
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


def _classes(labels: dict[str, Any]) -> dict[str, int | str]:
    """Names to values, of {"0": "liver"} as in version 1 or {"liver": 1} as in version 2."""
    if regions := [name for name, value in labels.items() if isinstance(value, list)]:
        raise UserError(
            f"dataset.json defines '{regions[0]}' as a region of several labels, and a pixel can "
            'have one class only; name each label once, as in {"background": 0, "tumour": 1}'
        )
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
