"""Comebacks: how far methods that were behind after one run came up in the end.

The values of the reference records are in `results/reference/comebacks.json`. To make the file
again: `python -m bench.choice.comebacks`. `run_bench.py verify` compares it with the records.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.ask.plain_values import from_plain
from bench.choice.arms import Arm, Evidence, gather, make_arms, validation_dice
from bench.choice.criterion import DICE
from bench.errors import UserError
from bench.files import parse_json, shipped_results, write_atomic
from bench.run.store import Store
from bench.spec import Cell, Record

FILE = "comebacks.json"
QUANTILE = 0.9
RUNS = 3  # runs of each method from which comebacks are computed

Values = dict[str, dict[str, list[float]]]  # dataset -> family -> comebacks in points


def comparable_races(records: Iterable[Record]) -> dict[str, list[Arm]]:
    """Dataset to the methods that can be compared on it, sorted by name, with their three seeds.

    They are those with the settings that most records of a dataset have in common: one split, all
    labels, the default recipe apart from the learning rate, pretrained weights, no prompts. Runs
    without a validation Dice do not count. Datasets without such methods are left out.
    """
    cells: dict[str, list[Cell]] = {}
    for record in records:
        cell = record.cell
        usual = cell.task.backbone == "none" or cell.task.weights == "pretrained"
        plain = cell.labels is None and cell.folds == 1 and not cell.test_dataset
        recipe = cell.recipe.steps == type(cell.recipe).steps and cell.protocol == "equal"
        usable = record.status == "ok" and validation_dice(record) is not None
        if usual and plain and recipe and usable and record.prompts == "none":
            cells.setdefault(cell.dataset_name, []).append(cell)
    races = {}
    for name, part in sorted(cells.items()):
        arms = make_arms(sorted(part, key=lambda cell: (cell.label, cell.id)))
        arms = [arm for arm in arms if len(arm.cells) == RUNS]
        if arms:
            races[name] = arms
    return races


def find_comebacks(records: Iterable[Record]) -> Values:
    """The comebacks on each dataset by family, sorted, rounded to 0.1 points.

    A comeback is the distance to the best after one run minus the distance after all runs, by the
    mean validation Dice; there is one for each method and each run that may come first.
    """
    stored = list(records)
    values: Values = {}
    for name, arms in comparable_races(stored).items():
        families: dict[str, list[float]] = {}
        for one, value in _comebacks(gather(arms, stored, DICE)):
            families.setdefault(one.family or "", []).append(round(value, 1))
        values[name] = {family: sorted(part) for family, part in sorted(families.items())}
    return values


def _comebacks(evidence: list[Evidence]) -> Iterable[tuple[Evidence, float]]:
    scores = np.array(
        [[one.runs[run].selection for run in range(RUNS)] for one in evidence], dtype=np.float64
    )
    means = scores.mean(1)
    finally_behind = means.max() - means
    for run in range(RUNS):
        behind = scores[:, run].max() - scores[:, run]
        yield from zip(evidence, (behind - finally_behind).tolist(), strict=True)


def quantiles(
    values: Mapping[str, Mapping[str, list[float]]], without: str = ""
) -> dict[str, float]:
    """Family to the 90 % quantile of its comebacks, in points, 0 or more.

    Args:
        values: of `find_comebacks`.
        without: name of a dataset that does not count, such as the one that a method is now chosen
            for.
    """
    families: dict[str, list[float]] = {}
    for name, parts in values.items():
        if name != without:
            for family, part in parts.items():
                families.setdefault(family, []).extend(part)
    return {name: max(0.0, float(np.quantile(part, QUANTILE))) for name, part in families.items()}


def load_comebacks() -> Values:
    """The comebacks of the reference records.

    Raises:
        UserError: the file is missing or is not valid.
    """
    path = shipped_results() / "reference" / FILE
    try:
        content = parse_json(path.read_text(), parse_constant=_no_number)["comebacks"]
        values: Values = from_plain(Mapping[str, Mapping[str, Sequence[float]]], content, "it")
        if not all(part for families in values.values() for part in families.values()):
            raise ValueError("a family has no comebacks")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {error}): restore it, or run python -m"
            " bench.choice.comebacks"
        ) from error
    return values


def _no_number(word: str) -> None:
    """Refuse NaN and infinity, which JSON of Python may hold."""
    raise ValueError(f"{word} is not a number")


def to_text(values: Values) -> str:
    """The text of the file."""
    about = (
        "Comebacks in points of validation Dice by dataset and kind of method, computed from the"
        " records by python -m bench.choice.comebacks"
    )
    lines = [
        f"  {json.dumps(name)}: {json.dumps(part, sort_keys=True)}"
        for name, part in sorted(values.items())
    ]
    body = ",\n".join(lines)
    return f'{{\n"about": {json.dumps(about)},\n"comebacks": {{\n{body}\n}}\n}}\n'


def write_comebacks(folder: Path) -> Path:
    """Compute the comebacks of a results folder, and write them to it.

    Raises:
        UserError: a record cannot be read, or the file cannot be written.
    """
    return write_atomic(folder / FILE, to_text(find_comebacks(Store(folder).stream())))


if __name__ == "__main__":
    write_comebacks(shipped_results() / "reference")
