"""Does a results folder still say what was measured? Everything is worked out again and compared.

- Records: schema, name, the overlap and the means that follow from the rows of single images.
- Predictions, where they and the images are here: the rows of single images and volumes, and all
  scores of the set that class maps give.
- Tables and overview: written anew from the records, text against text.
- Figures: drawn anew from the records, where the same version of matplotlib drew them.
- Ledgers and page: written anew, where the images are here, but for pictures of images.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.data.items import Collection
from bench.errors import UserError
from bench.run.record_images import Present
from bench.run.store import Store
from bench.spec import Record
from bench.verify.predictions import check_predictions
from bench.verify.records import read, wrong_sums
from bench.verify.report import check_report
from bench.verify.values import Finding


@dataclass(frozen=True)
class Verdict:
    """What was compared, and what was found.

    Attributes:
        compared: what was compared, in one word, to how many there were.
        findings: all that is wrong.
        skipped: what could not be compared, and why.
    """

    compared: Mapping[str, int]
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...]


def verify(folder: Path, load: Callable[[str], Collection]) -> Verdict:
    """Work out a results folder again.

    Args:
        folder: with `records/`, and what was made from them.
        load: from the name or path of a dataset to its images, as `load_collection`.

    Raises:
        UserError: there are no records.
    """
    files = sorted((folder / "records").glob("*.json"))
    if not files:
        raise UserError(f"no records in {folder}: give --results a folder that methods were run in")
    records: list[Record] = []
    findings: list[Finding] = []
    for file in files:
        try:
            record = read(file)
        except ValueError as error:
            findings.append(Finding(file, str(error)))
            continue
        records.append(record)
        findings += [Finding(file, told) for told in wrong_sums(record)]
    images = Present(load)
    rescored, skipped, wrong = check_predictions(Store(folder), records, images)
    findings += wrong
    compared = {"record": len(files), "predicted map": rescored}
    if len(records) == len(files):
        report = check_report(folder, records, images)
        compared |= report.counts
        findings += report.findings
        skipped += report.skipped
    else:
        skipped.append("what was made of the records: not all of them can be read")
    return Verdict(compared, tuple(findings), tuple(skipped))
