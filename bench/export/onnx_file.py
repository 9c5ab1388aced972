"""The ONNX file of a model: one file, any batch size, fp32."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UnsupportedError
from bench.export.agreement import check_images, largest_difference, to_unit
from bench.export.libraries import import_library
from bench.export.plain_sam import merged_copy
from bench.sam.decoder import prepare_images
from bench.sam.segmenter import PromptedDecoder, SamSegmenter
from bench.spec import Task

LARGEST_BYTES = 2**31 - 2**24  # protobuf holds less than 2 GiB in one file
OPSET = 18


class OnePrompt(nn.Module):
    """A prompted model with exactly one prompt for each image.

    Args:
        model: with a `PromptedDecoder`.
    """

    def __init__(self, model: SamSegmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, prompts: Tensor) -> Tensor:
        """Mask logits (B, S, S), above 0 inside.

        Args:
            images: (B, 3, S, S) in [0, 1].
            prompts: boxes (B, 4) x0 y0 x1 y1, or clicks (B, c, 2) x y, in pixels of the images.
        """
        features = images
        for stage in self.model.stages():
            features = stage.run(features)
        head = self.model.head
        masks = head.masks(prepare_images(head.mask_decoder, features), prompts, prompts)
        side = self.model.image_encoder.img_size
        return F.interpolate(masks[:, None], (side, side), mode="bilinear")[:, 0]


def onnx_module(module: nn.Module, task: Task) -> tuple[nn.Module, dict[str, Tensor]]:
    """The module to export, and its inputs for two images.

    Args:
        module: a trained model.
        task: what it was built for.

    Returns:
        `module`, or for a prompted model a `OnePrompt`, and name to input: "images" (2, 3, S, S)
        float and, for a prompted model, "prompts", one for each image.

    Raises:
        UnsupportedError: the model cannot be one ONNX file; the message names the property.
    """
    if task.depth > 1:
        raise UnsupportedError(
            f"it takes stacks of {task.depth} slices, and a batch of the file holds single images"
        )
    size = sum(tensor.nbytes for tensor in module.state_dict().values())
    if size > LARGEST_BYTES:
        raise UnsupportedError(f"its weights have {size / 1e9:.1f} GB, and one ONNX file holds 2")
    inputs = {"images": to_unit(check_images(task.image_size))}
    head = getattr(module, "head", None)
    if not isinstance(module, SamSegmenter) or not isinstance(head, PromptedDecoder):
        return module, inputs
    example = head.rule.example(task.image_size, len(inputs["images"]))
    values = example.clicks if head.rule.kind == "point" else example.boxes
    inputs["prompts"] = torch.cat(values)
    return OnePrompt(module), inputs


def onnx_program(module: nn.Module, task: Task) -> Any:
    """Translate a model to ONNX; what can be merged is merged before.

    The input `images` is (B, 3, S, S) float in [0, 1], the output `logits` (B, K, S, S). Models
    that take prompts have a second input `prompts`, one for each image, and the output is (B, S, S)
    for the class of the prompt; see `OnePrompt`.

    Args:
        module: a trained model. A merged copy of it is translated. Where a part cannot be merged
            (some tuners of peft) `module` itself is translated, and put into evaluation mode.
        task: what it was built for.

    Returns:
        The program of `torch.onnx.export`.

    Raises:
        UnsupportedError: the model takes stacks of slices, has more than 2 GB of weights, or has an
            operation that the exporter of torch cannot translate.
        UserError: onnxscript is not installed.
    """
    import_library("onnxscript", "an ONNX file")
    exported, inputs = onnx_module(_merged_if_possible(module), task)
    batch = torch.export.Dim.DYNAMIC
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about its own future
            return torch.onnx.export(
                exported.eval(),
                tuple(inputs.values()),
                dynamo=True,
                verbose=False,
                input_names=list(inputs),
                output_names=["logits"],
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                opset_version=OPSET,
            )
    except Exception as error:  # the exporter raises errors of many classes
        reason = _first_reason(error)
        raise UnsupportedError(f"torch cannot translate it to ONNX ({reason})") from error
    finally:
        logger.setLevel(level)


def write_onnx(program: Any, path: Path, header: Mapping[str, str]) -> None:
    """Write the program with its weights in one file, and the header as its metadata.

    Args:
        program: result of `onnx_program`; the header stays in its metadata.
        path: of the file, which is replaced.
        header: name to text.
    """
    program.model.metadata_props.update(header)
    program.save(path, external_data=False)


@torch.no_grad()
def onnx_difference(module: nn.Module, task: Task, path: Path) -> tuple[float, int]:
    """Compare the file in onnxruntime with the model, for batches of one and of two images.

    Args:
        module: the model that was exported, in evaluation mode (`eval()`).
        task: what it was built for.
        path: of the ONNX file.

    Returns:
        The largest difference of the logits, relative (see `largest_difference`), and the number
        of pixels with another class in both batches together.

    Raises:
        UserError: onnxruntime is not installed.
        UnsupportedError: as `onnx_module`.
    """
    runtime = import_library("onnxruntime", "the check of an ONNX file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    original, inputs = onnx_module(module, task)
    difference, changed = 0.0, 0
    for count in (1, 2):
        batch = {name: values[:count] for name, values in inputs.items()}
        ours = original(*batch.values())
        (theirs,) = session.run(None, {name: values.numpy() for name, values in batch.items()})
        theirs = torch.from_numpy(theirs)
        difference = max(difference, largest_difference(ours, theirs))
        changed += int((_classes(ours) != _classes(theirs)).sum())
    return difference, changed


def _classes(logits: Tensor) -> np.ndarray[Any, Any]:
    """Class indices (B, S, S) of logits (B, K, S, S), or of mask logits (B, S, S)."""
    decided = logits > 0 if logits.ndim == 3 else logits.argmax(1)
    return np.asarray(decided.numpy())


def _merged_if_possible(module: nn.Module) -> nn.Module:
    try:
        return merged_copy(module)
    except UnsupportedError:  # the model is translated with its added modules
        return module


def _first_reason(error: BaseException) -> str:
    """First line of the innermost cause of an error of the exporter."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200].rstrip(": ")
