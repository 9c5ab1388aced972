"""Tuners of Hugging Face `peft` inside an image encoder, written as the library itself does."""

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import nn

from bench.errors import UnsupportedError
from bench.export.libraries import import_library
from bench.export.plain_sam import sam_with_encoder
from bench.sam.segmenter import SamSegmenter
from bench.spec import Task

NAME = "default"  # of the adapter, as the library calls it


def has_tuner(module: nn.Module) -> bool:
    """Whether peft changed layers of the image encoder; False without an image encoder."""
    return bool(getattr(getattr(module, "image_encoder", None), "peft_config", None))


def tuner_base(module: SamSegmenter, task: Task) -> Sam:
    """A SAM of `segment_anything` with the encoder's weights before training.

    Its prompt encoder and mask decoder have random weights; `module` remains unchanged.

    Raises:
        UserError: peft is not installed.
        UnsupportedError: the tuner changed the weights of SAM when it was built, or
            `segment_anything` does not have this image encoder.
    """
    configuration = module.image_encoder.peft_config[NAME]
    start = getattr(configuration, "init_lora_weights", True)
    if not isinstance(start, bool):
        raise UnsupportedError(
            f"its tuner subtracts its initial values ({start}) from the weights of SAM, so it does"
            " not fit the original weights"
        )
    encoder = _library_layers(module)
    for part in list(encoder.modules()):
        for name, layer in list(part.named_children()):
            if _is_tuned(layer):
                setattr(part, name, layer.get_base_layer())
    return sam_with_encoder(encoder, task)


def write_tuner(module: SamSegmenter, base: Sam, folder: Path) -> None:
    """Write the adapter as `PeftModel.save_pretrained` does; `base` remains unchanged.

    Raises:
        UserError: peft is not installed.
        UnsupportedError: the tuner selects layers by a list of names.
    """
    peft = import_library("peft", "an adapter of peft")
    encoder = _library_layers(module)
    state = peft.get_peft_model_state_dict(encoder, adapter_name=NAME)
    configuration = copy.deepcopy(encoder.peft_config[NAME])
    targets = configuration.target_modules
    if not isinstance(targets, str):
        raise UnsupportedError("its tuner selects layers by a list of names, not by a pattern")
    configuration.target_modules = rf"image_encoder\.{targets}"
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about layers and models that the library does not know
        adapted = peft.get_peft_model(copy.deepcopy(base), configuration)
        prefixed = {
            f"base_model.model.image_encoder.{name}": value for name, value in state.items()
        }
        peft.set_peft_model_state_dict(adapted, prefixed, adapter_name=NAME)
        adapted.save_pretrained(folder, safe_serialization=True)


def _is_tuned(layer: nn.Module | None) -> bool:
    tuners = import_library("peft.tuners.tuners_utils", "an adapter of peft")
    return isinstance(layer, tuners.BaseTunerLayer)


def _library_layers(module: SamSegmenter) -> Any:
    """A copy of the encoder whose tuned layers are the library's own, without a wrapper."""
    encoder = copy.deepcopy(module.image_encoder)
    for part in list(encoder.modules()):
        for name, layer in list(part.named_children()):
            inner = getattr(layer, "layer", None)
            if _is_tuned(inner):
                setattr(part, name, inner)
    return encoder
