"""The prediction of one picture with all its outputs."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.data.stacks import stack_starts
from bench.errors import UserError
from bench.evaluate.scoring import Map
from bench.evaluate.tiles import ImageRows
from bench.files import atomic_path
from bench.metrics.object_meter import ObjectMeter
from bench.objects.rules import ObjectRule
from bench.objects.stored import row_bands
from bench.predict.model import KeptModel
from bench.predict.outputs import Overlay, write_map
from bench.predict.pictures import Picture, Pixels8
from bench.predict.prompts import ImagePrompts, prompts_of
from bench.predict.resume import PictureState, objects_path
from bench.predict.segmentation import BAND_PX, Band
from bench.predict.settings import MAPS, PredictionSettings
from bench.predict.stored_slice import StoredSlice, distance_names
from bench.predict.table import OBJECT_COLUMNS, Row, object_rows, readings_row, write_rows
from bench.predict.unfinished import Unfinished

TYPES = {"labels": np.uint8, "objects": np.int32}  # of stored maps; others are float32


class PictureJob:
    """Predicts one picture and writes its maps and overlay.

    Args:
        model: of `load_model`.
        picture: of `open_pictures`.
        out: folder of all outputs.
        settings: how.
        prompts: of `read_prompts`; empty for a model that takes none.
    """

    def __init__(
        self,
        model: KeptModel,
        picture: Picture,
        out: Path,
        settings: PredictionSettings,
        prompts: dict[str, ImagePrompts],
    ) -> None:
        self.picture, self.out = picture, out
        self._model, self._settings, self._prompts = model, settings, prompts
        self._pixel_size = 1.0
        rule = model.model.object_rule
        self._rule = rule if rule.separates else None

    def run(self, made_from: dict[str, Any], report: Callable[[float], None]) -> PictureState:
        """Write the outputs; goes on behind the rows that an earlier command has left.

        Args:
            made_from: what the prediction depends on.
            report: called with the share that is done, in [0, 1].

        Returns:
            What remains to be remembered.

        Raises:
            UserError: the picture cannot be read, or this model cannot predict it.
            DivergedError: a logit is not finite.
            WriteError or OSError: an output cannot be written.
        """
        picture, class_names = self.picture, self._model.header.classes
        self._pixel_size = self._settings.side_of_pixel(picture)
        evaluation = self._model.choose_evaluation(picture.size, self._settings.evaluation)
        separated = ("objects",) if self._model.separates_objects else ()
        names = ("labels", *self._settings.maps, *separated)
        types = {name: np.dtype(TYPES.get(name, np.float32)) for name in names}
        first, later = self._order(types)
        state, counts = PictureState(made_from, evaluation), np.zeros(len(class_names), np.int64)
        folder = self.out / ".done" / f"{picture.name}.rows"
        with (
            Unfinished(folder, picture.size[1], first, made_from, later) as maps,
            atomic_path(objects_path(self.out, picture.name)) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as table,
        ):
            for index, (image, parts) in enumerate(self._slices(evaluation, maps.rows)):
                measures = self._predict(index, image, parts, maps, report)
                row, objects = self._rows(index, measures, maps.sums[index])
                state.rows.append(row | {"evaluation": evaluation})
                write_rows(table, objects, OBJECT_COLUMNS)
                counts += measures.counts
            for name in names:
                target, shape = self.out / name / picture.name, (picture.slices, *picture.size)
                path = write_map(target, maps.file(name), shape, types[name], self._settings.tiff)
                state.files.append(str(path.relative_to(self.out)))
        if picture.slices > 1:
            whole = readings_row(counts.tolist(), None, class_names, 1.0)
            state.rows.append({"image": picture.name, "slice": "all", **whole})
        return state

    def _predict(
        self,
        index: int,
        image: ImageRows,
        bands: Iterator[Band],
        maps: Unfinished,
        report: Callable[[float], None],
    ) -> "_Measures":
        """Predict one slice, or the image, write its overlay, and measure it."""
        picture = self.picture
        shown = Overlay(picture.size) if index == picture.slices // 2 else None
        measures = _Measures(len(self._model.header.classes), image, shown)
        self._take_again(index, maps, measures)
        if len(maps.sums) == index:
            maps.sums.append(dict.fromkeys(MAPS, 0.0))
        for band in bands:
            values: dict[str, npt.NDArray[Any]] = {
                "labels": band.classes,
                "probability": band.foreground,
                "uncertainty": band.uncertainty,
            }
            if band.objects is not None:
                values["objects"] = band.objects
            if band.distances is not None:
                values |= dict(
                    zip(distance_names(len(band.distances)), band.distances, strict=True)
                )
            maps.add(values)
            for name in MAPS:
                maps.sums[index][name] += float(values[name].sum(dtype=np.float64))
            measures.add(band.rows.start, band.classes)
            if self._rule is None:
                measures.meter.add(band.classes, band.objects)
            maps.save()
            report((index + band.rows.stop / picture.size[0]) / picture.slices)
        if self._rule is not None:
            self._separate(index, self._rule, maps, measures)
        if shown is not None:
            shown.write(self.out / "overlays" / f"{picture.name}.png")
        return measures

    def _take_again(self, index: int, maps: Unfinished, measures: "_Measures") -> None:
        """Take in the rows of a slice that an earlier command has left."""
        height, width = self.picture.size
        first = index * height
        own_objects = self._rule is None and maps.has("objects")  # a mask generator gives one band
        step = height if own_objects else max(1, BAND_PX // width)
        for start in range(first, min(maps.rows, first + height), step):
            stop = min(start + step, maps.rows, first + height)
            classes = maps.read("labels", start, stop)
            measures.add(start - first, classes)
            if self._rule is None:
                numbers = maps.read("objects", start, stop) if own_objects else None
                measures.meter.add(classes, numbers)

    def _separate(
        self, index: int, rule: ObjectRule, maps: Unfinished, measures: "_Measures"
    ) -> None:
        """Find the objects of a slice, of which all rows are stored, and measure them."""
        size = self.picture.size
        stored = StoredSlice(maps, index * size[0], size, rule.channels)
        rule.separate_stored(stored, stored)
        for start, stop in row_bands(size):
            measures.meter.add(stored.classes(start, stop), stored.read(start, stop))

    def _order(self, types: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Maps whose rows come with the prediction, and those that are made from stored rows."""
        if self._rule is None:
            return dict(types), {}
        first = {name: kind for name, kind in types.items() if name != "objects"}
        first |= dict.fromkeys(distance_names(self._rule.channels), np.float32)
        return first, {"objects": types["objects"]}

    def _rows(
        self, index: int, measures: "_Measures", sums: dict[str, float]
    ) -> tuple[Row, Iterator[Row]]:
        """The row of a slice, or of the image, and those of its objects."""
        picture, settings, names = self.picture, self._settings, self._model.header.classes
        number = index if picture.slices > 1 else None
        objects, pixels = measures.meter.finish(settings.min_area), int(measures.counts.sum())
        row = {
            "image": picture.name,
            "slice": number,
            "height": picture.size[0],
            "width": picture.size[1],
            "pixel_size": self._pixel_size,
            **readings_row(measures.counts.tolist(), objects, names, self._pixel_size),
            "mean_probability": sums["probability"] / pixels,
            "mean_uncertainty": sums["uncertainty"] / pixels,
        }
        return row, object_rows(picture.name, number, objects, names, self._pixel_size)

    def _slices(self, evaluation: str, done: int) -> Iterator[tuple[ImageRows, Iterator[Band]]]:
        """Each slice in order, with the bands that remain.

        Args:
            evaluation: of the model.
            done: number of rows that are predicted already, over all slices.
        """
        height, depth = self.picture.size[0], self._model.depth
        if depth > 1:
            yield from self._stacks(done // height)
            return
        for index in range(self.picture.slices):
            pixels = self._read(index)
            start = min(max(done - index * height, 0), height)
            prompts = self._prompts_of(index)
            try:
                yield pixels.rows, self._model.bands(pixels.rows, evaluation, prompts, start)
            finally:
                pixels.close()

    def _stacks(self, done: int) -> Iterator[tuple[ImageRows, Iterator[Band]]]:
        """As `_slices`, for a model that takes stacks; the first `done` slices are predicted."""
        picture, depth = self.picture, self._model.depth
        if picture.slices < depth:
            raise UserError(
                f"{picture.path} has {picture.slices} slices, but this model takes stacks of"
                f" {depth}: give a volume, as TIFF of several pages or NIfTI"
            )
        passed = 0
        for start in stack_starts(picture.slices, depth):
            stack = [self._read(index) for index in range(start, start + depth)]
            drawn = [self._prompts_of(index) for index in range(start, start + depth)]
            bands: list[Band] = []
            if start + depth > done:
                bands = self._model.stack_bands(stack, [one for one in drawn if one is not None])
            for index in range(passed, start + depth):
                band = bands[index - start : index - start + 1] if index >= done else []
                yield stack[index - start].rows, iter(band)
            passed = start + depth

    def _read(self, index: int) -> Pixels8:
        pixels = self.picture.read(index, self._settings.levels, self._model.model.task.channels)
        self._model.check_kind(pixels, self._settings.levels, str(self.picture.path))
        return pixels

    def _prompts_of(self, index: int) -> ImagePrompts | None:
        """Prompts of the image; those of a slice have its number from 0 behind the name and `#`."""
        if not self._model.takes_prompts:
            return None
        assert self._settings.prompts is not None, "checked before"
        name = self.picture.path.name
        if self.picture.slices > 1:
            name = f"{name}#{index}"
        return prompts_of(name, self._prompts, self._settings.prompts)


class _Measures:
    """What is read off the rows of a slice as they come.

    Attributes:
        counts: (K,) number of pixels of each class.
        meter: of the objects, which takes them from elsewhere.
    """

    def __init__(self, num_classes: int, image: ImageRows, shown: Overlay | None) -> None:
        self.counts, self.meter = np.zeros(num_classes, np.int64), ObjectMeter(num_classes)
        self._image, self._shown = image, shown

    def add(self, top: int, classes: Map) -> None:
        """Take in the next rows (h, W), the first of them with the number `top` in the slice."""
        self.counts += np.bincount(classes.ravel(), minlength=len(self.counts))
        if self._shown is not None:
            self._shown.add(self._image[top : top + len(classes)], classes, top)
