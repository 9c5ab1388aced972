"""The folder of the LoRA updates of an image encoder that Hugging Face `peft` loads onto SAM."""

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from bench.cost.params import trained_state
from bench.errors import UnsupportedError
from bench.export.agreement import check_images, largest_difference, to_unit
from bench.export.libraries import import_library
from bench.export.plain_sam import sam_with_encoder
from bench.sam.lora import LoRALinear
from bench.sam.segmenter import SamSegmenter
from bench.spec import Task

ENCODER = "image_encoder."


def lora_layers(module: nn.Module) -> dict[str, LoRALinear]:
    """The layers of the image encoder with LoRA updates, by their names in SAM; at least one.

    Raises:
        UnsupportedError: there are none, or training changes other tensors of the encoder too.
            Trained tensors outside the encoder are allowed.
    """
    layers = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, LoRALinear) and name.startswith(ENCODER)
    }
    if not isinstance(module, SamSegmenter) or not layers:
        raise UnsupportedError("its image encoder has neither LoRA updates nor layers of peft")
    updates = tuple(f"{name}.updates." for name in layers)
    others = [
        name
        for name in trained_state(module)
        if name.startswith(ENCODER) and not name.startswith(updates)
    ]
    if others:
        raise UnsupportedError(
            f"its training changes {len(others)} tensors of the image encoder outside its LoRA"
            f" updates (first: {others[0]})"
        )
    return layers


def base_sam(module: SamSegmenter, task: Task) -> Sam:
    """A SAM of `segment_anything` with the encoder's weights before training.

    Its prompt encoder and mask decoder have random weights: the adapter does not concern them.

    Args:
        module: a model of this project with LoRA layers in its encoder; it is not changed.
        task: what it was built for.

    Raises:
        UnsupportedError: `segment_anything` does not have this image encoder.
    """
    encoder = copy.deepcopy(module.image_encoder)
    for part in list(encoder.modules()):
        for name, layer in list(part.named_children()):
            if isinstance(layer, LoRALinear):
                setattr(part, name, layer.base)
    return sam_with_encoder(encoder, task)


def as_one_update(layer: LoRALinear) -> tuple[Tensor, Tensor, float]:
    """The updates of all slices of a layer as one update of the whole layer.

    Returns:
        A (n r, in), B (out, n r) and the scale of the product, for n updates of rank r.
    """
    updates: dict[str, Any] = dict(layer.updates.items())
    rank = layer_rank(layer)
    heads, kinds = layer.heads, len(layer.of)
    rows = layer.base.out_features // (heads * kinds)
    second = torch.zeros(heads, kinds, rows, rank * len(updates))
    for number, (key, update) in enumerate(updates.items()):
        part = update.b.weight.detach().unflatten(0, (heads, rows))
        second[:, layer.of.index(key), :, number * rank : (number + 1) * rank] = part
    first = torch.cat([update.a.weight.detach() for update in updates.values()])
    scale = float(next(iter(updates.values())).scale)
    return first, second.flatten(0, 2), scale


def layer_rank(layer: LoRALinear) -> int:
    """Rank of the first update of a layer; all its updates have this rank."""
    update: Any = next(iter(layer.updates.values()))
    return int(update.a.out_features)


def write_adapter(layers: dict[str, LoRALinear], base: Sam, folder: Path) -> None:
    """Write the adapter as `PeftModel.save_pretrained` does.

    Args:
        layers: of `lora_layers`.
        base: of `base_sam`; remains unchanged.
        folder: is made if needed; files of these names are replaced.

    Raises:
        UserError: peft is not installed.
    """
    peft = import_library("peft", "an adapter of peft")
    updates = {name: as_one_update(layer) for name, layer in layers.items()}
    ranks = {name: len(first) for name, (first, _, _) in updates.items()}
    alphas = {name: scale * ranks[name] for name, (_, _, scale) in updates.items()}
    name = next(iter(updates))
    configuration = peft.LoraConfig(
        r=ranks[name],
        lora_alpha=alphas[name],
        target_modules=list(updates),
        rank_pattern={other: rank for other, rank in ranks.items() if rank != ranks[name]},
        alpha_pattern={other: alpha for other, alpha in alphas.items() if alpha != alphas[name]},
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        adapted = peft.get_peft_model(copy.deepcopy(base), configuration)
    with torch.no_grad():
        for name, (first, second, _) in updates.items():
            layer = adapted.base_model.model.get_submodule(name)
            layer.lora_A["default"].weight.copy_(first)
            layer.lora_B["default"].weight.copy_(second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft looks for the base model on the Hugging Face Hub
        adapted.save_pretrained(folder, safe_serialization=True)


@torch.no_grad()
def adapter_difference(module: SamSegmenter, base: Sam, folder: Path) -> float:
    """The largest difference of the image embeddings of a model and of SAM with its adapter.

    Args:
        module: the model that was exported, in evaluation mode (`eval()`).
        base: of `base_sam` or `tuner_base`; remains unchanged.
        folder: of the adapter, which peft loads.

    Returns:
        As `largest_difference`.

    Raises:
        UserError: peft is not installed.
        UnsupportedError: the adapted encoder of SAM does not run.
    """
    peft = import_library("peft", "an adapter of peft")
    adapted = peft.PeftModel.from_pretrained(copy.deepcopy(base), folder).eval()
    images = to_unit(check_images(module.image_encoder.img_size))
    features = images
    for stage in module.stages():
        features = stage.run(features)
    try:
        theirs = adapted.base_model.model.image_encoder(module.normalise(images))
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnsupportedError(
            f"its tuner takes no grid of tokens, as SAM has it ({reason[:100]})"
        ) from error
    return largest_difference(features, theirs)
