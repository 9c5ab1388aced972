"""Values that publications print in their tables, from `results/published/published_results.csv`.

The value of a run is compared with `PublishedValue.value`, which has the unit of records.
"""

import csv
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from bench.ask.plain_values import from_plain
from bench.errors import UserError
from bench.files import quote, shipped_results

Content = TypeVar("Content")

PUBLISHED = shipped_results() / "published"
_DURATION = re.compile(r"(\d+) (h|min)")
_SECONDS = {"h": 3600.0, "min": 60.0}
_SCALES = {"%": 0.01, "G": 1e9, "M": 1e6, "MB": 1e6, "MiB": 2.0**20, "GB": 1e9}


@dataclass(frozen=True)
class PublishedValue:
    """One value of a published table.

    Attributes:
        source: short name of the publication.
        table: name of the table in it.
        dataset: name of the dataset there; "" for a property of the model.
        method: name of the method there.
        setting: name of the setting there; "" without one.
        metric: name of the metric there, followed by its target, such as the organ, if it has one.
        text: the value as printed.
        unit: as printed.
    """

    source: str
    table: str
    dataset: str
    method: str
    setting: str
    metric: str
    text: str
    unit: str

    @property
    def value(self) -> float | None:
        """The value in the unit of records; None if it is not one number or duration.

        A percentage becomes a fraction (except BER, which records hold in per cent), and a duration
        such as "21 min" seconds.
        """
        if duration := _DURATION.fullmatch(self.text):
            return float(duration[1]) * _SECONDS[duration[2]]
        try:
            return float(self.text) * self._scale
        except ValueError:
            return None

    def equals(self, value: float) -> bool:
        """Whether a value in the unit of records equals this one in all printed digits.

        Where `value` is None, it is compared with 0.
        """
        return self.format(value) == self.format(self.value or 0.0)

    def format(self, value: float) -> str:
        """A value in the unit of records, with the unit and number of decimals of this one.

        Thousands are separated by commas. Durations are in seconds.
        """
        digits = len(self.text.partition(".")[2])
        unit = self.unit.partition(" (")[0]
        return f"{value / self._scale:,.{digits}f} {unit}".rstrip()

    @property
    def _scale(self) -> float:
        if self.metric == "BER":
            return 1.0  # the one share that records hold in per cent
        return _SCALES.get(self.unit.partition(" (")[0], 1.0)


def read_published(name: str) -> dict[str, Any]:
    """Read a TOML file of `results/published/`, such as "suites.toml".

    Raises:
        UserError: the file does not exist, or is not TOML.
    """
    file = PUBLISHED / name
    if not file.is_file():
        raise UserError(
            f"the file of the suites, '{file}', does not exist: it is part of the project, so"
            " install the package again or restore the file"
        )
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested too deeply
        raise changed(name, str(error)) from error


def read_grid(name: str, cls: type[Content]) -> Content:
    """Read a TOML file of `results/published/` whose tables are those of a dataclass.

    Args:
        name: of the file.
        cls: the dataclass, as in `bench.ask.plain_values.from_plain`.

    Raises:
        UserError: as `read_published`, or a value is missing, unknown or of another type.
    """
    try:
        content: Content = from_plain(cls, read_published(name), "it")
    except TypeError as error:
        raise changed(name, str(error)) from error
    return content


def changed(name: str, fault: str) -> UserError:
    """The error that a file of `results/published/` cannot be used; it is returned, not raised.

    Args:
        name: of the file.
        fault: what is wrong with it, as a phrase.
    """
    return UserError(
        f"cannot use {quote(PUBLISHED / name)} ({fault}): it is part of the project, so install"
        " the package again or restore the file"
    )


def list_published() -> list[PublishedValue]:
    """Every published value, in the order of the file, which a process reads once.

    Of lines with the same place in a table the last one counts.

    Raises:
        UserError: the file is not a table of published values.
        OSError: the file does not exist.
    """
    return list(_by_place().values())


def find_published(
    source: str, table: str, dataset: str, method: str, setting: str, metric: str
) -> PublishedValue | None:
    """The value in that place of a table; None if the table has none there.

    The arguments are the attributes of `PublishedValue` with the same names, as published.

    Raises:
        UserError: the file of the published values is not a table of them.
        OSError: the file does not exist.
    """
    return _by_place().get((source, table, dataset, method, setting, metric))


@cache
def _by_place() -> dict[tuple[str, ...], PublishedValue]:
    """The values by the arguments of `find_published`."""
    values: dict[tuple[str, ...], PublishedValue] = {}
    file = PUBLISHED / "published_results.csv"
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                value = _read_value(row)
                place = (value.source, value.table, value.dataset, value.method, value.setting)
                values[*place, value.metric] = value
    except (csv.Error, UnicodeDecodeError, TypeError) as error:
        raise changed(file.name, str(error)) from error
    return values


def _read_value(row: Mapping[str | None, Any]) -> PublishedValue:
    """The value in a row of the file.

    Raises:
        TypeError: the row lacks a column.
    """
    columns = ("source", "table", "dataset", "method", "setting", "metric", "target", "value")
    for name in (*columns, "unit"):
        if row.get(name) is None:
            raise TypeError(f"a row has no '{name}'")
    return PublishedValue(
        source=row["source"],
        table=row["table"],
        dataset=row["dataset"],
        method=row["method"],
        setting=row["setting"],
        metric=f"{row['metric']} {row['target']}".strip(),
        text=row["value"],
        unit=row["unit"],
    )
