"""Predict files and folders into a folder of label maps, overlays and tables; can be resumed."""

import ctypes
import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.errors import DivergedError, UserError, WriteError
from bench.files import atomic_path, file_sha256, remove_leftovers, write_atomic
from bench.predict.model import KeptModel
from bench.predict.picture_job import PictureJob
from bench.predict.pictures import Picture
from bench.predict.prompts import ImagePrompts, read_prompts
from bench.predict.resume import PictureState, done_before, objects_path, stamp, state_path
from bench.predict.settings import PredictionSettings
from bench.predict.table import OBJECT_COLUMNS, columns_of, write_header, write_rows

LARGE_BYTES = 1 << 20  # 1 MiB
_M_MMAP_THRESHOLD = -3  # of mallopt(3)


@dataclass(frozen=True)
class PictureProgress:
    """How far the prediction is.

    Attributes:
        name: of the image or volume.
        number: of the image or volume, from 1.
        total: number of images and volumes.
        share: of the image or volume that is done, in [0, 1].
    """

    name: str
    number: int
    total: int
    share: float


@dataclass(frozen=True)
class PictureDone:
    """An image or volume is done, or has failed.

    Attributes:
        name: of the image or volume.
        seconds: None where it was done before, or where it failed.
        evaluation: "whole", "tiles" or "generator"; "" where it failed.
        error: why it failed, in one sentence; None where it did not.
    """

    name: str
    seconds: float | None
    evaluation: str
    error: str | None = None


Say = Callable[[PictureProgress | PictureDone], None]


def predict_files(
    model: KeptModel,
    pictures: Sequence[Picture],
    out: Path,
    settings: PredictionSettings,
    say: Say = lambda event: None,
) -> list[PictureDone]:
    """Predict every picture; those predicted before in the same way are not predicted again.

    The same way is the same model, settings and file, with the outputs still there. Writes into
    `out`: `labels/` (class maps of the size of the images: PNG, or TIFF for volumes and very large
    images), `objects/` (numbers of objects, where the model separates them), `overlays/`,
    `probability/` and `uncertainty/` on request, and `.done/` (what makes it resume, also within an
    image that is predicted in windows and within a volume). At the end, unless all failed,
    `table.csv` (one row per image or slice, and one per volume) and `objects.csv` (one row per
    object). A picture that cannot be predicted is reported, and the others go on.

    Args:
        model: of `load_model`.
        pictures: of `open_pictures`.
        out: is made.
        settings: how.
        say: called with the progress.

    Returns:
        One entry per picture, in their order, those that failed included.

    Raises:
        UserError: the settings are not allowed or do not fit the model, or the prompts cannot be
            read.
        WriteError: `out` cannot be written; pictures that were done before remain.
    """
    settings.check()
    prompts = _read_prompts(model, settings)
    made_from = {"model": file_sha256(model.path), **settings.to_plain()}
    if model.proposer_path is not None:
        made_from["proposer"] = file_sha256(model.proposer_path)
    made_from["columns"] = list(OBJECT_COLUMNS)
    remove_leftovers(out)
    outcomes, states = [], []
    for number, picture in enumerate(pictures, start=1):
        job = PictureJob(model, picture, out, settings, prompts)

        def report(share: float, picture: Picture = picture, number: int = number) -> None:
            say(PictureProgress(picture.name, number, len(pictures), share))

        outcome, state = _predict(job, made_from, report)
        outcomes.append(outcome)
        if state is not None:
            states.append(state)
        say(outcome)
    if states:
        _write_tables(out, states, [done.name for done in outcomes if done.error is None])
    return outcomes


def _write_tables(out: Path, states: Sequence[PictureState], names: Sequence[str]) -> None:
    """Write `table.csv` and `objects.csv` of the pictures that are done."""
    rows = [row for state in states for row in state.rows]
    columns = columns_of(rows)
    with (
        atomic_path(out / "table.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        write_header(file, columns)
        write_rows(file, rows, columns)
    with (
        atomic_path(out / "objects.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        write_header(file, OBJECT_COLUMNS)
        for name in names:
            with objects_path(out, name).open(encoding="utf-8", newline="") as part:
                shutil.copyfileobj(part, file)


def _predict(
    job: PictureJob, made_from: dict[str, Any], report: Callable[[float], None]
) -> tuple[PictureDone, PictureState | None]:
    """Predict a picture unless that was done before; its state is None where it failed."""
    picture, began = job.picture, time.monotonic()
    try:
        if picture.error is not None:
            raise UserError(picture.error)
        inputs = made_from | stamp(picture)
        state = done_before(job.out, picture.name, inputs)
        if state is not None:
            return PictureDone(picture.name, None, state.evaluation), state
        state = job.run(inputs, report)
        write_atomic(state_path(job.out, picture.name), json.dumps(asdict(state)))
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(
            f"cannot write to {job.out} ({error.strerror or error}): give --out a folder that you"
            " may write to, with enough space; the same command then goes on"
        ) from error
    except (UserError, DivergedError) as error:
        return PictureDone(picture.name, None, "", _reason(picture, error)), None
    return PictureDone(picture.name, time.monotonic() - began, state.evaluation), state


def _read_prompts(model: KeptModel, settings: PredictionSettings) -> dict[str, ImagePrompts]:
    rule = model.model.prompt_rule
    if not model.takes_prompts or rule is None:
        if settings.prompts is not None:
            raise UserError(f"{model.path} takes no prompts: leave --prompts out")
        return {}
    if settings.prompts is None:
        raise UserError(
            f"{model.path} was trained with a {rule.kind} for each {rule.unit}: give --prompts"
            " FILE, a CSV file or (boxes only) a COCO file, or --proposer FILE, a kept model that"
            " learned distances"
        )
    return read_prompts(settings.prompts, rule, model.header.classes)


def _reason(picture: Picture, error: Exception) -> str:
    """Why a picture was not predicted, in one sentence with its name."""
    if not isinstance(error, DivergedError):
        return str(error)
    return (
        f"cannot predict {picture.path}: {str(error).partition(':')[0]}; train the model again with"
        " --precision fp32 or a lower learning rate"
    )


def return_large_blocks() -> None:
    """Let glibc return arrays above `LARGE_BYTES` to the system as soon as they are freed.

    By default glibc raises this limit to 32 MiB while a program runs. The arrays of bands then come
    from its heap, which cannot shrink while small arrays lie between them: memory grew by 12 bytes
    for each predicted pixel of an image of 20,000 px width. Applies to
    the whole process; other C libraries are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
