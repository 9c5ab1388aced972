"""The kept models of a results folder: write, list, and remove all but the best."""

import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.split import Split
from bench.data.traits import ImageTraits
from bench.errors import UserError
from bench.keep.header import ModelHeader, Score, read_header
from bench.keep.model_card import write_card
from bench.spec import AUTO, Cell, Record

if TYPE_CHECKING:
    from torch import nn


def keep_model(
    module: "nn.Module",
    record: Record,
    parts: Split,
    origin: Mapping[str, str],
    path: Path,
    rule: str,
) -> None:
    """Write the model of a cell, and its model card next to it with the ending .md.

    Args:
        module: as trained.
        record: its result.
        parts: the items of the cell; all images that were tested are in `test`.
        origin: "source" and "licence" of the images.
        path: `Store.model` of the cell.
        rule: why it is kept, see `ModelHeader`.

    Raises:
        UserError: the file cannot be written.
    """
    from bench.keep.model_file import save_model

    images = ImageTraits.of(parts.train, (*parts.val, *parts.test))
    trained_on = {"train": tuple(item.name for item in parts.train)}
    header = ModelHeader.of_record(record, rule, images, trained_on, origin)
    write_card(path, save_model(module, path, header))


def scores_of(cell: Cell, records: Iterable[Record]) -> tuple[Score, ...]:
    """The Dice of all records with status ok and the settings of a cell.

    Seed, fold and number of folds may differ.

    Args:
        cell: of a model.
        records: of a results folder.
    """
    wanted = settings_id(cell)
    return tuple(
        _score(record)
        for record in records
        if record.status == "ok" and settings_id(record.cell) == wanted
    )


def chosen_zoom(cell: Cell, records: Iterable[Record]) -> int | None:
    """The zoom of a final model, which has no validation images of its own to choose it on.

    Args:
        cell: of the model.
        records: of a results folder.

    Returns:
        The zoom that most of the records with status ok and the settings of the cell chose, the
        smallest of several; None if the recipe of the cell names one.

    Raises:
        UserError: the zoom is to be chosen, and there is no such record.
    """
    if cell.recipe.zoom != AUTO:
        return None
    wanted = settings_id(cell)
    chosen = [
        int(record.env["zoom"]["chosen"])
        for record in records
        if record.status == "ok" and settings_id(record.cell) == wanted
    ]
    if not chosen:
        raise UserError(
            "--zoom auto of a final model is what runs with the same settings chose on their"
            " validation images, and the results folder has none: run the comparison first, or give"
            " --zoom N"
        )
    return min(statistics.multimode(chosen))


def write_cards(folder: Path, records: Iterable[Record], skip: Collection[Path] = ()) -> None:
    """Write the cards of all models of runs again, with the scores of the records.

    Args:
        folder: of the models; need not exist. The cards of final models in it are not changed.
        records: of the results folder; read only if there are models, one at a time.
        skip: cards that are not written.

    Raises:
        UserError: a card cannot be written, or a record cannot be read.
    """
    models = {
        path: header
        for path, header in list_models(folder).items()
        if not header.final and path.with_suffix(".md") not in skip
    }
    scores: dict[str, list[Score]] = {settings_id(header.cell): [] for header in models.values()}
    for record in records if models else ():
        if record.status == "ok" and (settings := settings_id(record.cell)) in scores:
            scores[settings].append(_score(record))
    for path, header in models.items():
        write_card(path, header, scores[settings_id(header.cell)])


def list_models(folder: Path) -> dict[Path, ModelHeader]:
    """The kept models in a folder, sorted by name; other files and damaged ones are left out.

    Args:
        folder: need not exist.
    """
    models = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            models[path] = read_header(path)
        except UserError:
            continue  # removed by another run just now, or not a model of this project
    return models


def worse_models(models: Mapping[Path, ModelHeader]) -> list[Path]:
    """The models of runs that are not the best of their method; final models do not compete.

    Models compete if their cells differ in seed and fold only. The best has the highest Dice on its
    own validation part (a model without it is worse than one with it); of equal ones it is the
    first in the order of `models`.
    """
    best: dict[str, Path] = {}
    runs = {path: header for path, header in models.items() if not header.final}
    for path, header in runs.items():
        rival = best.setdefault(_group(header.cell), path)
        if _rank(header) > _rank(models[rival]):
            best[_group(header.cell)] = path
    return [path for path in runs if path not in best.values()]


def remove_worse_models(folder: Path, *, also_kept_all: bool = False) -> list[Path]:
    """Remove the models of runs that are not the best of their method, with their model cards.

    Final models in this folder are never removed.

    Args:
        folder: need not exist.
        also_kept_all: remove also models of runs with `--keep all`; otherwise only those that were
            kept as "best" are removed.

    Returns:
        The paths of the removed models.
    """
    models = list_models(folder)
    removed = [
        path for path in worse_models(models) if also_kept_all or models[path].rule == "best"
    ]
    for path in removed:
        path.unlink(missing_ok=True)
        path.with_suffix(".md").unlink(missing_ok=True)
    return removed


def _score(record: Record) -> Score:
    return Score(record.cell.id, record.metrics.get("dice_dataset"))


def _group(cell: Cell) -> str:
    """What the cells that differ in seed and fold only have in common."""
    return replace(cell, seed=0, fold=0).id


def settings_id(cell: Cell) -> str:
    """The id of a cell with seed 0, fold 0 and one fold.

    It is equal for all cells that differ only in seed, fold and number of folds.
    """
    return replace(cell, seed=0, fold=0, folds=1).id


def _rank(header: ModelHeader) -> float:
    dice = header.validation_dice
    return -1.0 if dice is None else dice
