"""Count the values of published tables that have a line of ours; the others have a reason."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.ask.published import PublishedValue, list_published
from bench.ask.suites import Suite, SuiteLine, list_suites


@dataclass(frozen=True)
class TableCoverage:
    """How many values of a published table are compared with a run of ours.

    Attributes:
        source: short name of the publication.
        table: name of the table in it.
        suites: names of the suites of this table.
        values: number of values in the table.
        with_line: number of values that have a line of ours with a method to run.
        reasons: why the other values have none, to their number, the most frequent first.
        unexplained: values with neither a line nor a reason.
    """

    source: str
    table: str
    suites: tuple[str, ...]
    values: int
    with_line: int
    reasons: Mapping[str, int]
    unexplained: tuple[PublishedValue, ...]


def list_coverage() -> list[TableCoverage]:
    """The coverage of every published table, in the order of the published values.

    Raises:
        UserError: the file of the suites does not exist.
        OSError: the file of the published values does not exist.
    """
    tables: dict[tuple[str, str], list[PublishedValue]] = {}
    for value in list_published():
        tables.setdefault((value.source, value.table), []).append(value)
    suites = list_suites()
    return [
        _cover(values, [suite for suite in suites if (suite.source, suite.table) == place])
        for place, values in tables.items()
    ]


def _cover(values: Sequence[PublishedValue], suites: Sequence[Suite]) -> TableCoverage:
    """The coverage of one table by its suites."""
    with_line, reasons, unexplained = 0, Counter[str](), []
    for value in values:
        lines = [line for suite in suites for line in _lines(suite, value)]
        if any(line.run for line in lines):
            with_line += 1
        elif reason := next((line.reason for line in lines if line.reason), ""):
            reasons[reason] += 1
        else:
            unexplained.append(value)
    return TableCoverage(
        values[0].source,
        values[0].table,
        tuple(suite.name for suite in suites),
        len(values),
        with_line,
        dict(reasons.most_common()),
        tuple(unexplained),
    )


def _lines(suite: Suite, value: PublishedValue) -> list[SuiteLine]:
    """The lines of a suite that are compared with a published value."""
    if value.dataset not in suite.originals or value.metric not in suite.figures:
        return []
    name = value.method, value.setting
    return [line for line in suite.lines if (line.method, line.setting) == name]
