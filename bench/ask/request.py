"""A request: what to run, from the command line, from Python, a suite or the guard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bench.data.fit import check_fit
from bench.data.selection import Selection
from bench.errors import UserError, check_number, no_such, read_number, shorten
from bench.evaluate.modes import get_mode
from bench.objects.rules import get_rule
from bench.spec import AUTO, MASK_GRIDS

PROTOCOLS = ("equal", "published")
PRECISIONS = ("bf16", "fp32")
_NUMBERS = ("image_size", "depth", "epochs", "steps", "batch_size", "folds", "accumulate")


FP32_NOTE = "in fp32, since this device only emulates bf16: --precision bf16 for the recipe's own"


@dataclass(frozen=True)
class Request:
    """What to run, with the values as a user types them on the command line.

    Nothing is checked before `check` and `bench.ask.grid.expand`. None means that no value was
    given. `epochs`, `steps`, `batch_size`, `lr`, `precision`, `loss`,
    `augmentation`, `evaluation`, `objects`, `proposer` and `zoom` then have the value of the
    protocol's recipe.

    Attributes:
        methods: names with options, separated by commas, as in `lora[rank=1|4],adapter`.
        datasets: registered names or folders (without a comma in the path), separated by commas.
        backbones: names, separated by commas.
        weights: "pretrained" or "random".
        checkpoint: file that replaces the pretrained weights; not with `weights` "random".
        protocol: "equal" (one recipe for all methods) or "published" (each method's own recipe).
        seeds: the number of seeds ("3" runs 0, 1 and 2), or seeds separated by commas.
        folds: number of folds; 1 for one fixed split.
        labels: numbers of labelled training images, or "all", separated by commas.
        image_size: side of the model's input in pixels; None for the backbone's own, or under the
            published protocol the method's `published_size`, if it has one.
        depth: consecutive slices in one stack; 1 for images.
        epochs: passes over the augmentation bank, or under the published protocol over the images
            of an epoch of the recipe; cannot be combined with `steps`.
        steps: number of optimiser steps.
        batch_size: images, or stacks of `depth` slices, in one step.
        lr: peak learning rate, instead of each method's own; several as in "1e-3|3e-3".
        precision: "bf16" (autocast) or "fp32"; None for that of the recipe, see `on_device`.
        loss: name of a loss, instead of the recipe's.
        augmentation: kind of augmentation bank, instead of the recipe's.
        evaluation: "whole", "tiles", "generator" or "proposals".
        objects: rule that finds the objects in a class map: "components", "watershed",
            "distances" or "rays".
        proposer: method whose model finds the objects that are prompted, for the evaluation
            "proposals".
        zoom: times that images are enlarged before windows are cut ("tiles"): a whole number, or
            "auto" for the best one on validation images.
        checkpointing: recompute activations of encoder blocks in the backward pass.
        accumulate: number of parts in which a batch passes through the model, at most its size.
        split: ratio of training, validation and test images, as in "7:2:1"; None for the default.
            Only for one fold of a dataset that does not come with a split.
        test_dataset: name or folder of another dataset with the same classes, all images of which
            are the test images; None for the test part.
        allow_leakage: run even if images of different parts overlap.
        channels: channels of the images to read as red, green and blue, or one as grey: numbers
            from 0 or names, separated by commas; None for the default.
        crop: pixels to cut off at the edges of the images, as in "bottom=60"; None for none.
        fit: how images become squares, in `bench.data.fit.FITS`.
        mask_grid: where decoders predict, in `bench.spec.MASK_GRIDS`.
    """

    methods: str
    datasets: str
    backbones: str = "sam_nano"
    weights: str = "pretrained"
    checkpoint: Path | None = None
    protocol: str = "equal"
    seeds: str = "1"
    folds: int = 1
    labels: str = "all"
    image_size: int | None = None
    depth: int = 1
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    lr: float | str | None = None
    precision: str | None = None
    loss: str | None = None
    augmentation: str | None = None
    evaluation: str | None = None
    objects: str | None = None
    proposer: str | None = None
    zoom: str | int | None = None
    checkpointing: bool = False
    accumulate: int = 1
    split: str | None = None
    test_dataset: str | None = None
    allow_leakage: bool = False
    channels: str | None = None
    crop: str | None = None
    fit: str = "square"
    mask_grid: str = "coarse"

    def on_device(self, device: str) -> "Request":
        """Return the request with the precision of a device, if none was given.

        The recipe of the `equal` protocol computes in bf16. Where the device would only emulate
        it, many times slower, the precision becomes fp32. Published recipes are kept.

        Args:
            device: name of an available torch device.
        """
        from bench.sam.precision import computes_bf16  # imports torch

        if self.precision is not None or self.protocol == "published" or computes_bf16(device):
            return self
        return replace(self, precision="fp32")

    @property
    def dataset_names(self) -> list[str]:
        """The datasets, as typed, each once.

        Raises:
            UserError: there is none.
        """
        return _words(self.datasets, "--dataset")

    @property
    def backbone_names(self) -> list[str]:
        """The backbones, as typed, each once.

        Raises:
            UserError: there is none.
        """
        return _words(self.backbones, "--backbone")

    @property
    def seed_numbers(self) -> Sequence[int]:
        """The seeds: 0 to n - 1 if `seeds` is a number n, otherwise those listed, each once.

        A list has a comma: "3," is the seed 3.

        Raises:
            UserError: as `read_seeds`.
        """
        return read_seeds(self.seeds)

    @property
    def selection(self) -> Selection:
        """Channels and frame of the images.

        Raises:
            UserError: as `Selection.parse`.
        """
        return Selection.parse(self.channels, self.crop)

    @property
    def ratio(self) -> str:
        """The ratio of the split in its smallest whole numbers; "" for the default.

        Raises:
            UserError: as `bench.data.split.canonical_ratio`.
        """
        from bench.data.split import canonical_ratio

        return "" if self.split is None else canonical_ratio(self.split)

    @property
    def label_budgets(self) -> list[int | None]:
        """Numbers of labelled training images, each once; None for all.

        Raises:
            UserError: as `read_labels`.
        """
        return read_labels(self.labels)

    @property
    def learning_rates(self) -> list[float | None]:
        """The learning rates, each once; None alone for each method's own.

        Raises:
            UserError: as `read_rates`.
        """
        return [None] if self.lr is None else list(read_rates(str(self.lr)))

    def check(self) -> None:
        """Check the values that do not depend on datasets and methods.

        Lists of names are not checked here: `dataset_names` and `backbone_names` check that there
        is one. A loss is looked up, which imports torch.

        Raises:
            UserError: a value is not allowed, or cannot be combined with another value.
        """
        if self.protocol not in PROTOCOLS:
            raise no_such("protocol", self.protocol, PROTOCOLS)
        if self.weights not in ("pretrained", "random"):
            raise UserError(
                f"--weights is pretrained or random, not '{self.weights}'; "
                "for a file of weights use --checkpoint FILE"
            )
        if self.checkpoint is not None and self.weights == "random":
            raise UserError(
                "--weights random and --checkpoint exclude each other: give one of them"
            )
        if self.epochs is not None and self.steps is not None:
            raise UserError(
                "--epochs and --steps both set the length of training: give one of them"
            )
        for key in _NUMBERS:
            value, default = getattr(self, key), getattr(Request, key)
            if value is not None or default is not None:
                check_number(key.replace("_", "-"), value)
        if self.seeds:  # `choose` fills in the number of seeds
            _ = self.seed_numbers
        _ = self.learning_rates, self.label_budgets  # raise their errors
        if self.precision is not None and self.precision not in PRECISIONS:
            raise no_such("precision", self.precision, PRECISIONS)
        mode = None if self.evaluation is None else get_mode(self.evaluation)
        if self.objects is not None:
            get_rule(self.objects).check_library()
        if self.zoom is not None:
            read_zoom(str(self.zoom))
        if self.mask_grid not in MASK_GRIDS:
            raise no_such("grid of masks", self.mask_grid, MASK_GRIDS)
        if self.depth > 1 and (self.labels != "all" or (mode and not mode.takes_stacks)):
            raise UserError(
                "--depth needs whole volumes: leave out --labels, and --evaluation other than whole"
            )
        self._check_proposer()
        if self.split is not None and self.folds > 1:
            raise UserError(
                f"--split {self.split} and --folds {self.folds} both set the size of the parts:"
                " give one of them"
            )
        _ = self.ratio, self.selection  # raise their errors
        check_fit(self.fit)
        if self.augmentation is not None:
            from bench.data.bank import KINDS

            if self.augmentation not in KINDS:
                raise no_such("augmentation", self.augmentation, KINDS)
        if self.loss is not None:
            from bench.learn.losses import get_loss

            get_loss(self.loss)

    def _check_proposer(self) -> None:
        """Check that a proposer is given where one is needed, and only there."""
        needed = self.evaluation is not None and get_mode(self.evaluation).takes_proposer
        if needed and self.proposer is None:
            raise UserError(
                f"--evaluation {self.evaluation} prompts with the objects that another method"
                " finds: name it, as in --proposer lora"
            )
        if self.proposer is not None and not needed:
            raise UserError(
                f"--proposer {self.proposer} finds the objects of --evaluation proposals: give both"
            )
        if self.proposer is not None and self.protocol == "published":
            raise UserError(
                "--evaluation proposals trains two methods with one recipe: give --protocol equal"
            )


def pick_fields(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of `values` that are fields of a dataclass, unchecked, without the others.

    Args:
        cls: the dataclass, such as `Request`.
        values: name to value, such as the options of a command.
    """
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in values.items() if name in names}


def read_seeds(text: str) -> Sequence[int]:
    """The seeds of `--seeds`: 0 to n - 1 for a number n, otherwise those listed, each once.

    Args:
        text: as typed. A list has a comma: "3," is the seed 3.

    Raises:
        UserError: there is none (as for "0"), or a number is out of bounds.
    """
    words = _words(text, "--seeds")
    if "," in text:
        return [int(read_number("seed", word, "a seed of --seeds")) for word in words]
    return range(int(read_number("seeds", words[0])))


def read_labels(text: str) -> list[int | None]:
    """The label budgets of `--labels`, each once; None for all.

    Args:
        text: as typed.

    Raises:
        UserError: there is none, or one is neither "all" nor a whole number within its bounds.
    """
    words = _words(text, "--labels")
    return [None if word == "all" else int(read_number("labels", word)) for word in words]


def read_rates(text: str) -> list[float]:
    """The learning rates of `--lr`, each once.

    Args:
        text: as typed: one number, or several with "|" between them.

    Raises:
        UserError: a value is not a number, or out of bounds.
    """
    return list(dict.fromkeys(float(read_number("lr", word)) for word in text.split("|")))


def read_zoom(text: str) -> str:
    """The value of `--zoom` in its one form: "auto", or a whole number without signs and zeros.

    Args:
        text: as typed.

    Raises:
        UserError: it is neither, or the number is out of bounds.
    """
    if text.strip() == AUTO:
        return AUTO
    try:
        return str(read_number("zoom", text))
    except UserError as error:
        raise UserError(f"{error}, or {AUTO}") from None


def _words(text: str, option: str) -> list[str]:
    words = [word.strip() for word in str(text).split(",") if word.strip()]
    if not words:
        raise UserError(f"{option} is {shorten(repr(text))}: give names or values, with commas")
    return list(dict.fromkeys(words))
