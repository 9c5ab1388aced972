"""Predict files and folders into a folder of label maps, overlays and tables; can be resumed."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.decode import Levels
from bench.data.stacks import stack_starts
from bench.errors import DivergedError, UserError
from bench.evaluate.tiles import ImageRows
from bench.files import file_sha256, write_atomic
from bench.predict.model import KeptModel
from bench.predict.objects import ObjectMeter
from bench.predict.outputs import MapFile, Overlay
from bench.predict.pictures import Picture, Pixels8
from bench.predict.prompts import ImagePrompts, prompts_of, read_prompts
from bench.predict.resume import PictureState, done_before, stamp
from bench.predict.segmentation import Band
from bench.predict.table import OBJECT_COLUMNS, Row, object_rows, readings_row, to_csv

MAPS = ("probability", "uncertainty")
TYPES = {"labels": np.uint8, "objects": np.int32}  # of stored maps; others are float32


@dataclass(frozen=True)
class PredictionSettings:
    """How images are predicted, and what is written.

    Attributes:
        evaluation: "auto", "whole" or "tiles".
        maps: of `MAPS`: "probability" of the foreground, "uncertainty"; float32 TIFF.
        levels: the stored values that become 0 and 255; None: as for the images of a training.
        prompts: CSV or COCO file with boxes or points, for models that take them.
        pixel_size: side of a pixel in any unit; sizes and places of objects come in this unit.
        min_area: smaller objects, in pixels, are not in the tables; label maps still have them.
        tiff: write label maps as TIFF, also where PNG could hold them.
    """

    evaluation: str = "auto"
    maps: tuple[str, ...] = ()
    levels: Levels | None = None
    prompts: Path | None = None
    pixel_size: float = 1.0
    min_area: int = 1
    tiff: bool = False

    def check(self) -> None:
        """Check the values, except `evaluation` and `prompts`, which depend on the model.

        Raises:
            UserError: the first value that is not allowed.
        """
        for name in self.maps:
            if name not in MAPS:
                raise UserError(f"--maps cannot be '{name}': give {' or '.join(MAPS)}, or both")
        if self.levels is not None and not self.levels[0] < self.levels[1]:
            raise UserError("--levels LOW,HIGH needs a low value below the high one")
        if not 0 < self.pixel_size < float("inf"):
            raise UserError(f"--pixel-size is {self.pixel_size:g}: give a number above 0")
        if self.min_area < 1:
            raise UserError(f"--min-area is {self.min_area}: give 1 or more")


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
    images), `objects/` (numbers of objects, where a mask generator separates them), `overlays/`,
    `probability/` and `uncertainty/` on request, and `.done/` (what makes it resume). At the end,
    unless all failed, `table.csv` (one row per image or slice, and one per volume) and
    `objects.csv` (one row per object). A picture that cannot be predicted is reported, and the
    others go on.

    Args:
        model: of `load_model`.
        pictures: of `open_pictures`.
        out: is made.
        settings: how.
        say: called with the progress.

    Returns:
        One entry per picture, in their order, those that failed included.

    Raises:
        UserError: the settings are not allowed or do not fit the model, the prompts cannot be read,
            or `out` cannot be written.
    """
    settings.check()
    prompts = _read_prompts(model, settings)
    made_from = {"model": file_sha256(model.path), **_plain(settings)}
    outcomes, states = [], []
    for number, picture in enumerate(pictures, start=1):
        path = out / ".done" / f"{picture.name}.json"
        began, seconds = time.monotonic(), None  # None: predicted before

        def report(share: float, picture: Picture = picture, number: int = number) -> None:
            say(PictureProgress(picture.name, number, len(pictures), share))

        try:
            if picture.error is not None:
                raise UserError(picture.error)
            inputs = made_from | stamp(picture)
            state = done_before(path, out, inputs)
            if state is None:
                state = _PictureJob(model, picture, out, settings, prompts).run(inputs, report)
                seconds = time.monotonic() - began
        except OSError as error:
            raise UserError(
                f"cannot write to {out} ({error.strerror or error}): give --out a folder that"
                " you may write to, with enough space; the same command then goes on"
            ) from error
        except (UserError, DivergedError) as error:
            outcome = PictureDone(picture.name, None, "", _reason(picture, error))
        else:
            if seconds is not None:
                write_atomic(path, json.dumps(asdict(state)))
            outcome = PictureDone(picture.name, seconds, state.evaluation)
            states.append(state)
        outcomes.append(outcome)
        say(outcome)
    if states:
        rows = [row for state in states for row in state.rows]
        objects = [row for state in states for row in state.objects]
        write_atomic(out / "table.csv", to_csv(rows))
        write_atomic(out / "objects.csv", to_csv(objects, OBJECT_COLUMNS))
    return outcomes


class _PictureJob:
    """The prediction of one picture, with all its outputs."""

    def __init__(
        self,
        model: KeptModel,
        picture: Picture,
        out: Path,
        settings: PredictionSettings,
        prompts: dict[str, ImagePrompts],
    ) -> None:
        self._model, self._picture, self._out = model, picture, out
        self._settings, self._prompts = settings, prompts
        self._names = model.header.classes

    def run(self, made_from: dict[str, Any], report: Callable[[float], None]) -> PictureState:
        """Write the outputs; returns what remains to be remembered."""
        picture, settings = self._picture, self._settings
        evaluation = self._model.choose_evaluation(picture.size, settings.evaluation)
        state, rows = PictureState(made_from, evaluation), []
        counts = np.zeros(len(self._names), np.int64)
        separated = ("objects",) if evaluation == "generator" else ()
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(
                    MapFile(
                        self._out / name / picture.name,
                        picture.size,
                        picture.slices,
                        TYPES.get(name, np.float32),
                        settings.tiff,
                    )
                )
                for name in ("labels", *settings.maps, *separated)
            }
            for index, (image, bands) in enumerate(self._slices(evaluation)):
                shown = Overlay(picture.size) if index == picture.slices // 2 else None
                row, objects = self._slice(index, image, bands, files, shown, report)
                rows.append(row)
                state.objects += objects
                counts += row.pop("counts")
                if shown is not None:
                    shown.write(self._out / "overlays" / f"{picture.name}.png")
            written = [file.write() for file in files.values()]
        state.files = [str(path.relative_to(self._out)) for path in written]
        state.rows = [row | {"evaluation": evaluation} for row in rows]
        if picture.slices > 1:
            whole = readings_row(counts.tolist(), None, self._names, 1.0)
            state.rows.append({"image": picture.name, "slice": "all", **whole})
        return state

    def _slice(
        self,
        index: int,
        image: ImageRows,
        bands: Iterator[Band],
        files: dict[str, MapFile],
        shown: Overlay | None,
        report: Callable[[float], None],
    ) -> tuple[Row, list[Row]]:
        """Predict one slice, or the image; returns its row and those of its objects."""
        picture, settings, count = self._picture, self._settings, len(self._names)
        meter, counts = ObjectMeter(count), np.zeros(count, np.int64)
        sums = dict.fromkeys(MAPS, 0.0)
        for band in bands:
            values: dict[str, npt.NDArray[Any]] = {
                "labels": band.classes,
                "probability": band.foreground,
                "uncertainty": band.uncertainty,
            }
            if band.objects is not None:
                values["objects"] = band.objects
            for name, file in files.items():
                file.add(values[name])
            for name in MAPS:
                sums[name] += float(values[name].sum(dtype=np.float64))
            counts += np.bincount(band.classes.ravel(), minlength=count)
            meter.add(band.classes, band.objects)
            if shown is not None:
                shown.add(image[band.rows], band.classes, band.rows.start)
            report((index + band.rows.stop / picture.size[0]) / picture.slices)
        number = index if picture.slices > 1 else None
        objects = meter.finish(settings.min_area)
        pixels = int(counts.sum())
        row = {
            "image": picture.name,
            "slice": number,
            "height": picture.size[0],
            "width": picture.size[1],
            **readings_row(counts.tolist(), objects, self._names, settings.pixel_size),
            "mean_probability": sums["probability"] / pixels,
            "mean_uncertainty": sums["uncertainty"] / pixels,
            "counts": counts,
        }
        return row, object_rows(picture.name, number, objects, self._names, settings.pixel_size)

    def _slices(self, evaluation: str) -> Iterator[tuple[ImageRows, Iterator[Band]]]:
        """Rows and bands of each slice in order."""
        picture, depth = self._picture, self._model.depth
        if depth == 1:
            for index in range(picture.slices):
                pixels = self._read(index)
                prompts = self._prompts_of(index)
                try:
                    yield pixels.rows, self._model.bands(pixels.rows, evaluation, prompts)
                finally:
                    pixels.close()
            return
        if picture.slices < depth:
            raise UserError(
                f"{picture.path} has {picture.slices} slices, but this model takes stacks of"
                f" {depth}: give a volume, as TIFF of several pages or NIfTI"
            )
        done = 0
        for start in stack_starts(picture.slices, depth):
            stack = [self._read(index) for index in range(start, start + depth)]
            drawn = [self._prompts_of(index) for index in range(start, start + depth)]
            bands = self._model.stack_bands(stack, [one for one in drawn if one is not None])
            for pixels, band in list(zip(stack, bands, strict=True))[done - start :]:
                yield pixels.rows, iter([band])
            done = start + depth

    def _read(self, index: int) -> Pixels8:
        pixels = self._picture.read(index, self._settings.levels)
        self._model.check_kind(pixels, self._settings.levels, str(self._picture.path))
        return pixels

    def _prompts_of(self, index: int) -> ImagePrompts | None:
        """Prompts of the image; those of a slice have its number from 0 behind the name and `#`."""
        if not self._model.takes_prompts:
            return None
        assert self._settings.prompts is not None, "checked before"
        name = self._picture.path.name
        if self._picture.slices > 1:
            name = f"{name}#{index}"
        return prompts_of(name, self._prompts, self._settings.prompts)


def _read_prompts(model: KeptModel, settings: PredictionSettings) -> dict[str, ImagePrompts]:
    rule = model.model.prompt_rule
    if not model.takes_prompts or rule is None:
        if settings.prompts is not None:
            raise UserError(f"{model.path} takes no prompts: leave --prompts out")
        return {}
    if settings.prompts is None:
        raise UserError(
            f"{model.path} was trained with a {rule.kind} for each {rule.unit}: give --prompts"
            " FILE, a CSV file or (boxes only) a COCO file"
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


def _plain(settings: PredictionSettings) -> dict[str, Any]:
    """The settings as JSON holds them; a file of prompts by its content."""
    values = json.loads(json.dumps(asdict(settings), default=str))
    if settings.prompts is not None:
        values["prompts"] = file_sha256(settings.prompts)
    return dict(values)
