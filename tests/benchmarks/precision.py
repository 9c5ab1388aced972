"""Training steps in bf16 against steps in fp32, the same model and batch, in turns.

python tests/benchmarks/precision.py --methods lora,unet

On a processor that cannot multiply bf16 (`bench.sam.precision`), this is what rounding costs.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation

import torch
from pairing import CLOCKS, ratio, take_turns
from rich.console import Console
from rich.table import Table
from workload import RECIPE, training


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a ratio for each method."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", default="lora,unet,full")
    parser.add_argument("--batch", type=int, default=4, help="images [%(default)s]")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of steps [%(default)s]")
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    clock = CLOCKS[asked.clock]

    def timed(method: str, precision: str) -> Callable[[], float]:
        step = training(method, asked.batch, replace(RECIPE, precision=precision))
        step()  # the first call allocates

        def measure() -> float:
            began = clock()
            step()
            return clock() - began

        return measure

    capability = torch.backends.cpu.get_cpu_capability()
    title = f"sam_nano, 256 px, batch {asked.batch}, 1 thread, {capability}"
    table = Table("Step in bf16 / in fp32", "Ratio", "95 % interval", "Pairs", title=title)
    for method in asked.methods.split(","):
        half, full = timed(method, "bf16"), timed(method, "fp32")
        table.add_row(method, *ratio(*take_turns(half, full, asked.rounds)).shown())
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
