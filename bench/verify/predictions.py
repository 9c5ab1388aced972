"""Stored class maps, scored again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.data.decode import decode_mask, read_mask
from bench.data.items import Collection
from bench.errors import UserError
from bench.evaluate.scoring import Prediction, Scoring
from bench.run.record_images import Present
from bench.run.store import Store
from bench.spec import Record
from bench.verify.values import Finding, unlike


def check_predictions(
    store: Store, records: Sequence[Record], images: Present
) -> tuple[int, list[str], list[Finding]]:
    """Stored class maps scored again: how many, what was skipped, what differs."""
    count, skipped = 0, dict[str, None]()
    findings: list[Finding] = []
    for record in records:
        if record.status != "ok":
            continue
        if not (folder := store.predictions(record.cell)).is_dir():
            skipped[f"predictions of {record.cell.dataset_name}: not stored"] = None
            continue
        collection = images.of(record.cell)
        if isinstance(collection, str):
            skipped[f"predictions of {collection}"] = None
            continue
        count += len(record.per_image)
        findings += _rescored(record, collection, folder, store.path(record.cell))
    return count, list(skipped), findings


def _rescored(
    record: Record, collection: Collection, folder: Path, place: Path
) -> Iterator[Finding]:
    """What differs when the class maps in a folder are scored again."""
    items = {item.name: item for item in collection.items}
    own_objects = record.cell.recipe.evaluation == "generator"
    scoring = Scoring(collection, only_classes=True, own_objects=own_objects)
    whole = True
    for row in record.per_image:
        file = folder / f"{row.get('name')}.png"
        try:
            item = items[row["name"]]
            predicted = read_mask(file).astype(np.uint8)
            scoring.add(Prediction(item, decode_mask(item, collection), predicted))
        except (LookupError, OSError, UserError, ValueError) as error:
            whole = False
            missing = not file.is_file()
            told = "is missing, its record stands" if missing else f"cannot be scored: {error}"
            yield Finding(file, told)
            continue
        for told in unlike(row, scoring.images[-1], "this map gives"):
            yield Finding(file, told)
            break  # one change of a map changes many of its scores
    if not whole:
        return
    volumes = {row.get("name"): row for row in record.per_volume}
    for row in scoring.volumes:
        for told in unlike(volumes.get(row["name"], {}), row, "its maps give"):
            yield Finding(place, f"volume {row['name']}: {told}")
            break
    for told in unlike(record.metrics, scoring.summary(), "its maps give"):
        yield Finding(place, told)
