"""Score stored class maps again, and compare the scores with the records."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.decode import decode_mask
from bench.data.items import Collection
from bench.data.masks import read_mask
from bench.errors import UserError
from bench.evaluate.modes import get_mode
from bench.evaluate.scoring import Prediction, Scoring
from bench.metrics.shapes import KEYS as SHAPES
from bench.objects.rules import get_rule
from bench.run.record_images import RecordImages
from bench.run.store import Store
from bench.spec import Record
from bench.verify.values import Finding, differences

_LATER = (SHAPES, ("size_counts",))  # what scores of images begin with that came later, together


def check_predictions(
    store: Store, records: Sequence[Record], images: RecordImages
) -> tuple[int, list[str], list[Finding]]:
    """Score the class maps of all records again.

    Args:
        store: the results folder of the records.
        records: those with a status other than "ok" are passed over.
        images: of the records.

    Returns:
        The number of test images of the runs that have a folder of class maps and whose images are
        on this machine; what was skipped, with the reason; and what differs. Of each map and volume
        only the first difference is named. Scores of volumes and of the test set are compared only
        for runs all of whose maps could be scored.

    Raises:
        UserError: a record names an evaluation mode or a rule for objects that does not exist.
    """
    count, skipped = 0, dict[str, None]()
    findings: list[Finding] = []
    for record in records:
        if record.status != "ok":
            continue
        folder = store.predictions(record.cell)
        if not folder.is_dir():
            skipped[f"predictions of {record.cell.dataset_name}: not stored"] = None
            continue
        collection = images.of_cell(record.cell)
        if isinstance(collection, str):
            skipped[f"predictions of {collection}"] = None
            continue
        count += len(record.per_image)
        findings += _rescore(record, collection, folder, store.path(record.cell))
    return count, list(skipped), findings


def _rescore(
    record: Record, collection: Collection, folder: Path, record_path: Path
) -> Iterator[Finding]:
    """Score the class maps in a folder, and yield what differs from the record."""
    items = {item.name: item for item in collection.items}
    recipe = record.cell.recipe
    rule = get_rule(recipe.objects)
    # Objects of learned distances are lost, too; those of a watershed follow from the class map.
    own_objects = get_mode(recipe.evaluation).separates_objects or rule.channels > 0
    scoring = Scoring(collection, only_classes=True, own_objects=own_objects)
    complete = True
    for row in record.per_image:
        file = folder / f"{row.get('name')}.png"
        try:
            item = items[row["name"]]
            predicted = read_mask(file).astype(np.uint8)
            objects = None if rule.channels else rule.separate(predicted)
            truth = decode_mask(item, collection)
            scoring.add(Prediction(item, truth, predicted, objects=objects))
        except (LookupError, OSError, UserError, ValueError) as error:
            complete = False
            exists = file.is_file()
            yield Finding(
                file, f"cannot be scored: {error}" if exists else "is missing, its record exists"
            )
            continue
        for message in differences(row, _known(row, scoring.images[-1]), "this map gives"):
            yield Finding(file, message)
            break  # one change of a map changes many of its scores
    if not complete:
        return
    volumes = {row.get("name"): row for row in record.per_volume}
    for row in scoring.volumes:
        for message in differences(volumes.get(row["name"], {}), row, "its maps give"):
            yield Finding(record_path, f"volume {row['name']}: {message}")
            break
    for message in differences(record.metrics, scoring.summary(), "its maps give"):
        yield Finding(record_path, message)


def _known(row: Mapping[str, Any], scores: Mapping[str, Any]) -> Mapping[str, Any]:
    """Scores without those that came later, if the record is older than these and has none."""
    for later in _LATER:
        if not any(_begins(name, later) for name in row):
            scores = {name: value for name, value in scores.items() if not _begins(name, later)}
    return scores


def _begins(name: str, keys: tuple[str, ...]) -> bool:
    return name.startswith(keys) and "/" in name
