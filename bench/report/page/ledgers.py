"""Ledgers of a results folder: those of the suites whose cells have records in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.ask.grid import LoadedDataset
from bench.ask.request import Request
from bench.ask.suites import Suite, SuiteChoice, expand_suite, list_suites
from bench.data.items import Collection
from bench.errors import UserError
from bench.report.published.ledger import Entry, Page, ledger
from bench.report.records.columns import MISSING, get_column
from bench.spec import Record


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
    records: Sequence[Record], collections: Mapping[str, Collection]
) -> tuple[list[Ledger], list[str]]:
    """Make a ledger for every suite, dataset, backbone and protocol of which a cell has a record.

    Only records on the stand-in or the original datasets of a suite count. Suites of counts have no
    ledger here; of ledgers of one suite with the same records only the first is made.

    Args:
        records: all records of a results folder.
        collections: name of a dataset to its images, from which classes and split are known. A
            ledger is left out, without a sentence, if its dataset is missing here.

    Returns:
        The ledgers (none outside a checkout, where no suites are known), and a sentence for each
        other ledger whose cells cannot be listed.
    """
    try:
        suites = list_suites()
    except UserError:
        return [], []
    by_id = {record.cell.id: record for record in records}
    names = {record.cell.dataset: record.cell.dataset_name for record in records}
    ledgers: dict[tuple[str, frozenset[str]], Ledger] = {}
    left_out = []
    for suite in suites:
        for (address, sha), request in _questions(suite, records):
            if names[address] not in collections:
                continue
            # Leaks stop what trains; here they are shown with the records.
            data = {address: LoadedDataset(collections[names[address]], sha, ((),) * suite.folds)}
            try:
                cells, _ = expand_suite(suite, request, data)
            except UserError as error:
                left_out.append(f"no ledger of {suite.name} on {names[address]}: {error}")
                continue
            ids = frozenset(cell.id for line in cells.values() for cell in line)
            if here := ids & by_id.keys():
                pages = ledger(suite, request, cells, by_id)
                ledgers.setdefault((suite.name, frozenset(here)), Ledger(suite, pages))
    return list(ledgers.values()), left_out


def unit_of(page: Page) -> str:
    """The unit in which all figures of a page of a ledger are shown; "" for a number without one.

    Raises:
        StopIteration: as `get_column`.
    """
    return get_column(page.ours).unit


def entry_texts(page: Page, entry: Entry) -> Mapping[str, str]:
    """The texts of one entry of a ledger, in `unit_of` but without it.

    Returns:
        "published", "measured" and "runs" (a dash if there is none), "interval" ("" if there is
        none), "status", and "reason" ("" if the status has none).

    Raises:
        StopIteration: as `get_column`.
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


def _questions(
    suite: Suite, records: Sequence[Record]
) -> list[tuple[tuple[str, str], SuiteChoice]]:
    """What of a suite may have been run: its datasets, on the backbones and seeds there are.

    Returns:
        Address and fingerprint of a dataset, and the request on it.
    """
    methods = {line.run.partition("[")[0] for line in suite.lines if line.run}
    datasets = {suite.stand_in, *filter(None, suite.originals.values())}
    backbones: dict[tuple[str, str], set[str]] = {}
    for cell in (record.cell for record in records):
        named = {cell.task.backbone} - {"none"}
        backbones.setdefault((cell.dataset_sha, cell.protocol), set()).update(named)
    runs: dict[tuple[str, str, str, str], set[int]] = {}
    for cell in (record.cell for record in records):
        if cell.method in methods and cell.dataset_name in datasets:
            backbones_used = backbones[cell.dataset_sha, cell.protocol] or {Request.backbones}
            for backbone in {cell.task.backbone} - {"none"} or backbones_used:
                key = (cell.dataset, cell.dataset_sha, backbone, cell.protocol)
                runs.setdefault(key, set()).add(cell.seed)
    return [
        (
            (dataset, sha),
            SuiteChoice(
                dataset,
                "".join(f"{seed}," for seed in sorted(seeds)),  # a number alone is a count
                {"backbones": backbone, "protocol": protocol},
            ),
        )
        for (dataset, sha, backbone, protocol), seeds in sorted(runs.items())
    ]
