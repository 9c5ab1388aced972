"""Predicted against measured memory of a training step, on this machine.

    python tests/benchmarks/memory_error.py --device cuda --backbone sam_vit_b --image-size 512

Each line is one method with random weights, and is printed as soon as it is measured. On CUDA this
command gives the margins that docs/cost.md says are not measured yet.
"""

import argparse
import gc
import sys
from pathlib import Path

import torch

if __name__ == "__main__":  # as a script it is not in the path that pytest sets
    sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.cost.measure import measure_training_memory
from bench.cost.memory import MemorySplit
from bench.cost.predict.memory import MemoryPrediction, predict_memory
from bench.errors import UnsupportedError
from bench.learn.model import Model
from bench.plugins.registry import Method, get_method, list_methods
from bench.sam.encoder import checkpoint_blocks
from bench.spec import Recipe, Task


def compare(
    method: Method, task: Task, recipe: Recipe, device: str = "cpu"
) -> tuple[MemoryPrediction, MemorySplit]:
    """The predicted and the measured memory of one method."""
    predicted = predict_memory(method, {}, task, recipe, device=device)
    torch.manual_seed(0)
    module = method.build(task).to(device)
    if recipe.checkpointing:
        checkpoint_blocks(module)
    return predicted, measure_training_memory(Model(module, task, recipe))


def main() -> None:
    """Print one line for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--backbone", default="sam_vit_b")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--methods", help="names, separated by commas [all that train]")
    words = parser.parse_args()
    names = words.methods.split(",") if words.methods else [m.name for m in list_methods(True)]
    print("method,image_size,batch_size,predicted_bytes,measured_bytes,error_percent", flush=True)
    for method in (get_method(name) for name in names):
        if method.lr is None:
            continue
        backbone = "none" if method.from_scratch else words.backbone
        task = Task(3, words.image_size, backbone, "random")
        recipe = Recipe(
            method.lr,
            batch_size=words.batch_size,
            precision=words.precision,
            checkpointing=words.checkpointing,
        )
        try:
            predicted, measured = compare(method, task, recipe, words.device)
        except UnsupportedError as error:
            print(f"{method.name}: {error}", file=sys.stderr, flush=True)
            continue
        error_percent = 100 * (predicted.peak / measured.peak - 1)
        figures = (task.image_size, words.batch_size, predicted.peak, measured.peak)
        print(method.name, *figures, f"{error_percent:.4f}", sep=",", flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
