"""Published ablations as declarative grids, beside their published figures.

The grids stand in `results/published/suites.toml`, the figures in `published_results.csv` there. By
default a suite runs offline, on a stand-in and the embedded backbone: that can tell whether the
order of methods holds there, never whether the published figures do.
"""

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.errors import UserError, no_such
from bench.grid import Data, expand, read_data
from bench.request import Request
from bench.spec import Cell

PUBLISHED = Path(__file__).resolve().parent.parent / "results" / "published"


@dataclass(frozen=True)
class Line:
    """One line of a published table.

    Attributes:
        method: as the publication calls it.
        setting: likewise.
        run: what we run for it, as on the command line; "" where we have no such method.
        lr: peak learning rate, in place of the method's own.
        batch_size: in place of the protocol's.
    """

    method: str
    setting: str = ""
    run: str = ""
    lr: float | None = None
    batch_size: int | None = None

    @property
    def name(self) -> str:
        """Method and setting in one phrase."""
        return f"{self.method}, {self.setting}" if self.setting else self.method


@dataclass(frozen=True, eq=False)
class Suite:
    """One published table.

    Attributes:
        source: of the table, as in the published figures.
        table: its name there.
        stand_in: dataset that it runs on by default.
        originals: published dataset to ours; "" where it cannot be had.
        backbone: the publication's; "" where its methods have none.
        figures: published metric, with its target, to ours.
        lines: of the table.
        differences: between the publication's protocol and ours, in words.
        labels: label budgets, as on the command line.
        folds: for cross-validation.
        depth: slices of a volume that are seen at once.
        epochs: passes over the bank under the equal protocol, in place of its steps.
    """

    name: str
    title: str
    source: str
    table: str
    stand_in: str
    originals: Mapping[str, str]
    backbone: str
    figures: Mapping[str, str]
    lines: tuple[Line, ...]
    differences: str = ""
    labels: str = "all"
    folds: int = 1
    depth: int = 1
    epochs: int | None = None

    def published(self, line: Line, dataset: str, metric: str) -> float | None:
        """The published figure, a percentage as a fraction; None where there is none."""
        key = (self.source, self.table, dataset, line.method, line.setting, metric)
        return _figures().get(key)


@dataclass(frozen=True)
class Asked:
    """What a user may choose; the rest is the suite's.

    Attributes:
        dataset: in place of the stand-in.
        seeds: a count, or numbers separated by commas.
        request: further fields of `Request`, by name.
    """

    dataset: str | None = None
    seeds: str = "3"
    request: Mapping[str, Any] = field(default_factory=dict)


def list_suites() -> list[Suite]:
    """Every suite, in the order of the file.

    Raises:
        UserError: the file is not here, as outside a checkout.
    """
    return list(_suites().values())


def get_suite(name: str) -> Suite:
    """The suite of that name.

    Raises:
        UserError: there is none.
    """
    if name not in _suites():
        raise no_such("suite", name, _suites())
    return _suites()[name]


def expand_suite(
    suite: Suite, asked: Asked, data: Mapping[str, Data] | None = None
) -> tuple[dict[Line, list[Cell]], list[str]]:
    """The cells of every line, none where nothing is run for it; and notes as `expand` gives them.

    Args:
        suite: to expand.
        asked: what a user chose.
        data: of `read_data`, where it is at hand.

    Raises:
        UserError: the first thing that cannot be done.
    """
    cells: dict[Line, list[Cell]] = {line: [] for line in suite.lines}
    notes: list[str] = []
    common = Request(
        methods="",
        datasets=asked.dataset or suite.stand_in,
        seeds=asked.seeds,
        labels=suite.labels,
        folds=suite.folds,
        depth=suite.depth,
        **asked.request,
    )
    if common.protocol == "equal" and common.steps is None:
        common = replace(common, epochs=suite.epochs)
    data = read_data(common) if data is None else data
    for line in suite.lines:
        if line.run:
            request = replace(common, methods=line.run, lr=line.lr)
            if line.batch_size is not None:
                request = replace(request, batch_size=line.batch_size)
            found, told = expand(request, data)
            notes += told
            if len({cell.labels for cell in found}) == 1:
                cells[line] = found
                continue
            del cells[line]
            for cell in found:  # a label budget is a line of its own
                budget = replace(line, setting=f"{cell.labels or 'all'} labels")
                cells.setdefault(budget, []).append(cell)
    return cells, list(dict.fromkeys(notes))


@cache
def _suites() -> dict[str, Suite]:
    file = PUBLISHED / "suites.toml"
    if not file.is_file():
        raise UserError(f"the suites are not here: '{file}' comes with a checkout of the project")
    suites = tomllib.loads(file.read_text())
    return {
        name: Suite(**{**values, "name": name, "lines": tuple(Line(**v) for v in values["lines"])})
        for name, values in suites.items()
    }


@cache
def _figures() -> dict[tuple[str, ...], float]:
    """Published figures by source, table, dataset, method, setting and metric with its target."""
    figures = {}
    with (PUBLISHED / "published_results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            metric = f"{row['metric']} {row['target']}".strip()
            names = ("source", "table", "dataset", "method", "setting")
            try:
                value = float(row["value"])
            except ValueError:
                continue  # a duration such as "1 min 30 s"; no suite compares it
            key = (*(row[name] for name in names), metric)
            # Ours are fractions as well, but for balanced error rates, which all give in per cent.
            figures[key] = value / 100 if row["unit"] == "%" and row["metric"] != "BER" else value
    return figures
