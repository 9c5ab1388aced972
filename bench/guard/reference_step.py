"""A training step in plain PyTorch whose speed measures how fast the machine is at the moment.

It uses no code of this project, so a change of this project cannot change it. It is the original
image encoder of SAM, whose matrix products, convolutions, norms and attention are of the kind and
size of those in sam_nano: what makes one faster also makes the other faster.
"""

from collections.abc import Callable

import torch
from segment_anything.modeling import ImageEncoderViT

from bench.cost.measure import BLOCK_S, BLOCKS, LIMIT_S, STEADY, WARMUP_S
from bench.cost.throughput import measure_throughput

SIDE, BATCH = 128, 4  # px, images


def reference_step() -> Callable[[], None]:
    """Return a function that makes one training step: AdamW on noise, in fp32 on the CPU.

    The step has `BATCH` images of `SIDE` px. The seed of torch's generator is changed.
    """
    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=SIDE,
        patch_size=8,
        embed_dim=96,
        depth=4,
        num_heads=3,
        out_chans=96,
        use_rel_pos=True,
        window_size=8,
        global_attn_indexes=(2,),
    )
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-4)
    images = torch.rand(BATCH, 3, SIDE, SIDE)

    def step() -> None:
        loss = encoder(images).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def reference_speed() -> float:
    """Images per second of the reference step, measured like the training speed of a cell."""
    speed = measure_throughput(
        reference_step(),
        BATCH,
        warmup_s=WARMUP_S,
        block_s=BLOCK_S,
        blocks=BLOCKS,
        steady=STEADY,
        limit_s=LIMIT_S,
    )
    return speed.median
