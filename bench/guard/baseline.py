"""The baseline of the guard: a JSON file with a grid, the environment, and measured figures.

A baseline covers either the built-in methods, with a small grid that is trained, or the methods of
plugins, without a grid.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # of pydantic, which needs it before Python 3.12

from bench.ask.plain_values import from_plain, to_plain
from bench.errors import UserError
from bench.files import check_regular, parse_json, write_atomic
from bench.guard.fingerprint import Fingerprint

if TYPE_CHECKING:
    from bench.ask.request import Request
    from bench.spec import Cell

SCHEMA = 2
COVERS = ("built-in", "plugins")  # the methods of a baseline
LARGEST = 1e30  # the square of a number in a file is a float

# For a new file; the same as in results/reference/guard.json.
DEFAULT_GRID = """{
    "methods": "lora,unet",
    "datasets": "steel",
    "image_size": 128,
    "steps": 60,
    "precision": "fp32"
}"""


class Machine(TypedDict):
    """What is compared of an environment."""

    system: str
    cpu: str | None
    packages: Mapping[str, Any]


_ENV = Machine.__annotations__


class NoBaselineError(UserError):
    """The file does not exist; `--write` makes one."""


@dataclass(frozen=True)
class Run:
    """Figures of one trained cell; all None but `error` if it failed.

    Attributes:
        dice: Dice score in [0, 1] over the pixels of all test images, mean of foreground classes.
        train_peak_bytes: peak memory of one training step, in bytes; None if nothing is trainable.
        speed_ratio: images per second in training, divided by those of the reference step in
            `bench.guard.reference_step`; "pace" in the file. None if nothing is trainable.
        error: why it failed, in one sentence; None if it did not.
    """

    dice: float | None = None
    train_peak_bytes: int | None = None
    speed_ratio: Annotated[float | None, Field(alias="pace")] = None
    error: str | None = None


@dataclass(frozen=True)
class Figures:
    """Figures of one run of the guard.

    Attributes:
        grid: fields of the `bench.ask.request.Request` that was trained, those that differ from
            their defaults; empty if nothing was trained.
        env: environment, as in a record, and `numerics` of `bench.guard.machine`.
        contents: fingerprint of the dataset and SHA-256 of the pretrained weights, by name.
        counts: name of each method that could be counted, to its exact costs by "part: measure".
        runs: label of a method with its options to one entry for each seed.
        fingerprints: by name, of the methods that could be built and trained.
        losses: values of the loss functions, see `bench.guard.fingerprint.loss_values`.
        covers: an entry of `COVERS`.
        runs_env: environment of `runs` and `contents` where it is not `env`, because these were
            taken over from an older baseline; otherwise empty.
        failures: methods that cannot be built or trained, with the reason; not in a file.
    """

    grid: Mapping[str, Any]
    env: Mapping[str, Any]
    contents: Mapping[str, str]
    counts: Mapping[str, Mapping[str, int]]
    runs: Mapping[str, Sequence[Run]]
    fingerprints: Mapping[str, Fingerprint] = field(default_factory=dict)
    losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    covers: str = COVERS[0]
    runs_env: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)


def read_request(path: Path) -> "Request | None":
    """The request of a baseline's grid; None if it trains nothing, as for plugins.

    Neither the schema nor the ranges of the values are checked.

    Raises:
        NoBaselineError: the file does not exist.
        UserError: the file cannot be read, has no grid, or its grid has an unknown field or a value
            of another type.
    """
    from bench.ask.request import Request

    values = _load(path)
    if "grid" not in values:
        raise _foreign(path, "it has no grid")
    if values["grid"] == {}:
        return None
    try:
        request: Request = from_plain(Request, values["grid"], "it")
        return request
    except TypeError as error:
        raise UserError(
            f"the grid in {path} cannot be read ({error}): mend it, or remove the file and make it "
            "anew with --write"
        ) from error


def request_to_write(path: Path, covers: str) -> "tuple[Request | None, str, str]":
    """The request of a new baseline, the methods that it covers, and a note on its grid.

    What an existing baseline covers, and its grid, are kept: the user may have edited it. Nothing
    is written here.

    Args:
        path: of the baseline.
        covers: an entry of `COVERS`, for a file that does not exist.

    Returns:
        The request, None where nothing is trained; an entry of `COVERS`; and a sentence.

    Raises:
        UserError: the file exists and cannot be read, is not a baseline, or its grid has an unknown
            field. Such a file is never overwritten.
    """
    from bench.ask.request import Request

    try:
        request = read_request(path)
    except NoBaselineError:
        if covers == "plugins":
            return None, covers, f"{path} does not exist: a new baseline of your own methods"
        request = Request(**json.loads(DEFAULT_GRID))
        return request, covers, f"{path} does not exist: the default grid is used"
    covers = _load(path).get("covers", COVERS[0])
    if covers == "plugins":
        return request, covers, f"{path} is a baseline of your own methods"
    if request is None:
        request = Request(**json.loads(DEFAULT_GRID))
        return request, covers, f"{path} has no grid: the default grid is used"
    return request, covers, f"the grid in {path} is kept"


def read(path: Path) -> Figures:
    """The baseline in a file.

    Raises:
        NoBaselineError: the file does not exist.
        UserError: the file cannot be read, is not a baseline of this `SCHEMA`, has a value of
            another type, or fewer than two seeds of a method.
    """
    values = _load(path)
    schema = values.pop("schema", None)
    if schema != SCHEMA:
        raise _foreign(path, f"its schema is {schema}, this version reads {SCHEMA}")
    try:
        figures: Figures = from_plain(Figures, values, "it")
        for env in (figures.env, figures.runs_env or figures.env):
            compared = {name: value for name, value in env.items() if name in _ENV}
            from_plain(Machine, compared, "the environment")
    except TypeError as error:
        raise _foreign(path, str(error)) from error
    if figures.covers not in COVERS:
        raise _foreign(path, f"it covers '{figures.covers}', not {' or '.join(COVERS)}")
    if any(LARGEST < abs(number) < math.inf for number in _numbers(values)):
        raise _foreign(path, f"it has a number beyond {LARGEST:g}")
    prints = figures.fingerprints.values()
    if any(len(norms) != 2 for one in prints for norms in one.gradients.values()):
        raise _foreign(path, "gradients have not the norms of two steps")
    if bare := sorted({*figures.counts} - {*figures.fingerprints}):
        raise _foreign(path, f"{bare[0]} has counts without a fingerprint")
    for runs in figures.runs.values():
        if len(runs) < 2:
            raise _foreign(path, "an interval needs two seeds of each method")
        for run in runs:
            if run.dice is None or not 0 <= run.dice <= 1 or run.train_peak_bytes == 0:
                raise _foreign(path, "a run has no Dice score from 0 to 1, or a peak of no bytes")
    return figures


def write(figures: Figures, path: Path) -> None:
    """Write a baseline as JSON; an existing file is replaced, a missing folder is made.

    Raises:
        UserError: a cell or a method failed (nothing is written then), or the file cannot be
            written.
    """
    failed = [run.error for runs in figures.runs.values() for run in runs if run.error]
    failed += [f"{name}: {why}" for name, why in figures.failures.items()]
    if failed:
        raise UserError(f"no baseline is written, because a run failed: {failed[0]}")
    left_out = {"failures": True, "fingerprints": {"__all__": {"trace"}}}
    values = {"schema": SCHEMA, **to_plain(figures, left_out)}
    write_atomic(path, _lines(values, 3) + "\n")


def _lines(values: Mapping[str, Any], depth: int, indent: str = " ") -> str:
    """JSON with one line for each entry of the outer `depth` objects, so that diffs are short."""
    entries = [
        f"{indent}{json.dumps(key)}: "
        + (
            _lines(value, depth - 1, f"{indent} ")
            if depth > 1 and isinstance(value, dict) and value
            else json.dumps(value)
        )
        for key, value in values.items()
    ]
    return "{\n" + ",\n".join(entries) + f"\n{indent[1:]}}}"


def cells(request: "Request", seeds: int) -> "list[Cell]":
    """The cells of a grid on one dataset.

    The search for overlapping images is left out: it depends on the dataset only, and takes as long
    as a training.

    Args:
        request: the grid, with one dataset; its own `seeds` are not used.
        seeds: number of seeds of each method, counted from 0.

    Raises:
        UserError: the grid names something that does not exist, its dataset cannot be loaded, or a
            value is not allowed.
    """
    from bench.ask.grid import LoadedDataset, expand
    from bench.data.fingerprint import fingerprint
    from bench.plugins.registry import load_collection

    collection = load_collection(request.datasets)
    data = {request.datasets: LoadedDataset(collection, fingerprint(collection), ((),))}
    return expand(replace(request, seeds=str(seeds)), data)[0]


def _numbers(values: Any) -> Iterator[float]:
    """All numbers in values of JSON."""
    if isinstance(values, float | int):
        yield values
    elif isinstance(values, dict | list):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _numbers(value)


def _load(path: Path) -> dict[str, Any]:
    try:
        check_regular(path)
        values = parse_json(path.read_text())
    except FileNotFoundError as error:
        raise NoBaselineError(
            f"no baseline at {path}: make it with --write, or give another by --baseline FILE"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): give another file") from error
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise _foreign(path, str(error)) from error
    if not isinstance(values, dict):
        raise _foreign(path, "it is not a JSON object")
    return values


def _foreign(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is not a baseline of this guard ({why}): give another --baseline FILE, or remove"
        " the file and make it with --write"
    )
