"""Make tables, overview, figures, ledgers and page again from the records, and compare them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.ask.grid import LoadedDataset
from bench.ask.own_suites import OWN_SUITES
from bench.ask.suites import SuiteChoice, expand_suite, get_suite
from bench.errors import UserError
from bench.files import check_regular
from bench.report.compare.comparison import make_comparisons
from bench.report.overview import rewrite
from bench.report.page import Report, build_page, find_ledgers, read_page
from bench.report.published.ledger_file import read_note, write_ledger, write_own
from bench.report.records.frame import to_frame
from bench.run.record_images import RecordImages
from bench.spec import Record
from bench.verify.values import Finding, first_difference

_DRAWN_BY = re.compile(r"Matplotlib v[\w.+]+")
_LISTED = 3  # files of one folder that are not stored; more are counted
_LEDGERS = re.compile(r'<section class="view" id="(ledger-[^"]+)"')
_NOT_TEXT = "is not a text file in UTF-8"


@dataclass
class ReportCheck:
    """Files compared with what the records give.

    Attributes:
        counts: kind of file to the number of files: "table" (with overviews), "figure" (SVG, even
            if another version of matplotlib drew it, so that it is not compared), and, if any was
            compared, "ledger" and "page".
        findings: what differs, cannot be read, or comes from no record.
        skipped: what could not be compared, with the reason.
    """

    counts: dict[str, int]
    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def check_report(folder: Path, records: Sequence[Record], images: RecordImages) -> ReportCheck:
    """Make the files of a report again, and compare them with those in the results folder.

    Pictures in PNG are not compared. Files that are not stored are skipped; files in `tables/` and
    `plots/` that no record gives are findings, except galleries. The folder is not changed.

    Args:
        folder: results folder.
        records: all records in it, at least one.
        images: of the records; ledgers and page need the number of images in a split.

    Returns:
        What was compared, what differs and what was skipped.

    Raises:
        UserError: there are no records.
        UnsupportedError: a ledger of counts has a method that cannot be used with its backbone.
    """
    frame = to_frame(records)
    comparisons = make_comparisons(frame)
    with TemporaryDirectory() as name:
        fresh = Path(name)
        written = rewrite(frame, comparisons, fresh, like=folder)
        expected = {path.relative_to(fresh) for path in written}
        stored = {path for path in expected if (folder / path).is_file()}
        findings = list(_compare_files(folder, fresh, stored))
    kinds = {"table": {".md", ".csv", ".tex"}, "figure": {".svg"}}
    check = ReportCheck(
        {kind: sum(path.suffix in endings for path in stored) for kind, endings in kinds.items()},
        findings,
        [f"{path}: not stored" for path in _shortened(expected - stored)],
    )
    if not (folder / "report.html").is_file():
        check.skipped.append("report.html: not stored")
    collections = images.by_name(record.cell for record in records)
    report = Report(records, frame, comparisons, find_ledgers(folder, records, collections)[0])
    _check_ledgers(folder, report.by_id, images, check)
    _check_page(folder / "report.html", report, check)
    return check


def _compare_files(folder: Path, fresh: Path, stored: set[Path]) -> Iterator[Finding]:
    """Yield tables, overview and figures in `folder` that differ from those in `fresh`."""
    for relative in sorted(stored):
        path = folder / relative
        if relative.suffix != ".png" and (message := _difference(path, fresh / relative)):
            yield Finding(path, message)
    files = [path for part in ("tables", "plots") for path in (folder / part).glob("*.*")]
    for path in sorted(files):
        if path.relative_to(folder) not in stored and "_gallery" not in path.name:
            yield Finding(path, "does not come from any record in this folder")


def _shortened(paths: set[Path]) -> list[str]:
    """Return the paths, those of one folder as one entry if there are many."""
    by_folder: dict[str, list[str]] = {}
    for path in sorted(paths):
        by_folder.setdefault(path.parent.as_posix(), []).append(path.as_posix())
    entries: list[str] = []
    for folder, names in by_folder.items():
        entries += names if len(names) <= _LISTED else [f"{len(names)} files of {folder}"]
    return entries


def _difference(stored: Path, fresh: Path) -> str | None:
    try:
        old, new = stored.read_text(), fresh.read_text()
    except UnicodeDecodeError:
        return _NOT_TEXT
    if stored.suffix != ".svg" or old == new:
        return first_difference(old, new)
    versions = [_DRAWN_BY.findall(text[:4000]) for text in (old, new)]
    if versions[0] != versions[1]:
        return None
    return "differs from the figure that the records give"


def _check_ledgers(
    folder: Path, records: Mapping[str, Record], images: RecordImages, check: ReportCheck
) -> None:
    for path in sorted(folder.glob("ledger/*.md")):
        try:
            check_regular(path)
            stored = path.read_text("utf-8")
            note = read_note(stored)
        except UnicodeDecodeError:
            check.findings.append(Finding(path, _NOT_TEXT))
            continue
        except UserError as error:
            check.findings.append(Finding(path, str(error)))
            continue
        if note is None:
            check.findings.append(Finding(path, "has no note of the request that it answers"))
            continue
        try:
            fresh = _ledger(*note, records, images)
        except UserError as error:
            check.skipped.append(f"{path.name}: {error}")
            continue
        check.counts["ledger"] = check.counts.get("ledger", 0) + 1
        if message := first_difference(stored, fresh):
            check.findings.append(Finding(path, message))


def _ledger(
    name: str, request: SuiteChoice, records: Mapping[str, Record], images: RecordImages
) -> str:
    """The text of a ledger, written again.

    Raises:
        UserError: its images are not on this machine or differ from those of the records, or the
            request is no longer valid.
    """
    with TemporaryDirectory() as folder:
        if (own := OWN_SUITES.get(name)) is not None:
            datasets = (request.dataset or own.default_datasets()).split(",")
            data = {dataset: _load(dataset, records, images, own.folds) for dataset in datasets}
            cells, _ = own.expand(request, data)
            return write_own(name, request, cells, records, Path(folder)).read_text()
        suite = get_suite(name)
        data = {}
        if suite.counted is None:
            dataset = request.dataset or suite.stand_in
            data = {dataset: _load(dataset, records, images, suite.folds)}
        lines, _ = expand_suite(suite, request, data)
        return write_ledger(suite, request, lines, records, Path(folder)).read_text()


def _load(
    dataset: str, records: Mapping[str, Record], images: RecordImages, folds: int = 1
) -> LoadedDataset:
    loaded = images.load(dataset)
    if loaded is None:
        raise UserError("its images are not on this machine")
    known = {one.cell.dataset_sha for one in records.values() if one.cell.dataset == dataset}
    if known and loaded[1] not in known:
        # Downloaded images can change; procedural ones are equal on all x86 processors.
        raise UserError("its images on this machine differ from those of the runs")
    return LoadedDataset(*loaded, ((),) * folds)


def _check_page(path: Path, report: Report, check: ReportCheck) -> None:
    if not path.is_file():
        return
    try:
        old = read_page(path.read_text())
    except ValueError as error:
        check.findings.append(Finding(path, f"has data that cannot be read ({error})"))
        return
    new = read_page(build_page(report))
    if set(_LEDGERS.findall(old)) - set(_LEDGERS.findall(new)):
        check.skipped.append(f"{path.name}: the images of its ledgers are not on this machine")
        return
    check.counts["page"] = 1
    if message := first_difference(old, new):
        check.findings.append(Finding(path, message))
