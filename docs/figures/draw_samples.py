"""Draw the figures of docs/datasets.md: python docs/figures/draw_samples.py [collection ...]."""

import importlib
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bench.data.items import Item  # noqa: E402
from bench.plugins.registry import get_dataset  # noqa: E402

PICKS = {  # numbers of the groups shown, which look different
    "particles": (0, 4, 6, 10, 11, 13),
    "nuclei": (0, 2, 4, 7, 10, 12),
    "camouflage": (2, 4, 7, 10, 11, 15),
    "shadow": (0, 3, 5, 6, 9, 14),
    "organs": (0, 1, 2, 4, 5, 6),
}
SIDE, GAP = 160, 4  # px
COLOURS = 36  # of an image: 6 of them and the truths fit one palette
CLASSES = ("black", "tab:red", "lime", "gold", "tab:orange", "tab:brown", "violet", "cyan", "blue")


def tiles(item: Item, classes: int) -> tuple[Image.Image, Image.Image]:
    """An image and its truth: instances in colours where there are some, else the classes."""
    image = Image.fromarray(np.asarray(item.image)).convert("RGB")
    numbers = np.asarray(item.mask if item.instances is None else item.instances)
    if item.instances is not None:
        rng = np.random.default_rng(0)
        palette = mpl.colormaps["tab20"](rng.permutation(int(numbers.max()) + 1) % 20)[:, :3]
        palette[0] = 0
    else:
        names = CLASSES if classes > 2 else ("black", "white")
        palette = np.array([mpl.colors.to_rgb(name) for name in names])
    truth = Image.fromarray((palette[numbers] * 255).astype(np.uint8))
    size = (SIDE, SIDE)
    small = image.resize(size, Image.Resampling.LANCZOS)
    small = small.quantize(COLOURS, dither=Image.Dither.NONE).convert("RGB")
    return small, truth.resize(size, Image.Resampling.NEAREST)


def draw(name: str) -> None:
    """Write the figure of a collection: images above, truths below."""
    module = importlib.import_module(f"bench.datasets.{name}")
    classes = len(get_dataset(name).classes)
    step = SIDE + GAP
    sheet = Image.new("RGB", (step * len(PICKS[name]) - GAP, step + SIDE), "white")
    for column, number in enumerate(PICKS[name]):
        if name == "organs":
            item = module.draw_patient(number)[3 + column]
        else:
            item = module.draw_item(number, 0)
        for row, tile in enumerate(tiles(item, classes)):
            sheet.paste(tile, (column * step, row * step))
    sheet.quantize(256, dither=Image.Dither.NONE).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PICKS:
        draw(chosen)
