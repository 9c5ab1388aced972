"""The header of a kept model: what it is, what it was trained on, and how well it did."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from bench.data.traits import ImageTraits
from bench.errors import UserError
from bench.files import check_regular, parse_json
from bench.record_values import Cost, check_ranges, expect_kinds, kinds_of
from bench.spec import AUTO, Cell, PromptSource, Record, Task
from bench.wording import PROJECT, project_version

SCHEMA = 2
# What `bench.data.decode` does; a model gets its images in the same way.
SCALING = "8-bit values as they are; others: percentiles 0.1 and 99.9 of each image to 0 and 255"
MAGNIFIED = 1.5  # images up to so many times the longest one of the training are predicted whole

_LATER_FIELDS = frozenset({"origin"})  # the first files do not have them
RULES = ("best", "all", "final")
_WORDS = frozenset({"prompts", "rule", "scaling", "fit", "version"})  # not written as JSON
_LISTS = frozenset({"base", "classes", "repeats", "history"})  # the other fields are objects


@dataclass(frozen=True)
class Score:
    """One score of the cell that a final model repeats.

    Attributes:
        cell_id: id of the record.
        dice: mean foreground Dice of its test images, in [0, 1]; None where it is not defined.
    """

    cell_id: str
    dice: float | None


@dataclass(frozen=True)
class ModelHeader:
    """Everything that is needed to rebuild a kept model, and to judge it.

    Attributes:
        cell: method, options, task, recipe, dataset and seed. A path of weights or of a dataset
            is reduced to its last part by `without_paths`.
        base: print of the tensors that the file does not hold, see
            `bench.keep.model_file.base_print`.
        classes: names of the K classes, the background first.
        prompts: origin of the prompts at evaluation.
        rule: why it was kept: "best" or "all" by the option `--keep` of a run; "final" where the
            command `train` made it.
        images: kind and size of the images that it was trained on.
        origin: "source" and "licence" of the images, where they are known.
        trained_on: names of the images that trained it, by the part they are of: "train"; of a
            final model also "val" and perhaps "test".
        metrics: scores of this model on the test part of its cell; empty for a final model, which
            was tested on nothing.
        repeats: for a final model: records with the same settings, trained on the training part.
        history: the training curve, as in the record.
        cost: as in the record; empty for a final model.
        env: machine, versions and commit of the training.
        scaling: how pixel values become 0 to 255.
        fit: how an image becomes a square, in `bench.data.fit.FITS`; as in the task of the cell.
        version: of this project.
    """

    cell: Cell
    base: tuple[float, float]
    classes: tuple[str, ...]
    prompts: PromptSource
    rule: str
    images: ImageTraits
    trained_on: Mapping[str, tuple[str, ...]]
    origin: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    repeats: tuple[Score, ...] = ()
    history: tuple[Mapping[str, float], ...] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    scaling: str = SCALING
    fit: str = Task.fit
    version: str = field(default_factory=project_version)

    @property
    def final(self) -> bool:
        """Whether this is a final model, trained by `train` and tested on nothing."""
        return self.rule == "final"

    @property
    def zoom(self) -> int:
        """Times that images are enlarged before windows are cut; chosen or given."""
        zoom = self.cell.recipe.zoom
        return int(self.env["zoom"]["chosen"] if zoom == AUTO else zoom)

    @property
    def validation_dice(self) -> float | None:
        """Mean Dice of at most 24 validation images at the end of the training.

        None where there is none, as for a final model.
        """
        return self.history[-1].get("val_dice") if self.history else None

    @classmethod
    def of_record(
        cls,
        record: Record,
        rule: str,
        images: ImageTraits,
        trained_on: Mapping[str, tuple[str, ...]],
        origin: Mapping[str, str],
    ) -> "ModelHeader":
        """The header of the model of a cell; `base` is (0, 0) until the file is written.

        Args:
            record: result of the cell, with the status "ok".
            rule: why the model is kept, "best" or "all".
            images: kind and size of the training images.
            trained_on: names of the training images by part, as of the class.
            origin: "source" and "licence" of the images.
        """
        return cls(
            cell=without_paths(record.cell),
            base=(0.0, 0.0),
            classes=record.classes,
            prompts=record.prompts,
            rule=rule,
            images=images,
            trained_on=trained_on,
            origin=origin,
            metrics=record.metrics,
            history=record.history,
            fit=record.cell.task.fit,
            cost={} if record.cost is None else dict(vars(record.cost)),
            env=record.env,
        )

    def to_metadata(self) -> dict[str, str]:
        """Text for the file: words as they are, all else as JSON.

        Besides the fields it has "project", "schema" and "model" (the cell's label), and the id of
        the cell in "cell".
        """
        values = {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self)}
        values |= {
            "cell": {"id": self.cell.id, **self.cell.to_dict()},
            "images": asdict(self.images),
            "repeats": [asdict(score) for score in self.repeats],
        }
        plain = {key: v if isinstance(v, str) else json.dumps(v) for key, v in values.items()}
        return {
            "project": PROJECT,
            "schema": str(SCHEMA),
            "model": self.cell.label,
            **plain,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ModelHeader":
        """Inverse of `to_metadata`; "project" and "schema" are not looked at.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or has another form.
        """
        values: dict[str, Any] = {}
        for spec in dataclasses.fields(cls):
            if spec.name in metadata or spec.name not in _LATER_FIELDS:
                text = metadata[spec.name]
                values[spec.name] = text if spec.name in _WORDS else _parsed(spec.name, text)
        parts = (values["cell"]["task"], values["cell"]["recipe"])
        for row in (*parts, *values["history"], *values["repeats"]):
            _expect("a part of cell, history or repeats", row, dict)
        for names in (values["classes"], *values["trained_on"].values()):
            for name in _expect("classes or trained_on", names, list):
                _expect("a name in classes or trained_on", name, str)
        for numbers in (values["metrics"], *values["history"], *values["repeats"]):
            check_ranges(numbers, ("cell_id",))
        expect_kinds(kinds_of(Cost), values["cost"])
        check_ranges(values["cost"])
        cell = {key: value for key, value in values["cell"].items() if key != "id"}
        if len(values["classes"]) != values["cell"]["task"]["num_classes"]:
            raise ValueError(f"it has {len(values['classes'])} names of classes")
        norm, pattern = values["base"]
        if values["rule"] not in RULES:
            raise ValueError(f"rule is {values['rule']!r}")
        values |= {
            "cell": Cell.from_dict(cell),
            "base": (float(norm), float(pattern)),
            "classes": tuple(values["classes"]),
            "images": ImageTraits.from_dict(values["images"]),
            "trained_on": {part: tuple(names) for part, names in values["trained_on"].items()},
            "repeats": tuple(Score(**score) for score in values["repeats"]),
            "history": tuple(values["history"]),
        }
        header = cls(**values)
        _ = header.zoom  # raises its error now
        return header


def _parsed(name: str, text: str) -> Any:
    """A field from its JSON; ValueError or TypeError if it has another form."""
    return _expect(name, parse_json(text), list if name in _LISTS else dict)


def _expect(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r:.40}, expected {kind.__name__}")
    return value


def without_paths(cell: Cell) -> Cell:
    """The cell with the last part of the paths of its weights, its dataset and its test dataset.

    Its id is that of the cell: no more of the paths enters it.
    """
    weights = cell.task.weights
    if weights not in ("pretrained", "random"):
        weights = Path(weights).name
    test_dataset = cell.tested_name if cell.test_dataset else ""
    task = replace(cell.task, weights=weights)
    return replace(cell, dataset=cell.dataset_name, test_dataset=test_dataset, task=task)


def read_header(path: Path) -> ModelHeader:
    """Read the header of a kept model; its tensors are not read.

    Raises:
        UserError: the file is missing, damaged, of another version, a device, or not a kept model.
    """
    check_regular(path)
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error
    if metadata.get("project") != PROJECT:
        raise UserError(
            f"{path} is not a model of {PROJECT}: give a file that a run kept (--keep) or that the"
            " command train wrote"
        )
    if metadata.get("schema") != str(SCHEMA):
        raise UserError(
            f"{path} has model schema {metadata.get('schema')}, this version reads {SCHEMA}:"
            f" use {PROJECT} {metadata.get('version')}"
        )
    try:
        return ModelHeader.from_metadata(metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> UserError:
    """The error for a file that cannot be read as a kept model; it is returned, not raised."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"cannot read {path} as a kept model ({reason}): give a complete .safetensors file"
    )
