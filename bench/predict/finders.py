"""Models that find the objects of an image themselves: mask generators, and proposed prompts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bench.errors import UserError
from bench.evaluate.mask_generator import (
    SETTINGS,
    GeneratorSettings,
    adapted_sam,
    generate_instances,
)
from bench.evaluate.modes import get_mode
from bench.evaluate.proposals import check_prompted, find_objects
from bench.evaluate.scoring import Map
from bench.keep.header import ModelHeader, read_header
from bench.keep.model_file import load_module
from bench.learn.model import Model

Finder = Callable[[Map], tuple[npt.NDArray[np.int32], Map]]  # an image to objects and classes


def choose_finder(
    model: Model, evaluation: str, proposer: Model | None
) -> tuple[str, Finder | None]:
    """How a model is used, and what finds the objects of an image.

    Args:
        model: trained.
        evaluation: mode of the cell of the model.
        proposer: of `load_proposer`; None for none.

    Returns:
        The evaluation mode: the own one, or "proposals" with a proposer. A model of "proposals"
        without one takes prompts, as in the mode "whole". And what finds objects; None if they
        follow from the class map.

    Raises:
        UnsupportedError: as `adapted_sam`, or the model does not take the prompts of a proposer.
        UserError: as `adapted_sam`.
    """
    if proposer is not None:
        check_prompted(model)
        return "proposals", lambda image: find_objects(model, proposer, image)
    if evaluation == "generator":
        return evaluation, _generator(model)
    return ("whole" if get_mode(evaluation).takes_proposer else evaluation), None


def _generator(model: Model) -> Finder:
    sam = adapted_sam(model.module, model.task)
    settings = SETTINGS.get(model.task.backbone, GeneratorSettings())

    def find(image: Map) -> tuple[npt.NDArray[np.int32], Map]:
        objects = generate_instances(sam, image, settings)
        return objects, (objects > 0).astype(np.uint8)

    return find


def load_proposer(
    path: Path, header: ModelHeader, checkpoint: Path | None, device: torch.device
) -> Model:
    """Load the model that finds the objects which another one segments.

    Args:
        path: of its file.
        header: of the other model.
        checkpoint: as of `load_module`; used only if this model was trained on one.
        device: of the model.

    Returns:
        The model, in evaluation mode.

    Raises:
        UserError: as `load_module`, it has not learned to separate objects, or it has other classes
            or reads other channels.
    """
    own_weights = read_header(path).cell.task.weights not in ("pretrained", "random")
    module, own = load_module(path, checkpoint if own_weights else None)
    model = Model(module.to(device).eval(), own.cell.task, own.cell.recipe)
    if not model.object_rule.channels:
        raise UserError(
            f"{path} has not learned to separate objects: give a model that was trained with"
            " --objects distances"
        )
    if own.classes != header.classes or own.cell.task.channels != header.cell.task.channels:
        raise UserError(
            f"{path} has the classes {', '.join(own.classes)}, the other model"
            f" {', '.join(header.classes)}: give models of the same classes and channels"
        )
    return model
