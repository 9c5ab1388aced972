"""Foundation models, made of the classes of `segment_anything`."""

from dataclasses import dataclass
from pathlib import Path

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from bench.errors import UserError, no_such
from bench.sam.encoder import FastEncoder
from bench.sam.tiny_vit import TinyViTEncoder, from_public
from bench.sam.weights import PUBLIC, cached_weights
from bench.spec import Task
from bench.wording import program_name

NANO_WEIGHTS = Path(__file__).parent / "nano" / "sam_nano.safetensors"


@dataclass(frozen=True)
class Architecture:
    """Sizes of a SAM; the defaults are those all of Meta's models share.

    `global_blocks` attend over the whole image, the others within windows of `window` tokens.
    A depth of 0 stands for MobileSAM's TinyViT, whose sizes are its own.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    image_size: int = 1024  # side at which the weights were trained
    patch: int = 16
    window: int = 14
    prompt_dim: int = 256
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    weights: Path | None = None  # shipped with the package


ARCHITECTURES = {
    # Three decoder heads keep 16 numbers a head, enough to tell where a prompt lies. Patches of
    # 8 px give masks of 2 px: at 4 px (patches of 16) even perfect masks of the nuclei of dsb2018
    # would reach an IoU of 0.86 only, at 2 px 0.98.
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
    """A randomly initialised SAM for square images of `image_size` pixels.

    Args:
        backbone: a key of `ARCHITECTURES`.
        image_size: a multiple of the patch size.
        mask_outputs: mask tokens of the decoder; 4 in SAM (one mask, and three for ambiguity).

    Raises:
        UserError: unknown backbone, or a side that is no multiple of the patch size.
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
    """The file the weights come from; None for random weights.

    Raises:
        UserError: the file does not exist, or the backbone ships no weights.
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


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a PyTorch checkpoint read with `weights_only`."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return {name: tensor.float() for name, tensor in load_file(path).items()}
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # whatever a damaged file makes the reader raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
        raise UserError(
            f"cannot read the checkpoint {path} ({reason}): give a .safetensors or .pth file of"
            " tensors"
        ) from error


def load_sam(task: Task) -> Sam:
    """The task's foundation model with its weights, on the CPU; frozen nowhere.

    On the meta device (`with torch.device("meta")`) no weights are read.

    Raises:
        UserError: unknown backbone, no weights, or weights that do not fit the backbone.
    """
    path = weights_path(task)
    sam = build_sam(task.backbone, task.image_size)
    if path is None or sam.mask_decoder.iou_token.weight.is_meta:
        return sam
    state = read_weights(path)
    if task.backbone == "mobile_sam":
        state = from_public(state)
    state = resize_positions(state, sam)
    try:
        sam.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"{path} does not fit {task.backbone}: {' '.join(str(error).split())[:160]}"
        ) from error
    return sam


def resize_positions(state: dict[str, Tensor], sam: Sam) -> dict[str, Tensor]:
    """Fit the positions of another image side: bilinear in 2-D, as SAMed does (section 2 there).

    Absolute positions (1, h, w, C) and the relative tables (2n - 1, C) of global blocks change
    their length with the image side; all else is passed on.
    """
    wanted = sam.state_dict()
    resized = dict(state)
    for name, tensor in state.items():
        if name not in wanted or tensor.shape == wanted[name].shape:
            continue
        target = wanted[name].shape
        if name.endswith("pos_embed"):
            grid = tensor.permute(0, 3, 1, 2)
            resized[name] = nn.functional.interpolate(
                grid, size=target[1:3], mode="bilinear", align_corners=False
            ).permute(0, 2, 3, 1)
        elif ".rel_pos_" in name and tensor.shape[1] == target[1]:
            resized[name] = nn.functional.interpolate(
                tensor[None, None], size=tuple(target), mode="bilinear", align_corners=False
            )[0, 0]
    return resized
