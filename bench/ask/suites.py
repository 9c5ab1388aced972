"""Published tables as declarative grids, with their published values.

The grids are in `results/published/suites.toml`, the values in `published_results.csv` there. By
default a suite runs offline, on a stand-in dataset and the embedded backbone. This can show whether
the methods have the same order there, but not whether the published values can be reproduced.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from bench.ask.grid import LoadedDataset, expand, load_datasets
from bench.ask.plain_values import from_plain
from bench.ask.published import PublishedValue, changed, find_published, read_published
from bench.ask.request import Request
from bench.errors import UserError, check_number, no_such
from bench.plugins.registry import get_method
from bench.spec import Cell
from bench.wording import counted

FIXED = ("methods", "datasets", "seeds", "labels", "folds", "depth")  # not in SuiteChoice.request
_NUMBERS = ("folds", "depth", "epochs", "batch_size", "lr", "image_size", "classes")


@dataclass(frozen=True)
class SuiteLine:
    """One line of a published table.

    Attributes:
        method: name in the publication.
        setting: name of the setting in the publication.
        run: the method to run, as on the command line; "" if this project does not have it.
        reason: why this project does not have it; "" if it has.
        lr: peak learning rate, instead of the method's own.
        batch_size: instead of the protocol's.
        epochs: passes over the bank, or over the training images under the published protocol. If a
            user sets `steps`, the line with most epochs has this number of steps, and the others
            proportionally fewer.
        objects: rule for objects, instead of the user's.
        specimens: name of each dataset of ours to the one specimen that the line is about; empty
            for all specimens.
    """

    method: str
    setting: str = ""
    run: str = ""
    reason: str = ""
    lr: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    objects: str = ""
    specimens: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Method, setting and rule for objects in one phrase."""
        rule = f"objects by {self.objects}" if self.objects else ""
        return ", ".join(part for part in (self.method, self.setting, rule) if part)


@dataclass(frozen=True)
class CountedModel:
    """What the models of a suite of counts are built for.

    Attributes:
        image_size: side in pixels of the images.
        classes: number of foreground classes.
        batch_size: images in the batch whose operations are counted.
    """

    image_size: int
    classes: int
    batch_size: int = 1


@dataclass(frozen=True, eq=False)
class Suite:
    """One published table.

    Attributes:
        name: as on the command line.
        title: one phrase that says what the table compares.
        source: publication of the table, as in `published_results.csv`.
        table: name of the table in the publication.
        originals: name of each published dataset to our name; "" if it is not available here.
        backbone: backbone in the publication; "" if its methods have none.
        figures: name of each published metric, with its target, to our name of the metric.
        lines: the lines of the table.
        stand_in: dataset that the suite uses by default; "" for a suite of counts.
        differences: sentences on the differences between the publication's protocol and ours.
        labels: label budgets, as on the command line.
        folds: number of folds for cross-validation.
        depth: number of consecutive slices in a stack; 1 for single images.
        epochs: passes over the bank under the equal protocol, instead of a number of steps.
        loss: the publication's loss, if the published recipe of the method has another loss; used
            under the published protocol only.
        units: published metric to its unit, if it differs from our unit.
        apart: why values are not comparable even with the publication's images and recipe, by
            published metric (with its target, or for all targets) or method; "" for all.
        counted: for a suite of counts, what its models are built for: its figures follow from the
            model's shape, so that nothing is trained. None for a suite of runs.
    """

    name: str
    title: str
    source: str
    table: str
    originals: Mapping[str, str]
    backbone: str
    figures: Mapping[str, str]
    lines: tuple[SuiteLine, ...]
    stand_in: str = ""
    differences: str = ""
    labels: str = "all"
    folds: int = 1
    depth: int = 1
    epochs: int | None = None
    loss: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    apart: Mapping[str, str] = field(default_factory=dict)
    counted: CountedModel | None = None

    def published(self, line: SuiteLine, dataset: str, metric: str) -> float | None:
        """Return `PublishedValue.value`, in the unit of records; None if no number is published.

        Args:
            line: gives method and setting.
            dataset: published name, a key of `originals`.
            metric: published name with its target, a key of `figures`.
        """
        entry = self.published_value(line, dataset, metric)
        return None if entry is None else entry.value

    def published_value(self, line: SuiteLine, dataset: str, metric: str) -> PublishedValue | None:
        """Return the published value as printed; None if none is published.

        Args:
            line: gives method and setting.
            dataset: published name, a key of `originals`.
            metric: published name with its target, a key of `figures`.
        """
        place = (self.source, self.table, dataset, line.method, line.setting, metric)
        return find_published(*place)


@dataclass(frozen=True)
class SuiteChoice:
    """The settings of a suite that a user may choose; all others are fixed by the suite.

    Attributes:
        dataset: a dataset instead of the stand-in.
        seeds: the number of seeds, or seeds separated by commas.
        request: further fields of `Request`, by name; not methods, datasets, seeds, labels, folds
            or depth.
    """

    dataset: str | None = None
    seeds: str = "3"
    request: Mapping[str, Any] = field(default_factory=dict)

    def chosen(self, key: str) -> str:
        """Return a value of `request` as text; "" if it is not given, None or the default.

        Args:
            key: a field of `Request`.
        """
        value = self.request.get(key)
        return "" if value in (None, getattr(Request, key, None)) else str(value)


def list_suites() -> list[Suite]:
    """Return every suite, in the order of the file.

    Raises:
        UserError: the file of the suites does not exist, or cannot be used.
    """
    return list(_suites().values())


def get_suite(name: str) -> Suite:
    """Return the suite with this name.

    Raises:
        UserError: no suite has this name, or as `list_suites`.
    """
    if name not in _suites():
        raise no_such("suite", name, _suites())
    return _suites()[name]


def request_of(suite: Suite, choice: SuiteChoice) -> Request:
    """Return the request with the settings that all lines of a suite have in common.

    Its `methods` is empty; each line sets its own. The user's steps and loss replace the suite's
    epochs and loss.

    Args:
        suite: a suite of runs, not of counts.
        choice: the user's settings.

    Raises:
        UserError: a value is out of range, or there is no dataset or more than one, or more than
            one backbone.
    """
    request = Request(
        methods="",
        datasets=choice.dataset or suite.stand_in,
        seeds=choice.seeds,
        labels=suite.labels,
        folds=suite.folds,
        depth=suite.depth,
        **choice.request,
    )
    for option, words in (
        ("--dataset", request.dataset_names),
        ("--backbone", request.backbone_names),
    ):
        if len(words) > 1:
            raise UserError(
                f"{option} is {', '.join(words)}: a suite takes only one; run it once for each"
            )
    if request.protocol == "equal" and request.steps is None:
        request = replace(request, epochs=suite.epochs)
    if request.protocol == "published" and request.loss is None:
        request = replace(request, loss=suite.loss)
    request.check()
    return request


def expand_suite(
    suite: Suite, choice: SuiteChoice, datasets: Mapping[str, LoadedDataset] | None = None
) -> tuple[dict[SuiteLine, list[Cell]], list[str]]:
    """List the cells of each line of a suite, with the notes of `expand`.

    A line whose method this project does not have gets an empty list, and so does a line of a suite
    of counts. A method without a published recipe uses the equal recipe, and a note says so.

    Args:
        suite: the suite to expand.
        choice: the user's settings.
        datasets: result of `load_datasets` for `request_of(suite, choice)`, if it was computed
            before.

    Returns:
        The cells of each line, and the notes. A line with several label budgets is replaced by one
        line for each budget, which is its `setting`.

    Raises:
        UserError: a part of the request is invalid; the message says which.
    """
    cells: dict[SuiteLine, list[Cell]] = {line: [] for line in suite.lines}
    notes: list[str] = []
    if suite.counted is not None:
        return cells, notes
    common = request_of(suite, choice)
    datasets = load_datasets(common) if datasets is None else datasets
    for line in suite.lines:
        if line.run:
            request = replace(common, methods=line.run, lr=line.lr)
            if line.objects:
                request = replace(request, objects=line.objects)
            if line.batch_size is not None:
                request = replace(request, batch_size=line.batch_size)
            if line.epochs is not None:
                request = replace(request, **_length(suite, line.epochs, request.steps))
            method = get_method(line.run.partition("[")[0])
            if method.published is None and request.protocol == "published":
                request = replace(request, protocol="equal")
                notes.append(f"{method.name}: without a published recipe, run by the equal one")
            line_cells, line_notes = expand(request, datasets)
            notes += line_notes
            if len({cell.labels for cell in line_cells}) == 1:
                cells[line] = line_cells
                continue
            del cells[line]
            for cell in line_cells:  # each label budget becomes a line of its own
                labels = counted(cell.labels, "label") if cell.labels else "all labels"
                budget = replace(line, setting=labels)
                cells.setdefault(budget, []).append(cell)
    return cells, list(dict.fromkeys(notes))


def _length(suite: Suite, epochs: int, steps: int | None) -> dict[str, Any]:
    """The training length of a line that has its own number of epochs."""
    if steps is None:
        return {"epochs": epochs}
    longest = max(line.epochs for line in suite.lines if line.epochs is not None)
    return {"steps": math.ceil(steps * epochs / longest)}


@cache
def _suites() -> dict[str, Suite]:
    suites = read_published("suites.toml")
    return {name: make_suite(name, values) for name, values in suites.items()}


def make_suite(name: str, values: Any) -> Suite:
    """The suite of a table of the file.

    Args:
        name: of the suite.
        values: fields of `Suite` but the name, as TOML gives them.

    Raises:
        UserError: a value is missing, unknown, of another type or out of bounds.
    """
    table = {**values, "name": name} if isinstance(values, dict) else values
    try:
        suite: Suite = from_plain(Suite, table, name)
        for part in (suite, suite.counted, *suite.lines):
            for key in _NUMBERS:
                if (number := getattr(part, key, None)) is not None:
                    check_number(key.replace("_", "-"), number, f"{key} of {name}")
    except (TypeError, UserError) as error:
        raise changed("suites.toml", str(error)) from error
    return suite
