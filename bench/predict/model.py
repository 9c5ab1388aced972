"""A kept model, ready to predict."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.data.decode import Levels
from bench.data.fit import fitted_size, resize_image
from bench.errors import UnsupportedError, UserError
from bench.evaluate.tiles import ImageRows, tile_bands
from bench.evaluate.whole import full_logits, resize_logits
from bench.keep.header import MAGNIFIED, ModelHeader
from bench.keep.model_file import load_module
from bench.learn.model import Model
from bench.predict.finders import choose_finder, load_proposer
from bench.predict.pictures import Pixels8, as_pixels, check_kind
from bench.predict.prompts import ImagePrompts
from bench.predict.segmentation import Band, Segmentation, band_of, bands_of, objects_of
from bench.run.schedule import RunSettings
from bench.sam.prompts import Prompts
from bench.spec import Recipe

BATCH = 8
BATCH_PX = BATCH * 512 * 512  # pixels of the windows that are predicted at once
EVALUATIONS = ("auto", "whole", "tiles")


class KeptModel:
    """A trained model with its header; made by `load_model`.

    Args:
        model: in evaluation mode, on its device.
        header: of its file.
        path: of its file.
        allow_other_images: accept images of another type or colour than those of the training.
        proposer: model that finds the objects which this one segments, and its file; None for none.

    Raises:
        UnsupportedError, UserError: as `choose_finder`.
    """

    def __init__(
        self,
        model: Model,
        header: ModelHeader,
        path: Path,
        allow_other_images: bool = False,
        proposer: tuple[Model, Path] | None = None,
    ) -> None:
        self.model, self.header, self.path = model, header, path
        self._allow_other_images = allow_other_images
        finds = None if proposer is None else proposer[0]
        self.proposer_path = None if proposer is None else proposer[1]
        own = header.cell.recipe.evaluation
        self._own_evaluation, self._finder = choose_finder(model, own, finds)

    @property
    def takes_prompts(self) -> bool:
        """Whether prompts must be given; mask generators, proposers, `prompt=image` need none."""
        rule = self.model.prompt_rule
        return rule is not None and rule.kind != "image" and self._finder is None

    @property
    def separates_objects(self) -> bool:
        """Whether predictions hold objects, so that those that touch are told apart."""
        return self._finder is not None or self.model.object_rule.separates

    @property
    def depth(self) -> int:
        """Number of consecutive slices that the model gets at once; 1 for single images."""
        return self.model.task.depth

    def predict(
        self,
        image: Path | str | npt.NDArray[Any],
        *,
        boxes: Any = None,
        points: Any = None,
        classes: Any = None,
        evaluation: str = "auto",
        levels: Levels | None = None,
    ) -> Segmentation:
        """Predict one image.

        Args:
            image: a file, or an array (H, W) or (H, W, C) with C from 1 to 4 (2 and 4: alpha).
            boxes: (n, 4) x0 y0 x1 y1 in pixels of the image, for a model that takes boxes.
            points: (n, 2) x y in pixels of the image, for a model that takes points; (n, c, 2) for
                c points in each object.
            classes: (n,) class index of each prompt; not needed with one foreground class.
            evaluation: "whole" (resized to the model's side), "tiles" (overlapping windows), or
                "auto" (see `choose_evaluation`).
            levels: the stored values that become 0 and 255; then any bit depth is accepted. None:
                as for the images of a training.

        Raises:
            UserError: the image cannot be read or is not like those of the training, the prompts do
                not fit the model, `evaluation` cannot be used, or the model takes stacks of slices.
            DivergedError: a logit is not finite.
        """
        if self.depth > 1:
            raise UserError(
                f"this model takes stacks of {self.depth} slices: use predict_stack, or a volume"
            )
        source = Path(image) if isinstance(image, str) else image
        pixels = as_pixels(source, levels, self.model.task.channels)
        prompts = None
        if any(prompt is not None for prompt in (boxes, points, classes)) or self.takes_prompts:
            rule = self.model.prompt_rule
            if rule is None or not self.takes_prompts:
                raise UserError("this model takes no prompts: leave boxes, points, classes out")
            count = self.model.task.num_classes
            prompts = ImagePrompts.of(rule, count, boxes, points, classes)
        self.check_kind(pixels, levels, "the image")
        chosen = self.choose_evaluation(pixels.size, evaluation)
        return self._joined(list(self.bands(pixels.rows, chosen, prompts)), chosen)

    def predict_stack(
        self, slices: Sequence[npt.NDArray[Any]], *, levels: Levels | None = None
    ) -> list[Segmentation]:
        """Predict consecutive slices of a volume, each resized as a whole.

        For models that take no prompts, which cannot be given here; others need `predict_files`.

        Args:
            slices: exactly `depth` arrays (H, W) or (H, W, C) of one size, in their order.
            levels: as of `predict`; without them, each slice is scaled by its own values.

        Returns:
            One segmentation for each slice.

        Raises:
            UserError: a slice cannot be used, the number of slices is not `depth`, or the model
                takes prompts.
            DivergedError: a logit is not finite.
        """
        if self.takes_prompts:
            raise UserError(
                f"{self.path} takes prompts, and predict_stack does not: predict a volume with the"
                " command predict and --prompts, or with predict_files"
            )
        if len(slices) != self.depth:
            raise UserError(f"{len(slices)} slices are given: this model takes {self.depth}")
        images = [as_pixels(one, levels, self.model.task.channels) for one in slices]
        for one in images:
            self.check_kind(one, levels, "a slice")
        return [self._joined([band], "whole") for band in self.stack_bands(images)]

    def check_kind(self, pixels: Pixels8, levels: Levels | None, name: str) -> None:
        """As `bench.predict.pictures.check_kind`, unless other images are allowed."""
        if not self._allow_other_images:
            check_kind(pixels, self.header.images, levels, name)

    def choose_evaluation(self, size: tuple[int, ...], requested: str = "auto") -> str:
        """How an image is predicted.

        "auto": as in the cell of the model. A model that was evaluated on whole images gets windows
        of the median size of its training images where a side is longer than `MAGNIFIED` times the
        longest one of its cell, so that things have the size that the model knows. Models that take
        prompts or stacks always get whole images. Models that work as a mask generator or with a
        proposer take "auto" only.

        Args:
            size: height and width in pixels.
            requested: "auto", "whole" or "tiles".

        Returns:
            "whole", "tiles", "generator" or "proposals".

        Raises:
            UserError: the model cannot predict in this way.
        """
        if requested not in EVALUATIONS:
            raise UserError(
                f"evaluation cannot be '{requested}': give one of {', '.join(EVALUATIONS)}"
            )
        whole_only = self.model.prompt_rule is not None or self.depth > 1
        if self._finder is not None:
            if requested != "auto":
                raise UserError("this model finds objects itself: give --evaluation auto")
            return self._own_evaluation
        if requested == "tiles" and whole_only:
            raise UserError(
                "models that take prompts or stacks of slices predict whole images: give"
                " --evaluation whole, and cut large images"
            )
        if requested != "auto":
            return requested
        if self._own_evaluation == "whole" and not whole_only:
            return "tiles" if max(size) > MAGNIFIED * self.header.images.longest else "whole"
        return self._own_evaluation

    def bands(
        self, rows: ImageRows, evaluation: str, prompts: ImagePrompts | None = None, start: int = 0
    ) -> Iterator[Band]:
        """Predict an image from top to bottom; one band, or several for "tiles".

        Only mask generators and proposers give objects: a rule needs all rows (`objects_of`).

        Args:
            rows: (H, W, 3) uint8.
            evaluation: of `choose_evaluation`.
            prompts: of this image, for a model that takes them; used for "whole" only.
            start: first row that is wanted; above 0 for "tiles", or H, which gives no band.

        Raises:
            DivergedError: a logit is not finite.
        """
        if start == rows.shape[0]:
            return
        if evaluation == "tiles":
            windows = self._window_logits, rows, self._window
            zoom = self.model.zoom
            for part, logits in tile_bands(*windows, batch=self._batch, start=start, zoom=zoom):
                logits = self.model.in_pixels(logits, (1 / zoom, 1 / zoom))
                yield from bands_of(part, logits, self.model)
                del logits  # free before the next windows
            return
        image = rows[0 : rows.shape[0]]
        everything = slice(0, rows.shape[0])
        if self._finder is not None:
            objects, classes = self._finder(image)
            floats = (objects > 0).astype(np.float32)
            yield Band(everything, classes, floats, np.zeros_like(floats), objects)
            return
        joined = self._whole_boxes(1)
        if prompts is not None:
            joined = prompts.at_side(image.shape, self.model.task)
            joined = joined.to(self.model.device)
        (logits,) = full_logits(self.model, [image], joined)
        yield band_of(everything, logits, self.model)

    def stack_bands(
        self, images: Sequence[Pixels8], prompts: Sequence[ImagePrompts] = ()
    ) -> list[Band]:
        """Predict `depth` consecutive slices at once; one band for each slice.

        Args:
            images: the slices.
            prompts: one entry for each slice; empty for a model that takes none.

        Raises:
            DivergedError: a logit is not finite.
        """
        joined = self._whole_boxes(len(images))
        if prompts:
            task = self.model.task
            parts = [
                one.at_side(image.size, task) for one, image in zip(prompts, images, strict=True)
            ]
            joined = Prompts.join(parts).to(self.model.device)
        slices = [image.rows[0 : image.size[0]] for image in images]
        logits = full_logits(self.model, slices, joined)
        return [
            band_of(slice(0, len(one)), full, self.model)
            for one, full in zip(slices, logits, strict=True)
        ]

    def _whole_boxes(self, count: int) -> Prompts | None:
        """One box around each of `count` whole images; None unless that is the model's prompt."""
        rule = self.model.prompt_rule
        if rule is None or rule.kind != "image":
            return None
        return rule.example(self.model.task.image_size, count).to(self.model.device)

    @property
    def _window(self) -> tuple[int, int]:
        side = self.model.task.image_size
        traits = self.header.images
        return (side, side) if self._own_evaluation == "tiles" else (traits.height, traits.width)

    @property
    def _batch(self) -> int:
        """Windows at once: as in the cell where it had windows, else what the memory allows."""
        height, width = self._window
        if self._own_evaluation == "tiles":
            return BATCH
        return min(BATCH, max(1, BATCH_PX // (height * width)))

    def _window_logits(self, windows: Tensor) -> Tensor:
        """Logits (B, K, h, w) of windows (B, 3, h, w) uint8, resized as images of the training."""
        side, size, fit = self.model.task.image_size, windows.shape[-2:], self.model.task.fit
        if tuple(size) != (side, side):
            images = [resize_image(one, side, fit) for one in windows.permute(0, 2, 3, 1).numpy()]
            windows = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        height, width = fitted_size(size, side, fit)
        logits = self.model.predict(windows.to(self.model.device))[..., :height, :width]
        if logits.shape[-2:] == size:
            return logits
        scale = (size[0] / height, size[1] / width)
        return self.model.in_pixels(resize_logits(logits, size), scale)

    def _joined(self, bands: Sequence[Band], evaluation: str) -> Segmentation:
        classes, foreground, uncertainty = (
            np.concatenate([getattr(band, name) for band in bands])
            for name in ("classes", "foreground", "uncertainty")
        )
        names, objects = self.header.classes, objects_of(bands, self.model.object_rule)
        return Segmentation(classes, foreground, uncertainty, names, evaluation, objects)


def load_model(
    path: str | Path,
    *,
    device: str = "auto",
    checkpoint: str | Path | None = None,
    allow_other_images: bool = False,
    proposer: str | Path | None = None,
) -> KeptModel:
    """Load a kept model: a file that a run kept (`--keep`) or that the command `train` wrote.

    Args:
        path: a .safetensors file of this project.
        device: "auto" (CUDA where available), "cpu", "cuda" or "cuda:N".
        checkpoint: file with the weights of the backbone, where the model was trained on a
            checkpoint of your own.
        allow_other_images: predict images of another type (8 or 16 bit) or colour than those of the
            training too.
        proposer: a kept model that learned distances, whose objects are the prompts of this one.

    Raises:
        UserError: the file is not a kept model, its method or the weights of its backbone are not
            here or are others, the device is not available, or as `load_proposer`.

    Example:
        >>> model = bench.load_model("my.safetensors")
        >>> model.predict("image.png").classes
    """
    chosen = torch.device(RunSettings(device=device).find_device())
    weights = None if checkpoint is None else Path(checkpoint)
    module, header = load_module(Path(path), weights)
    module, recipe = module.to(chosen).eval(), header.cell.recipe
    second: tuple[Model, Path] | None = None
    if proposer is not None:
        second = load_proposer(Path(proposer), header, weights, chosen), Path(proposer)
        recipe = replace(recipe, objects=Recipe.objects)  # the proposer separates them
    try:
        model = Model(module, header.cell.task, recipe)
        model.zoom = header.zoom
        return KeptModel(model, header, Path(path), allow_other_images, second)
    except UnsupportedError as error:
        raise UserError(f"{path} cannot predict here: {error}") from error
