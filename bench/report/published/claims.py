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
NO_CLAIMS = "No two lines can be compared."
SHOWN = 12  # claims of one verdict that a ledger names


@dataclass(frozen=True)
class Claim:
    """A published difference: one line of a table has a higher value than another.

    Attributes:
        higher: name of the line with the higher published value.
        lower: name of the other line.
        agrees: whether its value is the higher one here, too.
        significant: whether our difference has an interval without 0; None if that cannot be known.
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
    """The claims of one metric.

    Pairs of lines with equal values, without a value on one side, or with different numbers of
    seeds or specimens are no claims.

    Attributes:
        specimens: smallest number of test specimens of a line, 0 if nothing is measured; None for a
            value of whole runs, which is not measured on specimens.
        claims: in the order of the lines.
    """

    specimens: int | None
    claims: tuple[Claim, ...]

    def __str__(self) -> str:
        if not self.claims:
            return NO_CLAIMS
        same, reverse = (self.count(agrees) for agrees in (True, False))
        text = f"Order of the lines: {same} of {len(self.claims)} pairs as published"
        if self.specimens is None:
            return f"{text}, {reverse} reversed."
        if self.specimens < FEWEST:
            tested = counted(self.specimens, "specimen")
            return f"{text}, {reverse} reversed; not significant with {tested}."
        return (
            f"{text} ({self.count(True, surely=True)} significant), {reverse} reversed "
            f"({self.count(False, surely=True)} significant)."
        )

    def count(self, agrees: bool, *, surely: bool = False) -> int:
        """The number of claims with which we agree or disagree, all or the significant ones."""
        return sum(one.agrees == agrees and (one.significant or not surely) for one in self.claims)


def group_claims(orders: Sequence[tuple[str, Order]]) -> dict[Verdict, list[str]]:
    """The claims with each verdict that occurs, as "metric: line > line".

    Args:
        orders: name of a metric and its claims, for each metric.
    """
    found: dict[Verdict, list[str]] = {verdict: [] for verdict in VERDICTS}
    for metric, order in orders:
        for claim in order.claims:
            found[claim.verdict].append(f"{metric}: {claim.higher} > {claim.lower}")
    return {verdict: claims for verdict, claims in found.items() if claims}


def claims_table(groups: Mapping[Verdict, Sequence[str]]) -> list[tuple[str, str, str]]:
    """Rows of a table of `group_claims`: verdict, number, and the first claims with it."""
    rows = []
    for verdict, claims in groups.items():
        more = f"; and {len(claims) - SHOWN} more" if len(claims) > SHOWN else ""
        rows.append((VERDICTS[verdict], str(len(claims)), "; ".join(claims[:SHOWN]) + more))
    return rows


def claims_markdown(groups: Mapping[Verdict, Sequence[str]]) -> str:
    """`claims_table` in Markdown, or a sentence if there are no claims."""
    if not groups:
        return NO_CLAIMS
    return markdown_table(HEADERS, claims_table(groups), ["left", "right", "left"])
