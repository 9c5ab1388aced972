"""The baseline of the guard: a JSON file with a grid, where it was measured, and what came out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.files import write_atomic

if TYPE_CHECKING:
    from bench.ask.request import Request
    from bench.spec import Cell

SCHEMA = 1

# For where there is no baseline to take the grid from: that of results/reference/guard.json.
DEFAULT_GRID = """{
    "methods": "lora,adapter,frozen_head,unet",
    "datasets": "steel",
    "image_size": 128,
    "steps": 60,
    "precision": "fp32"
}"""


class NoBaselineError(UserError):
    """There is no file, or it is no baseline; `--write` makes one."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"{why}: {remedy}")
        self.why = why


@dataclass(frozen=True)
class Run:
    """One trained cell; None where it did not come through, and `error` says why.

    Attributes:
        dice: mean over the foreground classes, of the pixels of all test images.
        train_peak_bytes: of one training step.
        pace: images a second in training over those of the reference step, see
            `bench.guard.reference_step`.
        error: one sentence.
    """

    dice: float | None = None
    train_peak_bytes: int | None = None
    pace: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Figures:
    """What one run of the guard found.

    Attributes:
        grid: what was trained, in the words of `bench.ask.request.Request`.
        env: where, as in a record.
        contents: SHA-256 of the dataset and of the pretrained weights, by name.
        counts: exact figures of the cost card, of every method that can be used here.
        runs: one entry a seed, by method.
    """

    grid: Mapping[str, Any]
    env: Mapping[str, Any]
    contents: Mapping[str, str]
    counts: Mapping[str, Mapping[str, int]]
    runs: Mapping[str, Sequence[Run]]


def read_request(path: Path) -> "Request":
    """What the grid of a baseline asks for.

    Raises:
        NoBaselineError: there is no file, or it holds no grid.
        UserError: the file cannot be read, or its grid asks for what there is not.
    """
    from bench.ask.request import Request

    values = _load(path)
    if "grid" not in values:
        raise _foreign(path, "it holds no grid")
    try:
        return Request(**values["grid"])
    except TypeError as error:
        raise UserError(
            f"the grid in {path} cannot be read ({error}): mend it, or remove the file and make it "
            "anew with --write"
        ) from error


def request_to_write(path: Path) -> "tuple[Request, str]":
    """What a new baseline asks for, and in words where that is from.

    The grid of the old one is kept, for it may have been edited; where there is none, the default.

    Raises:
        UserError: there is a file but it cannot be read, or its grid asks for what there is not.
    """
    from bench.ask.request import Request

    try:
        return read_request(path), f"the grid in {path} is kept"
    except NoBaselineError as error:
        return Request(**json.loads(DEFAULT_GRID)), f"{error.why}: the default grid is taken"


def read(path: Path) -> Figures:
    """The baseline in a file.

    Raises:
        NoBaselineError: there is no file, or it is no baseline.
        UserError: the file cannot be read.
    """
    values = _load(path)
    schema = values.pop("schema", None)
    if schema != SCHEMA:
        raise _foreign(path, f"its schema is {schema}, this version reads {SCHEMA}")
    try:
        runs = {name: [Run(**run) for run in found] for name, found in values.pop("runs").items()}
        figures = Figures(**values, runs=runs)
    except (KeyError, TypeError, AttributeError) as error:
        raise _foreign(path, f"{type(error).__name__}: {error}") from error
    if any(len(found) < 2 for found in runs.values()):
        raise _foreign(path, "an interval needs two seeds of each method")
    return figures


def write(figures: Figures, path: Path) -> None:
    """Write a baseline.

    Raises:
        UserError: a cell did not come through, or the file cannot be written.
    """
    failed = [run.error for found in figures.runs.values() for run in found if run.error]
    if failed:
        raise UserError(f"no baseline is written, for a cell ended with: {failed[0]}")
    write_atomic(path, json.dumps({"schema": SCHEMA, **asdict(figures)}, indent=1) + "\n")


def cells(request: "Request", seeds: int) -> "list[Cell]":
    """The cells of a grid on one dataset, of `seeds` seeds each.

    The leakage gate is left out: it looks at the dataset alone, and takes as long as a training.

    Raises:
        UserError: the grid asks for what there is not.
    """
    from bench.ask.grid import Data, expand
    from bench.data.fingerprint import fingerprint
    from bench.plugins.registry import load_collection

    collection = load_collection(request.datasets)
    data = {request.datasets: Data(collection, fingerprint(collection), ((),))}
    return expand(replace(request, seeds=str(seeds)), data)[0]


def _load(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise NoBaselineError(
            f"no baseline at {path}", "make it with --write, or give another by --baseline FILE"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): give another file") from error
    except ValueError as error:
        raise _foreign(path, str(error)) from error
    if not isinstance(values, dict):
        raise _foreign(path, "it holds no object")
    return values


def _foreign(path: Path, why: str) -> NoBaselineError:
    return NoBaselineError(
        f"{path} is no baseline of this guard ({why})", "make it anew with --write"
    )
