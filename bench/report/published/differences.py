"""Published differences between two lines of a table, and whether they hold in our runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.report.tables.markdown import markdown_table
from bench.stats.paired import min_specimens
from bench.wording import counted

Verdict = Literal["holds", "reversed", "not distinguishable", "not testable"]
VERDICTS: dict[Verdict, str] = {
    "holds": "holds: significant, in the published direction",
    "reversed": "reversed: significant, in the other direction",
    "not distinguishable": "not distinguishable: the difference can be chance",
    "not testable": "not testable: too few test specimens, or one value per run",
}
FEWEST = min_specimens(1)  # with fewer specimens, no difference can be significant
HEADERS = ("published difference", "pairs of lines", "which")
NO_DIFFERENCES = "No two lines can be compared."
SHOWN = 12  # differences of one verdict that a ledger names


@dataclass(frozen=True)
class PublishedDifference:
    """A published difference: one line of a table has a higher value than another.

    Attributes:
        higher: name of the line with the higher published value.
        lower: name of the other line.
        agrees: whether its value is the higher one here, too.
        significant: by Wilcoxon's signed-rank test on the specimens, Holm-corrected for all
            differences of the metric; None if that cannot be known.
    """

    higher: str
    lower: str
    agrees: bool
    significant: bool | None

    @property
    def verdict(self) -> Verdict:
        """What our runs say of it."""
        if self.significant is None:
            return "not testable"
        if not self.significant:
            return "not distinguishable"
        return "holds" if self.agrees else "reversed"


@dataclass(frozen=True)
class Order:
    """The published differences of one metric.

    A pair of lines is left out if its published values are equal, if one has no value, or if our
    runs of the two have different numbers of seeds or specimens.

    Attributes:
        specimens: smallest number of test specimens of a line, 0 if nothing is measured; None for a
            value of whole runs, which is not measured on specimens.
        differences: in the order of the lines.
    """

    specimens: int | None
    differences: tuple[PublishedDifference, ...]

    def __str__(self) -> str:
        if not self.differences:
            return NO_DIFFERENCES
        same, reverse = (self.count(agrees) for agrees in (True, False))
        text = f"Order of the lines: {same} of {len(self.differences)} pairs as published"
        if self.specimens is None:
            return f"{text}, {reverse} reversed."
        if all(one.significant is None for one in self.differences):
            tested = counted(self.specimens, "specimen")
            return f"{text}, {reverse} reversed; not significant with {tested}."
        return (
            f"{text} ({self.count(True, surely=True)} significant), {reverse} reversed "
            f"({self.count(False, surely=True)} significant)."
        )

    def count(self, agrees: bool, *, surely: bool = False) -> int:
        """How many have the published direction, or the other one: all, or the significant ones."""
        return sum(
            one.agrees == agrees and (one.significant or not surely) for one in self.differences
        )


def group_differences(orders: Sequence[tuple[str, Order]]) -> dict[Verdict, list[str]]:
    """The differences with each verdict that occurs, as "metric: line > line".

    Args:
        orders: name of a metric and its differences, for each metric.
    """
    found: dict[Verdict, list[str]] = {verdict: [] for verdict in VERDICTS}
    for metric, order in orders:
        for difference in order.differences:
            found[difference.verdict].append(f"{metric}: {difference.higher} > {difference.lower}")
    return {verdict: differences for verdict, differences in found.items() if differences}


def differences_table(groups: Mapping[Verdict, Sequence[str]]) -> list[tuple[str, str, str]]:
    """Rows for the result of `group_differences`: verdict, number, first differences."""
    rows = []
    for verdict, differences in groups.items():
        more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        rows.append(
            (VERDICTS[verdict], str(len(differences)), "; ".join(differences[:SHOWN]) + more)
        )
    return rows


def differences_markdown(groups: Mapping[Verdict, Sequence[str]]) -> str:
    """`differences_table` in Markdown, or a sentence if there are no differences."""
    if not groups:
        return NO_DIFFERENCES
    return markdown_table(HEADERS, differences_table(groups), ["left", "right", "left"])
