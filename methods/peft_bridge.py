"""The method `peft`: tuners of Hugging Face's library on the layers of SAM's encoder.

The encoder is frozen, and a tuner of the library is applied to its linear layers (`targets`: qkv is
the fused layer of queries, keys and values; attention adds the output projection; all adds the
MLP). The updates are scaled by 1 at every rank (randlora by 20, as its authors advise). The mask
decoder is trained in full. `rank` sets the size of a tuner that is closest to a rank: its rank, or
the side of its blocks. `TUNERS` lists the tuners that fit; `UNFIT` lists those that do not, with
the reason. Initial outputs equal those of the pretrained model, except for c3a and fourierft.
`pissa`, `olora` and `orthogonal` are LoRA with other initial values, which are subtracted from the
frozen weight.

The name of this file differs from the name of the method, because a type checker would mistake
`peft.py` for the library.
"""

import copy
import dataclasses
import difflib
import importlib.util
import math
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench import (
    SamSegmenter,
    SemanticDecoder,
    Task,
    UnsupportedError,
    UserError,
    freeze,
    load_sam,
    register_method,
    replace_modules,
    require,
    require_attention,
    select_blocks,
)

if importlib.util.find_spec("peft") is None:  # not imported here: an import takes ten seconds
    raise ModuleNotFoundError("no module named peft: install the extra 'peft'", name="peft")

LAYERS = {"qkv": r"attn\.qkv", "attention": r"attn\.(qkv|proj)"}
LAYERS["all"] = rf"({LAYERS['attention']}|mlp\.(lin|fc)\d)"
NORMS = r"(attn\.|mlp\.)?norm\d?"
RANK = 8
ALL_WIDTHS = 32  # divides the width of every layer of every SAM


@dataclasses.dataclass(frozen=True)
class Tuner:
    """How a tuner of the library is configured.

    Attributes:
        config: name of the configuration class.
        rank: name of the setting that receives `rank`; None if the tuner has no rank.
        settings: further settings.
        alpha: name of the setting by which updates are scaled, divided by the rank; None if absent.
        scale: value of `alpha` as a function of the rank.
    """

    config: str
    rank: str | None = "r"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    alpha: str | None = None
    scale: Callable[[int], float] = lambda rank: rank


def _lora(**settings: Any) -> Tuner:
    return Tuner("LoraConfig", settings=settings, alpha="lora_alpha")


TUNERS = {
    "lora": _lora(),
    "dora": _lora(use_dora=True),
    "rslora": dataclasses.replace(_lora(use_rslora=True), scale=math.sqrt),
    "pissa": _lora(init_lora_weights="pissa"),
    "olora": _lora(init_lora_weights="olora"),
    "orthogonal": _lora(init_lora_weights="orthogonal"),
    "beft": Tuner("BeftConfig", rank=None),
    "c3a": Tuner("C3AConfig", rank=None, settings={"block_size": ALL_WIDTHS}),
    "deft": Tuner("DeftConfig"),
    "delora": Tuner("DeloraConfig"),
    "fourierft": Tuner("FourierFTConfig", rank=None),
    "glora": Tuner("GloraConfig"),
    "gralora": Tuner("GraloraConfig", alpha="alpha"),
    "hira": Tuner("HiraConfig"),
    "hra": Tuner("HRAConfig"),
    "ia3": Tuner("IA3Config", rank=None, settings={"feedforward_modules": []}),
    "lily": Tuner("LilyConfig"),
    "ln_tuning": Tuner("LNTuningConfig", rank=None),
    "loha": Tuner("LoHaConfig", alpha="alpha"),
    "lokr": Tuner("LoKrConfig", alpha="alpha"),
    "miss": Tuner("MissConfig"),
    "oft": Tuner("OFTConfig", rank="oft_block_size", settings={"r": 0}),
    "osf": Tuner("OSFConfig", rank="effective_rank"),
    "peanut": Tuner("PeanutConfig"),
    "psoft": Tuner("PsoftConfig", alpha="psoft_alpha"),
    "pvera": Tuner("PveraConfig"),
    "randlora": Tuner("RandLoraConfig", alpha="randlora_alpha", scale=lambda rank: 20 * rank),
    "road": Tuner("RoadConfig", rank=None, settings={"group_size": ALL_WIDTHS}),
    "supertuning": Tuner("SupertuningConfig"),
    "tinylora": Tuner("TinyLoraConfig"),
    "vera": Tuner("VeraConfig"),
    "waveft": Tuner("WaveFTConfig", rank=None),
}

_TEXT = "adds prompts before the tokens of a language model, but SAM's tokens are a grid"
_VALUES = "reads weights when it is built, but a method must be built without weights"
_TRAINER = "needs calls from the training loop, but all methods have the same training loop"
UNFIT = {
    **dict.fromkeys(
        (
            "adaption_prompt",
            "cartridge",
            "cpt",
            "multitask_prompt_tuning",
            "p_tuning",
            "prefix_tuning",
            "prompt_tuning",
        ),
        _TEXT,
    ),
    **dict.fromkeys(("boft", "frod", "shira", "unilora"), _VALUES),
    "adalora": f"{_TRAINER}; without these calls its ranks do not change, and it equals LoRA",
    "adamss": f"{_VALUES}, and it needs scikit-learn",
    "poly": "needs the number of a task with every batch",
    "shadow": "consists of decoder layers of a language model",
    "trainable_tokens": "trains rows of a token table, but SAM's encoder has no token table",
    "vblora": "selects vectors by the values of its weights, so its cost cannot be counted",
    "xlora": "mixes LoRAs that have been trained before for a language model",
}


class Bridged(nn.Module):
    """A layer of the library on flattened tokens, because some layers do not accept grids."""

    layer: Any

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        output: Tensor = self.layer(x.flatten(0, -2))
        return output.unflatten(0, x.shape[:-1])

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the plain layer, merged by the library itself."""
        layer = copy.deepcopy(self.layer)
        try:
            layer.merge()
        except NotImplementedError as error:
            raise UnsupportedError("this tuner of peft cannot be merged") from error
        plain: nn.Module = layer.get_base_layer()
        return plain


def _configuration(type: str, rank: int, pattern: str) -> Any:
    import peft

    tuner = TUNERS[type]
    if not hasattr(peft, tuner.config):
        raise UserError(f"this version of peft has no '{type}': install a newer one")
    settings = {"target_modules": pattern, **tuner.settings}
    if tuner.rank is not None:
        settings[tuner.rank] = rank
    if tuner.alpha is not None:
        settings[tuner.alpha] = tuner.scale(rank)
    return getattr(peft, tuner.config)(**settings)


@register_method("peft", paper="https://github.com/huggingface/peft", lr=3e-3)
def peft_tuner(
    task: Task,
    *,
    type: str = "lora",
    rank: int = RANK,
    targets: str = "qkv",
    blocks: str = "all",
) -> nn.Module:
    """A tuner of Hugging Face peft (type=lora, dora, loha, ...) in the encoder; decoder trained."""
    if type in UNFIT:
        raise UnsupportedError(f"peft's {type} {UNFIT[type]}")
    near = difflib.get_close_matches(type, TUNERS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    require(type in TUNERS, f"no type '{type}' in peft: {hint}give one of {', '.join(TUNERS)}")
    require(rank >= 1, f"rank {rank} is too small: give 1 or more")
    require(targets in LAYERS, f"targets '{targets}' is not known: give one of {', '.join(LAYERS)}")
    require(
        rank == RANK or TUNERS[type].rank is not None,
        f"peft's {type} has no rank: leave rank={rank} out",
    )
    sam = load_sam(task)
    model = SamSegmenter(sam, SemanticDecoder(sam, task.num_classes))
    encoder = model.image_encoder
    freeze(encoder)
    selected = [encoder.blocks[index] for index in select_blocks(blocks, len(encoder.blocks))]
    for block in selected:
        require_attention(block, "peft")
    names = [name for name, module in encoder.named_modules() if module in selected]
    layers = NORMS if type == "ln_tuning" else LAYERS[targets]
    pattern = rf"({'|'.join(map(re.escape, names))})\.{layers}"
    configuration = _configuration(type, rank, pattern)
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # about layers that peft's authors did not test, as LayerNorm
        try:
            get_peft_model(encoder, configuration)  # changes the encoder's layers in place
        except ValueError as error:
            raise UserError(f"peft's {type} does not take rank {rank} here: {error}") from error
    replace_modules(encoder, pattern, Bridged)
    return model
