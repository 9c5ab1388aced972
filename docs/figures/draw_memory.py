"""Draw the figure in docs/cost.md from predictions: python docs/figures/draw_memory.py."""

import sys
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.cost.predict.memory import MemoryPrediction, predict_memory  # noqa: E402
from bench.plugins.registry import get_method  # noqa: E402
from bench.report.plots.style import legend_below, save, style  # noqa: E402
from bench.spec import Recipe, Task  # noqa: E402

ENCODER = ("full", "med_sa", "ssf", "adapter", "lora", "prompt_tokens", "sam_adapter", "bias_only")
METHODS = (*ENCODER, "decoder_lora", "decoder_only", "frozen_head")
BACKBONES = {"sam_vit_b": "ViT-B", "sam_vit_l": "ViT-L", "sam_vit_h": "ViT-H"}
PARTS = {
    "weights": "#332288",
    "gradients": "#CC6677",
    "optimizer": "#DDCC77",
    "activations": "#88CCEE",
}


def predict(method: str, backbone: str) -> MemoryPrediction:
    """The memory of a training step of one image of 1024 px in bf16 on CUDA."""
    task, recipe = Task(2, 1024, backbone, "random"), Recipe(1e-3, batch_size=1)
    return predict_memory(get_method(method), {}, task, recipe, device="cuda", inference_batch=0)


def draw() -> None:
    """Write a panel for each backbone with a bar for each method."""
    with style():
        figure = Figure(figsize=(9.5, 4), layout="constrained")
        panels = figure.subplots(1, len(BACKBONES), sharey=True)
        for panel, (backbone, title) in zip(panels, BACKBONES.items(), strict=True):
            predicted = [predict(method, backbone) for method in METHODS]
            left = [0.0] * len(METHODS)
            for part, colour in PARTS.items():
                sizes = [getattr(memory, part) / 2**30 for memory in predicted]
                label = {"optimizer": "optimiser state"}.get(part, part)
                panel.barh(METHODS, sizes, left=left, color=colour, label=label)
                left = [start + size for start, size in zip(left, sizes, strict=True)]
            panel.set(title=title, xlabel="GiB")
            panel.grid(axis="y", visible=False)
        panels[0].invert_yaxis()
        legend_below(figure, panels[0].get_legend_handles_labels()[0])
        save(figure, HERE / "memory", vector=False)


if __name__ == "__main__":
    draw()
