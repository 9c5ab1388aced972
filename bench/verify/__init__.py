"""Check that tables and figures match the records. Everything is computed again and compared.

- Records: schema and id, and the scores of the test set that follow from those of single images.
- Predictions, if they and the images are on this machine: the scores of single images and volumes,
  and all scores of the test set that class maps determine.
- Tables and overview: written again from the records and compared as text.
- Figures in SVG: drawn again from the records, compared if the same version of matplotlib drew
  them. Files of pixels (PNG) are not compared.
- Comebacks, if the folder has them: computed again from the records.
- Ledgers and page: written again if the images are on this machine, without pictures of images.

Kept models are not checked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.choice.comebacks import FILE, find_comebacks, to_text
from bench.data.items import Collection
from bench.data.selection import Selection
from bench.errors import UserError
from bench.run.record_images import RecordImages
from bench.run.store import RecordError, Store, read_record
from bench.spec import Record
from bench.verify.predictions import check_predictions
from bench.verify.report import check_report
from bench.verify.values import Finding, first_difference, wrong_summaries


@dataclass(frozen=True)
class Verdict:
    """The result of `verify`.

    Attributes:
        compared: kind of item ("record", "predicted map", "table", "figure", ...) to the number of
            items there are to compare. Those that cannot be read are counted, and so are missing
            maps of a run with others, and figures that another version of matplotlib drew.
        findings: what differs, is missing or cannot be read.
        skipped: what could not be compared, with the reason.
    """

    compared: Mapping[str, int]
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...]


def verify(folder: Path, load: Callable[[str, Selection], Collection]) -> Verdict:
    """Compute what a results folder holds again and compare it; the folder is not changed.

    Args:
        folder: results folder, with `records/`.
        load: function from the name or path of a dataset, and a selection, to its collection,
            such as `load_collection`. A UserError of it means that the images are not on this
            machine.

    Returns:
        What was compared, what differs and what was skipped. A file that is not a valid record is
        a finding, not an error; then neither tables, figures, ledgers nor page are compared.

    Raises:
        UserError: the folder holds no records, or a record with predictions names an evaluation
            mode that does not exist.
        UnsupportedError: as `check_report`.
    """
    files = sorted((folder / "records").glob("*.json"))
    if not files:
        raise UserError(f"no records in {folder}: give --results the folder of a run")
    records: list[Record] = []
    findings: list[Finding] = []
    for file in files:
        try:
            record = read_record(file, check_id=True)
        except RecordError as error:
            findings.append(Finding(file, error.reason))
            continue
        records.append(record)
        findings += [Finding(file, message) for message in wrong_summaries(record)]
    images = RecordImages(load)
    rescored, skipped, wrong = check_predictions(Store(folder), records, images)
    findings += wrong
    compared = {"record": len(files), "predicted map": rescored}
    working = Store(folder).claimed()
    if working:
        skipped.append(
            f"tables, figures, ledgers and page: being written by a run that works on {working[0]}"
        )
    elif len(records) == len(files):
        report = check_report(folder, records, images)
        compared |= report.counts
        findings += report.findings
        skipped += report.skipped
        if (comebacks := folder / FILE).is_file():
            compared["prior"] = 1
            message = first_difference(
                comebacks.read_text("utf-8", "replace"), to_text(find_comebacks(records))
            )
            findings += [Finding(comebacks, message)] if message else []
    else:
        skipped.append("tables, figures, ledgers and page: some records are not valid")
    return Verdict(compared, tuple(findings), tuple(skipped))
