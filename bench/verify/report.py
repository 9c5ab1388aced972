"""What was made of the records: tables, overview, figures, ledgers and the page."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.ask.grid import Data
from bench.ask.suites import Asked, expand_suite, get_suite
from bench.errors import UserError
from bench.report.compare.comparison import comparison
from bench.report.overview import rewrite
from bench.report.page import Report, build_page, find_ledgers, read_page
from bench.report.published.ledger import read_note, write_ledger
from bench.report.records.frame import to_frame
from bench.run.record_images import Present
from bench.spec import Record
from bench.verify.values import Finding, difference

_DRAWN_BY = re.compile(r"Matplotlib v[\w.+]+")
_LEDGERS = re.compile(r'<section class="view" id="(ledger-[^"]+)"')


@dataclass
class Compared:
    """Files beside what the records give.

    Attributes:
        counts: what was compared, in one word, to how many there were.
        findings: all that differs.
        skipped: what could not be compared, and why.
    """

    counts: dict[str, int]
    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def check_report(folder: Path, records: Sequence[Record], images: Present) -> Compared:
    """Work out everything that a results folder shows, and compare it.

    Args:
        folder: of the results.
        records: all of them.
        images: of the records; ledgers, and the page with them, ask what is in a split.
    """
    frame = to_frame(records)
    found = comparison(frame)
    with TemporaryDirectory() as name:
        place = Path(name)
        made = {path.relative_to(place) for path in rewrite(frame, found, place, like=folder)}
        findings = list(_files(folder, place, made))
    kinds = {"table": {".md", ".csv", ".tex"}, "figure": {".svg"}}
    compared = Compared(
        {kind: sum(path.suffix in endings for path in made) for kind, endings in kinds.items()},
        findings,
    )
    collections = images.by_name(record.cell for record in records)
    report = Report(records, frame, found, find_ledgers(records, collections)[0])
    _check_ledgers(folder, report.by_id, images, compared)
    _check_page(folder / "report.html", report, compared)
    return compared


def _files(folder: Path, place: Path, made: set[Path]) -> Iterator[Finding]:
    """Tables, overview and figures that are not those in `place`."""
    for path in sorted(made):
        here = folder / path
        if not here.is_file():
            yield Finding(here, "is missing, the records give it")
        elif path.suffix != ".png" and (told := _unlike(here, place / path)):
            yield Finding(here, told)
    stored = [path for part in ("tables", "plots") for path in (folder / part).glob("*.*")]
    for path in sorted(stored):
        if path.relative_to(folder) not in made and "_gallery" not in path.name:
            yield Finding(path, "comes from no record that is here")


def _unlike(here: Path, made: Path) -> str | None:
    old, new = here.read_text(), made.read_text()
    if here.suffix != ".svg" or old == new:
        return difference(old, new)
    drawn = [_DRAWN_BY.findall(text[:4000]) for text in (old, new)]
    return None if drawn[0] != drawn[1] else "is not what the records draw"


def _check_ledgers(
    folder: Path, records: Mapping[str, Record], images: Present, compared: Compared
) -> None:
    for here in sorted(folder.glob("ledger/*.md")):
        if (note := read_note(here.read_text())) is None:
            compared.findings.append(Finding(here, "does not say what was asked"))
            continue
        try:
            made = _ledger(*note, records, images)
        except UserError as error:
            compared.skipped.append(f"{here.name}: {error}")
            continue
        compared.counts["ledger"] = compared.counts.get("ledger", 0) + 1
        if told := difference(here.read_text(), made):
            compared.findings.append(Finding(here, told))


def _ledger(name: str, asked: Asked, records: Mapping[str, Record], images: Present) -> str:
    """The text of a ledger, asked anew.

    Raises:
        UserError: it cannot be.
    """
    suite = get_suite(name)
    address = asked.dataset or suite.stand_in
    if (read := images.at(address)) is None:
        raise UserError("its images are not here")
    data = {address: Data(*read, ((),) * suite.folds)}
    cells, _ = expand_suite(suite, asked, data)
    with TemporaryDirectory() as place:
        return write_ledger(suite, asked, cells, records, Path(place)).read_text()


def _check_page(here: Path, report: Report, compared: Compared) -> None:
    if not here.is_file():
        return
    try:
        old = read_page(here.read_text())
    except ValueError as error:
        compared.findings.append(Finding(here, f"its data cannot be read ({error})"))
        return
    new = read_page(build_page(report))
    if set(_LEDGERS.findall(old)) - set(_LEDGERS.findall(new)):
        compared.skipped.append(f"{here.name}: it has ledgers whose images are not here")
        return
    compared.counts["page"] = 1
    if told := difference(old, new):
        compared.findings.append(Finding(here, told))
