"""Our encoder against `segment_anything`'s, the same weights, in turns: time and memory of a step.

python tests/benchmarks/attention.py --size 512 --batch 2     time in fp32 and bf16, and memory
python tests/benchmarks/attention.py --size 1024 --memory     memory alone, with checkpointing too

LoRA of rank 4 on queries and values, the rest frozen, ViT-B. Explained in docs/benchmarks.md.
"""

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation

import torch
from pairing import CLOCKS, ratio, take_turns
from rich.console import Console
from rich.table import Table
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from bench.cost.memory import measure_memory
from bench.sam import freeze
from bench.sam.backbone import get_backbone
from bench.sam.encoder import FastEncoder, checkpoint_blocks
from bench.sam.lora import LoRALinear
from bench.sam.surgery import replace_modules

TIME_AIMS = {"fp32 / plain fp32": 0.92, "bf16 / plain fp32": 0.38, "bf16 / plain bf16": 1.0}
MEMORY_AIMS = {512: 0.8, 1024: 0.5}
CHECKPOINTED_AIM = 0.25


def encoders(backbone: str, size: int) -> tuple[nn.Module, nn.Module]:
    """`segment_anything`'s encoder and ours with LoRA, from the same weights."""
    torch.manual_seed(0)
    arch = get_backbone(backbone).vit
    assert arch is not None
    plain = ImageEncoderViT(
        size,
        arch.patch,
        embed_dim=arch.width,
        depth=arch.depth,
        num_heads=arch.heads,
        out_chans=arch.prompt_dim,
        norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=arch.window,
        global_attn_indexes=arch.global_blocks,
    )
    fast = FastEncoder(
        image_size=size,
        patch=arch.patch,
        width=arch.width,
        heads=arch.heads,
        depth=arch.depth,
        global_blocks=arch.global_blocks,
        window=arch.window,
        out_channels=arch.prompt_dim,
    )
    fast.load_state_dict(plain.state_dict())
    for model in (plain, fast):
        freeze(model)
        torch.manual_seed(1)
        replace_modules(
            model, r"blocks\.\d+\.attn\.qkv", lambda layer: LoRALinear(layer, 4, 4, "qv", "qkv")
        )
    return plain, fast


def stepper(model: nn.Module, images: torch.Tensor, bf16: bool) -> Callable[[], None]:
    """One forward and backward pass of the encoder."""

    def step() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            out = model(images)
        out.float().square().mean().backward()
        model.zero_grad(set_to_none=True)

    return step


def activation_bytes(model: nn.Module, images: torch.Tensor, bf16: bool) -> int:
    """Peak of all that is neither weight nor gradient nor optimiser state."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.0)
    step = stepper(model, images, bf16)
    return measure_memory(step, model, optimizer, images.device).activations


def times(
    plain: nn.Module, fast: nn.Module, images: torch.Tensor, asked: Any, table: Table
) -> None:
    """Rows of the ratios of step times."""
    steps = {
        "plain fp32": stepper(plain, images, False),
        "fp32": stepper(fast, images, False),
        "plain bf16": stepper(plain, images, True),
        "bf16": stepper(fast, images, True),
    }
    clock = CLOCKS[asked.clock]

    def timed(step: Callable[[], None]) -> float:
        began = clock()
        step()
        return clock() - began

    for step in steps.values():
        step()  # first calls allocate
    for name, aim in TIME_AIMS.items():
        ours, theirs = (functools.partial(timed, steps[part]) for part in name.split(" / "))
        shown = ratio(*take_turns(ours, theirs, asked.rounds)).shown()
        table.add_row(f"step time {name}", *shown[:2], f"{aim}")


def memory(plain: nn.Module, fast: nn.Module, images: torch.Tensor, table: Table) -> None:
    """Rows of the ratios of peak activation memory, fp32."""
    theirs = activation_bytes(plain, images, False)
    aim = MEMORY_AIMS.get(images.shape[-1])
    ours = activation_bytes(fast, images, False)
    detail = f"{ours / 2**30:.2f} of {theirs / 2**30:.2f} GiB"
    table.add_row("activations fp32", f"{ours / theirs:.3f}", detail, f"{aim}")
    checkpoint_blocks(fast)
    ours = activation_bytes(fast, images, False)
    detail = f"{ours / 2**30:.2f} of {theirs / 2**30:.2f} GiB"
    table.add_row("  with checkpointing", f"{ours / theirs:.3f}", detail, f"{CHECKPOINTED_AIM}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="sam_vit_b")
    parser.add_argument("--size", type=int, default=512, help="side in pixels [%(default)s]")
    parser.add_argument("--batch", type=int, default=2, help="images [%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="of every pair [%(default)s]")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", action="store_true", help="memory alone")
    asked = parser.parse_args(arguments)
    plain, fast = encoders(asked.backbone, asked.size)
    images = torch.randn(asked.batch, 3, asked.size, asked.size, device=asked.device)
    plain, fast = plain.to(asked.device), fast.to(asked.device)
    threads = torch.get_num_threads()
    title = f"{asked.backbone}, {asked.size} px, batch {asked.batch}, {threads} threads"
    table = Table("Ours / segment_anything", "Ratio", "95 % interval, or sizes", "Aim", title=title)
    if not asked.memory:
        times(plain, fast, images, asked, table)
    memory(plain, fast, images, table)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
