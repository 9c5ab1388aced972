"""Draw the figure in docs/protocol/data.md: python docs/figures/draw_augmentation.py."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.plugins.registry import load_collection  # noqa: E402
from bench.report.plots.preview import write_preview  # noqa: E402

WIDTH = 1000  # px
GREYS, SHADES = 32, 3  # a small file: grey levels, and mixtures of an outline with them
OUTLINES = ((230, 159, 0), (86, 180, 233))  # of the classes of `steel`


def palette() -> Image.Image:
    """Colours enough for grey pictures with outlines."""
    greys = np.repeat(np.linspace(0, 255, GREYS)[:, None], 3, axis=1)
    behind = np.repeat(np.linspace(0, 255, SHADES)[:, None], 3, axis=1)
    mixed = [(1 - s) * behind + s * np.array(one) for one in OUTLINES for s in (0.5, 0.75, 1)]
    made = Image.new("P", (1, 1))
    made.putpalette(np.concatenate([greys, *mixed]).round().astype(np.uint8).tobytes())
    return made


def draw() -> None:
    """Write the preview of the reports' transforms on `steel`, small enough for the repository."""
    path = HERE / "augmentation.png"
    write_preview(load_collection("steel"), "reports", 256, 0, path, images=2, views=5)
    with Image.open(path) as full:
        picture = full.convert("RGB")
    height = round(picture.height * WIDTH / picture.width)
    small = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(palette=palette(), dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    draw()
