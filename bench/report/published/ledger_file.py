"""Files of ledgers: their Markdown, and the request from which each one can be made again."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from bench.ask import object_rules, proxy, reference
from bench.ask.plain_values import field_from_plain, from_plain
from bench.ask.request import Request
from bench.ask.suites import FIXED, Suite, SuiteChoice, SuiteLine
from bench.errors import UserError
from bench.files import parse_json, write_atomic
from bench.report.published.counted import counted_markdown
from bench.report.published.differences import differences_markdown, group_differences
from bench.report.published.ledger import Entry, Page, ledger
from bench.report.published.object_rules import rules_markdown
from bench.report.published.power import power_markdown
from bench.report.published.rank_agreement import agreement_markdown, find_agreements
from bench.report.records.columns import MISSING, get_column
from bench.report.tables.markdown import markdown_table
from bench.spec import Cell, Record, last_part
from bench.stats.bootstrap import CONFIDENCE

_NOTE = re.compile(r"<!-- asked: (.*) -->")


def write_ledger(
    suite: Suite,
    request: SuiteChoice,
    cells: Mapping[SuiteLine, Sequence[Cell]],
    records: Mapping[str, Record],
    folder: Path,
) -> Path:
    """Write `ledger/<suite>.md`; an earlier file of the same name is replaced.

    Dataset, backbone, protocol and rule for objects are added to the name if chosen, but not for a
    suite of counts.

    Args:
        suite: the suite, of runs or of counts.
        request: the user's choice, from which the cells follow. It is stored in the file, so that
            `verify` can make the ledger again.
        cells: the cells of each line; a suite of counts does not use them.
        records: the records by the id of their cell.
        folder: results folder.

    Returns:
        The file.

    Raises:
        UserError: the file cannot be written, or a model of a suite of counts cannot be built.
        UnsupportedError: as `counted_markdown`.
    """
    if suite.counted is not None:
        request, text = SuiteChoice(), counted_markdown(suite)  # counts do not depend on it
    else:
        text = ledger_markdown(suite, ledger(suite, request, cells, records))
    return _write(suite.name, request, text, folder)


def write_own(
    name: str,
    request: SuiteChoice,
    cells: Sequence[Cell],
    records: Mapping[str, Record],
    folder: Path,
) -> Path:
    """Write the ledger of a suite without a published table, as `write_ledger`.

    Args:
        name: of the suite, in `bench.ask.own_suites.OWN_SUITES`.
        request: the user's choice, from which the cells follow.
        cells: of the suite.
        records: the records by the id of their cell.
        folder: results folder.

    Raises:
        UserError: the file cannot be written.
    """
    if name == object_rules.NAME:
        text = rules_markdown(cells, records)
    elif name == reference.NAME:
        text = power_markdown(cells, records)
    else:
        large = proxy.large_backbone(request)
        agreements = find_agreements([records[c.id] for c in cells if c.id in records], large)
        text = agreement_markdown(agreements, large)
    return _write(name, request, text, folder)


def _write(name: str, request: SuiteChoice, text: str, folder: Path) -> Path:
    keys = ("backbones", "protocol", "objects")
    datasets = (request.dataset or "").split(",")
    # Of several, only the last parts of folders: a path may be too long for a name.
    dataset = ",".join(map(last_part, datasets)) if len(datasets) > 1 else datasets[0]
    chosen = [dataset, *(request.chosen(key) for key in keys)]
    file = "_".join([name, *(re.sub(r"\W+", "-", word) for word in chosen if word)])
    return write_atomic(folder / "ledger" / f"{file}.md", f"{text}\n{_note(name, request)}\n")


def _note(name: str, request: SuiteChoice) -> str:
    options = {key: value for key, value in request.request.items() if value not in (None, False)}
    values = {"suite": name, "dataset": request.dataset, "seeds": request.seeds, **options}
    return f"<!-- asked: {json.dumps(values, default=str)} -->"


def read_note(text: str) -> tuple[str, SuiteChoice] | None:
    """Return the name of the suite and the user's choice from the text of a ledger.

    None if the text does not contain them, or has fields that `Request` does not know.

    Raises:
        UserError: a value has another type than its field, or the suite leaves no choice of it.
    """
    try:
        values = parse_json(_NOTE.findall(text)[0])
        note = {key: values.pop(key) for key in ("suite", "dataset", "seeds")}
    except (ValueError, LookupError, AttributeError, TypeError):
        return None
    if not values.keys() <= {field.name for field in fields(Request)}:
        return None
    try:
        suite = from_plain(str, note["suite"], "suite")
        dataset = field_from_plain(SuiteChoice, "dataset", note["dataset"])
        seeds = field_from_plain(SuiteChoice, "seeds", note["seeds"])
        request = {key: field_from_plain(Request, key, value) for key, value in values.items()}
    except TypeError as error:
        raise UserError(f"its note was changed: {error}") from error
    if fixed := [key for key in FIXED if key in request]:
        raise UserError(f"its note was changed: the suite leaves no choice of {fixed[0]}")
    return suite, SuiteChoice(dataset, seeds, request)


def ledger_markdown(suite: Suite, pages: Sequence[Page]) -> str:
    """Return the pages as Markdown tables, with the differences from the publication.

    Args:
        suite: the published table, of runs.
        pages: result of `ledger`.

    Raises:
        UserError: as `get_column`.
    """
    parts = [f"# {suite.title}"]
    if suite.source:
        parts.append(f"Published: {suite.source}, table {suite.table}.")
    if suite.differences:
        parts.append(f"Differences: {suite.differences}.")
    parts += [
        "## What holds here",
        differences_markdown(group_differences([(one.heading, one.order) for one in pages])),
    ]
    for page in pages:
        where = f"on {page.ran_on}" if page.ran_on else "not run"
        parts.append(f"## {page.heading} ({page.ours}, {where})")
        headers = ["line", "published", f"measured, {CONFIDENCE:.0%} interval", "runs", "status"]
        lines = [
            [
                entry.line,
                _shown(page.ours, entry.published, suite.units.get(page.metric)),
                _measured(page.ours, entry),
                str(entry.runs or MISSING),
                entry.status,
            ]
            for entry in page.entries
        ]
        alignments = ["left", "right", "right", "right", "left"]
        parts += [markdown_table(headers, lines, alignments), str(page.order)]
    parts.append(
        "Intervals: bootstrap over specimens and seeds (docs/protocol/statistics.md); with few "
        "specimens they are too narrow. Results on a stand-in or with another backbone are not "
        "reproductions: only the order of the lines can be compared there."
    )
    return "\n\n".join(parts) + "\n"


def _shown(ours: str, value: float | None, unit: str | None = None) -> str:
    column = get_column(ours)
    if value is None or column.unit.startswith("0-"):
        return column.format(value)
    return f"{column.format(value)} {unit or column.unit}".rstrip()


def _measured(ours: str, entry: Entry) -> str:
    text = _shown(ours, entry.measured)
    if entry.bounds is None:
        return text
    return f"{text} [{_shown(ours, entry.bounds.low)}, {_shown(ours, entry.bounds.high)}]"
