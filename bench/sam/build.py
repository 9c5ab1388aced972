"""Builds foundation models from the classes of `segment_anything` and loads their weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from bench.errors import UserError, no_such
from bench.sam.encoder import FastEncoder
from bench.sam.foundation import mark_foundation
from bench.sam.state_dict import check_names_and_shapes, checked_tensors, read_state_dict
from bench.sam.tiny_vit import TinyViTEncoder, from_public
from bench.sam.weights import PUBLIC, cached_weights
from bench.spec import Task
from bench.wording import program_name

NANO_WEIGHTS = Path(__file__).parent / "nano" / "sam_nano.safetensors"


@dataclass(frozen=True)
class Architecture:
    """Sizes of a SAM; the defaults are the values that all models of Meta share.

    The blocks with the indices `global_blocks` attend over the whole image, the other blocks
    within windows of `window` x `window` tokens. A depth of 0 means the TinyViT of MobileSAM,
    which has its own width, heads and windows.

    Attributes:
        width: channels of each token.
        depth: number of blocks.
        heads: number of attention heads of each block.
        global_blocks: indices of the blocks without windows.
        image_size: side of the training images of the weights, in pixels.
        patch: side of a patch in pixels.
        window: side of a window in tokens.
        prompt_dim: channels of the embeddings of images and prompts.
        decoder_heads: number of attention heads of the mask decoder.
        decoder_mlp: hidden channels of the MLPs of the mask decoder.
        weights: file in this package with pretrained weights; None if there is none.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    image_size: int = 1024
    patch: int = 16
    window: int = 14
    prompt_dim: int = 256
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    weights: Path | None = None


ARCHITECTURES = {
    # With three decoder heads, each head has 16 channels, enough to encode the position of a
    # prompt. Patches of 8 px give a mask resolution of 2 px. For the nuclei of dsb2018, perfect
    # masks at 4 px (patches of 16 px) reach an IoU of only 0.86, perfect masks at 2 px 0.98.
    "sam_nano": Architecture(
        width=96,
        depth=4,
        heads=3,
        global_blocks=(2,),
        image_size=256,
        patch=8,
        window=8,
        prompt_dim=96,
        decoder_heads=3,
        decoder_mlp=384,
        weights=NANO_WEIGHTS,
    ),
    "sam_vit_b": Architecture(width=768, depth=12, heads=12, global_blocks=(2, 5, 8, 11)),
    "sam_vit_l": Architecture(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "sam_vit_h": Architecture(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
    "mobile_sam": Architecture(width=320, depth=0, heads=0, global_blocks=()),
}


def build_sam(backbone: str, image_size: int, mask_outputs: int = 4) -> Sam:
    """Build a SAM with random weights for square images, on torch's default device.

    The unused classifier in the encoder of `mobile_sam` is frozen, nothing else.

    Args:
        backbone: a key of `ARCHITECTURES`.
        image_size: side of the images in pixels, a multiple of the patch size.
        mask_outputs: number of mask tokens of the decoder; SAM has 4 (one for an unambiguous
            prompt, three for an ambiguous one).

    Raises:
        UserError: the backbone is unknown, or `image_size` is not a multiple of the patch size.
    """
    if backbone not in ARCHITECTURES:
        raise no_such("backbone", backbone, ARCHITECTURES)
    arch = ARCHITECTURES[backbone]
    if image_size < arch.patch or image_size % arch.patch:
        raise UserError(
            f"image size {image_size} does not fit {backbone}: give a multiple of {arch.patch}"
        )
    grid = image_size // arch.patch
    encoder: nn.Module
    if arch.depth:
        encoder = FastEncoder(
            image_size=image_size,
            patch=arch.patch,
            width=arch.width,
            heads=arch.heads,
            depth=arch.depth,
            global_blocks=arch.global_blocks,
            window=arch.window,
            out_channels=arch.prompt_dim,
        )
    else:
        encoder = TinyViTEncoder(image_size, arch.prompt_dim)
    prompts = PromptEncoder(
        embed_dim=arch.prompt_dim,
        image_embedding_size=(grid, grid),
        input_image_size=(image_size, image_size),
        mask_in_chans=16,
    )
    decoder = MaskDecoder(
        transformer_dim=arch.prompt_dim,
        transformer=TwoWayTransformer(2, arch.prompt_dim, arch.decoder_heads, arch.decoder_mlp),
        num_multimask_outputs=mask_outputs - 1,
        iou_head_hidden_dim=arch.prompt_dim,
    )
    return Sam(encoder, prompts, decoder)


def weights_path(task: Task) -> Path | None:
    """Return the file of the task's weights; None if `task.weights` is "random".

    The contents of the file are not checked.

    Raises:
        UserError: the backbone is unknown, the file does not exist, or the pretrained weights of
            the backbone are not on this machine.
    """
    if task.backbone not in ARCHITECTURES:
        raise no_such("backbone", task.backbone, ARCHITECTURES)
    if task.weights == "random":
        return None
    if task.weights != "pretrained":
        path = Path(task.weights)
        if not path.is_file():
            raise UserError(
                f"no checkpoint at {path}: give --checkpoint an existing .safetensors or .pth file,"
                " or leave it out for the default weights"
            )
        return path
    public = task.backbone in PUBLIC
    shipped = ARCHITECTURES[task.backbone].weights
    if shipped is None and public:
        shipped = cached_weights(task.backbone)
    if shipped is None or not shipped.is_file():
        how = f"get them with '{program_name()} weights fetch {task.backbone}', " if public else ""
        raise UserError(
            f"no pretrained weights for {task.backbone} here: {how}give --checkpoint FILE,"
            " or --weights random to start from noise"
        )
    return shipped


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
    if task.backbone == "mobile_sam":
        state = from_public(state)
    load_tensors(sam, state, str(path), task.backbone)
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
