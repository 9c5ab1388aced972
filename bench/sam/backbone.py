"""Register backbones, and look them up by name.

A backbone is a plugin, as a method is: a file of `bench/sam/backbones/`, or of the subfolder
`backbones/` of a plugin folder, registers the backbones of one family when it is imported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segment_anything.modeling import Sam

from bench.data.public.fetch import Public
from bench.errors import UserError, no_such
from bench.plugins.discover import Plugins
from bench.sam.vit import ViTSizes

Projections = Literal["fused", "none"]


def unchanged(state: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a checkpoint whose names are those of this project."""
    return dict(state)


@dataclass(frozen=True)
class Backbone:
    """A foundation model that methods adapt: how it is built, and where it comes from.

    Attributes:
        name: as in `--backbone`.
        build: `build(image_size, mask_outputs)` returns the model with random weights, on torch's
            default device: an image encoder with `blocks`, `stages()` and `img_size`, a prompt
            encoder, and a mask decoder with `mask_outputs` mask tokens.
        summary: one line for `--list`.
        paper: address of the paper.
        licence: of the public weights, as their publisher states it.
        trained_on: the images of the public weights.
        image_size: side of the training images of the weights, in pixels.
        step: sides of images must be a multiple of it, in pixels.
        parameters: number of parameters at `image_size`, with all parts of the model.
        blocks: number of encoder blocks.
        projections: whether queries, keys and values of a block come from one linear layer
            ("fused"), or there are none (a convolutional encoder).
        file: the file that registers it.
        read: gives the tensors of a published checkpoint the names of this project.
        weights: file in this package with pretrained weights; None if there is none.
        public: the published checkpoint; None if there is none that can be downloaded.
        gated: address of a licence that a user must accept before the weights are read, which
            cannot be downloaded here; None for other weights.
        vit: the sizes of SAM's own architecture; None for another one.
    """

    name: str
    build: Callable[[int, int], Sam]
    summary: str
    paper: str
    licence: str
    trained_on: str
    image_size: int
    step: int
    parameters: int
    blocks: int
    projections: Projections
    file: str
    read: Callable[[Mapping[str, Any]], dict[str, Any]] = unchanged
    weights: Path | None = None
    public: Public | None = None
    gated: str | None = None
    vit: ViTSizes | None = None

    def check_side(self, image_size: int) -> None:
        """Check that images of this side, in pixels, fit.

        Raises:
            UserError: they do not.
        """
        if image_size < self.step or image_size % self.step:
            raise UserError(
                f"image size {image_size} does not fit {self.name}: give a multiple of {self.step}"
            )


def register_backbone(backbone: Backbone) -> None:
    """Make a backbone known; a plugin file calls it once for each of its backbones.

    Raises:
        ValueError: the name is already registered.
    """
    _BACKBONES.add(backbone.name, backbone)


def get_backbone(name: str) -> Backbone:
    """Return the backbone with this name.

    Raises:
        UserError: no backbone has this name, its file cannot be imported here, or a plugin folder
            does not exist or has no plugins.
    """
    backbone = _BACKBONES.find(name)
    if backbone is None:
        raise no_such("backbone", name, _BACKBONES.names())
    return backbone


def list_backbones() -> list[Backbone]:
    """Return every backbone that can be used here, the smallest first; imports all files."""
    return sorted(_BACKBONES.all(), key=lambda backbone: (backbone.parameters, backbone.name))


def unavailable_backbones() -> dict[str, str]:
    """Return the plugins that cannot be imported here: name of the plugin to the reason."""
    _BACKBONES.all()
    return dict(_BACKBONES.unavailable)


_BACKBONES: Plugins[Backbone] = Plugins("backbone", "bench.sam.backbones")
