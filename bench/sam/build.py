"""Builds foundation models and loads their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from bench.errors import UserError
from bench.sam.backbone import get_backbone
from bench.sam.foundation import mark_foundation
from bench.sam.state_dict import check_names_and_shapes, checked_tensors, read_state_dict
from bench.sam.weights import cached_weights, check_licence
from bench.spec import Task
from bench.wording import program_name


def build_sam(backbone: str, image_size: int, mask_outputs: int = 4) -> Sam:
    """Build a SAM with random weights for square images, on torch's default device.

    The unused classifier in the encoder of `mobile_sam` is frozen, nothing else.

    Args:
        backbone: name of a registered backbone.
        image_size: side of the images in pixels, a multiple of the patch size.
        mask_outputs: number of mask tokens of the decoder; SAM has 4 (one for an unambiguous
            prompt, three for an ambiguous one).

    Raises:
        UserError: the backbone is unknown, or `image_size` does not fit it.
    """
    plugin = get_backbone(backbone)
    plugin.check_side(image_size)
    return plugin.build(image_size, mask_outputs)


def weights_path(task: Task) -> Path | None:
    """Return the file of the task's weights; None if `task.weights` is "random".

    The contents of the file are not checked.

    Raises:
        UserError: the backbone is unknown, the licence of its weights was not accepted, the file
            does not exist, or the pretrained weights of the backbone are not on this machine.
    """
    backbone = get_backbone(task.backbone)
    if task.weights == "random":
        return None
    check_licence(backbone)
    if task.weights != "pretrained":
        path = Path(task.weights)
        if path.is_dir():
            return _file_of_hub(path)
        if not path.is_file():
            raise UserError(
                f"no checkpoint at {path}: give --checkpoint an existing .safetensors or .pth file,"
                " or leave it out for the default weights"
            )
        return path
    public = backbone.public is not None
    shipped = backbone.weights
    if shipped is None and public:
        shipped = cached_weights(task.backbone)
    if shipped is None or not shipped.is_file():
        how = f"get them with '{program_name()} weights fetch {task.backbone}', " if public else ""
        raise UserError(
            f"no pretrained weights for {task.backbone} here: {how}give --checkpoint FILE,"
            " or --weights random to start from noise"
        )
    return shipped


def _file_of_hub(folder: Path) -> Path:
    """The file of weights in a folder in the layout of the Hugging Face Hub."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise UserError(
            f"the folder {folder} holds no model.safetensors: give --checkpoint a folder as"
            " `save_pretrained` writes it, or a .safetensors or .pth file"
        )
    return path


def load_sam(task: Task) -> Sam:
    """Load the foundation model of a task with its weights, or random ones, on the CPU.

    No parameter is frozen, except the unused classifier of `mobile_sam`. On the meta device (`with
    torch.device("meta")`) no weights are read, but their file must exist; the parameters are marked
    as `FoundationParameter`.

    Raises:
        UserError: the backbone is unknown, the image size does not fit it, or its weights are
            missing, cannot be read or do not fit it.
    """
    return load_sam_with_note(task)[0]


def load_sam_with_note(task: Task) -> tuple[Sam, str]:
    """As `load_sam`, with a sentence that says which wrappers of the file's tensors were removed.

    The sentence is "" if none was removed or no file was read, see `bench.sam.state_dict`.

    Raises:
        UserError: as `load_sam`.
    """
    path = weights_path(task)
    sam = build_sam(task.backbone, task.image_size)
    if sam.mask_decoder.iou_token.weight.is_meta:
        mark_foundation(sam)
        return sam, ""
    if path is None:
        return sam, ""
    state, note = read_state_dict(path)
    load_tensors(sam, get_backbone(task.backbone).read(state), str(path), task.backbone)
    return sam, note


def load_tensors(sam: Sam, state: Mapping[str, Any], origin: str, backbone: str) -> None:
    """Check the values of a checkpoint, fit its positions to the image size, and load it.

    Args:
        sam: gets all values; it is unchanged if an error is raised.
        state: values by the names of `sam`'s tensors.
        origin: name of the file, for messages.
        backbone: name of the backbone, for messages.

    Raises:
        UserError: a value is not a tensor, holds NaN, infinity or another kind of numbers (integers
            for floating point), has another shape, is missing, or has a name that `sam` lacks.
    """
    expected = sam.state_dict()
    tensors = resize_positions(checked_tensors(state, expected, origin), sam)
    check_names_and_shapes(tensors, expected, origin, backbone)
    sam.load_state_dict(tensors)


def resize_positions(state: dict[str, Tensor], sam: Sam) -> dict[str, Tensor]:
    """Resize the position embeddings of a checkpoint to the image size of `sam`.

    The absolute embeddings (1, n, n, C) and the relative tables (2n - 1, C) are interpolated
    bilinearly where their shape differs from that in `sam`, as in SAMed (section 2). All other
    tensors are returned unchanged, and so are embeddings and tables of another rank or width, and
    embeddings that are not square.

    Args:
        state: tensors of the checkpoint by name; it is not changed.
        sam: the model that the tensors are for; it is not changed.
    """
    expected = sam.state_dict()
    resized = dict(state)
    for name, tensor in state.items():
        if name not in expected or tensor.shape == expected[name].shape:
            continue
        target = expected[name].shape
        if name.endswith("pos_embed") and _is_grid(tensor, target):
            grid = tensor.permute(0, 3, 1, 2)
            resized[name] = nn.functional.interpolate(
                grid, size=target[1:3], mode="bilinear", align_corners=False
            ).permute(0, 2, 3, 1)
        elif ".rel_pos_" in name and tensor.ndim == 2 and tensor.shape[1] == target[1]:
            resized[name] = nn.functional.interpolate(
                tensor[None, None], size=tuple(target), mode="bilinear", align_corners=False
            )[0, 0]
    return resized


def _is_grid(positions: Tensor, target: torch.Size) -> bool:
    """Whether positions (1, n, n, C) differ from the target in n only."""
    shape = positions.shape
    return len(shape) == 4 and shape[1] == shape[2] > 0 and shape[::3] == target[::3]
