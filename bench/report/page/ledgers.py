"""Ledgers of a results folder, made from the requests in its files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ask.grid import LoadedDataset
from bench.ask.suites import Suite, SuiteChoice, expand_suite, list_suites
from bench.data.items import Collection
from bench.errors import UserError
from bench.files import check_regular
from bench.report.published.ledger import Entry, Page, ledger
from bench.report.published.ledger_file import read_note
from bench.report.records.columns import MISSING, get_column
from bench.spec import Record
from bench.wording import counted


@dataclass(frozen=True)
class Ledger:
    """Published figures next to measured ones.

    Attributes:
        suite: the published table.
        pages: one for each metric and published dataset, as of
            `bench.report.published.ledger.ledger`.
    """

    suite: Suite
    pages: Sequence[Page]


def find_ledgers(
    folder: Path, records: Sequence[Record], collections: Mapping[str, Collection]
) -> tuple[list[Ledger], list[str]]:
    """Make the ledgers of the requests that are noted in the files `ledger/*.md` of a folder.

    Suites of counts and those of `OWN_SUITES` have no ledger here.

    Args:
        folder: results folder.
        records: of the report.
        collections: name of a dataset to its images, from which classes and split are known. A
            ledger is left out, without a sentence, if its dataset is missing here.

    Returns:
        The ledgers, by the names of their files, and a sentence for each one that cannot be made:
        its note was changed, its cells cannot be listed, or it has a score that does not exist.

    Raises:
        UserError: a file of a ledger is no regular file, or the file of the suites cannot be used.
        OSError: a file of a ledger cannot be read.
    """
    by_id = {record.cell.id: record for record in records}
    known = {one.cell.dataset: (one.cell.dataset_name, one.cell.dataset_sha) for one in records}
    ledgers, left_out = [], list[str]()
    for suite, request in _requests(folder, left_out):
        address = request.dataset or suite.stand_in
        name, sha = known.get(address, ("", ""))
        if name not in collections:
            continue
        # Leaks stop what trains; here they are shown with the records.
        data = {address: LoadedDataset(collections[name], sha, ((),) * suite.folds)}
        try:
            cells, _ = expand_suite(suite, request, data)
            ledgers.append(Ledger(suite, ledger(suite, request, cells, by_id)))
        except UserError as error:
            left_out.append(f"no ledger of {suite.name} on {name}: {error}")
    return ledgers, left_out


def _requests(folder: Path, left_out: list[str]) -> Iterator[tuple[Suite, SuiteChoice]]:
    """Suites of runs with the requests of the ledgers in a folder; others are appended."""
    suites = {suite.name: suite for suite in list_suites()}
    for path in sorted(folder.glob("ledger/*.md")):
        check_regular(path)
        try:
            note = read_note(path.read_text("utf-8"))
        except UnicodeDecodeError:  # no ledger
            continue
        except UserError as error:
            left_out.append(f"no ledger of {path.name}: {error}")
            continue
        # Those of another version are left out without a sentence.
        suite = None if note is None else suites.get(note[0])
        if note is not None and suite is not None and suite.counted is None:
            yield suite, note[1]


@dataclass(frozen=True)
class Summary:
    """How far a ledger agrees with its publication.

    Attributes:
        counts: "reproduced", "contradicted", "not comparable" and "not run" to a number of values.
        same: number of pairs of lines in the published order, over all pages.
        reversed: number of pairs in the reverse order.
        surely: numbers of these pairs whose difference is significant.
    """

    counts: Mapping[str, int]
    same: int
    reversed: int
    surely: tuple[int, int]

    @property
    def order(self) -> str:
        """The pairs in one phrase."""
        if not self.same + self.reversed:
            return "no two lines can be compared"
        text = f"{self.same} of {counted(self.same + self.reversed, 'pair')} as published"
        return (
            f"{text} ({self.surely[0]} significant), {self.reversed} reversed "
            f"({self.surely[1]} significant)"
        )


def sum_up(ledger: Ledger) -> Summary:
    """Count the verdicts of a ledger."""
    counts = dict.fromkeys(("reproduced", "contradicted", "not comparable", "not run"), 0)
    for page in ledger.pages:
        for entry in page.entries:
            counts[entry.status.partition(":")[0]] += 1
    same, reverse, same_surely, reversed_surely = (
        sum(page.order.count(agrees, surely=surely) for page in ledger.pages)
        for surely in (False, True)
        for agrees in (True, False)
    )
    return Summary(counts, same, reverse, (same_surely, reversed_surely))


def unit_of(page: Page) -> str:
    """The unit in which all figures of a page of a ledger are shown; "" for a number without one.

    Raises:
        UserError: as `get_column`.
    """
    return get_column(page.ours).unit


def entry_texts(page: Page, entry: Entry) -> Mapping[str, str]:
    """The texts of one entry of a ledger, in `unit_of` but without it.

    Returns:
        "published", "measured" and "runs" (a dash if there is none), "interval" ("" if there is
        none), "status", and "reason" ("" if the status has none).

    Raises:
        UserError: as `get_column`.
    """
    column = get_column(page.ours)
    bounds = entry.bounds
    span = "" if bounds is None else f"{column.format(bounds.low)} to {column.format(bounds.high)}"
    status, _, reason = entry.status.partition(": ")
    return {
        "published": column.format(entry.published),
        "measured": column.format(entry.measured),
        "interval": span,
        "runs": str(entry.runs or MISSING),
        "status": status,
        "reason": reason,
    }
