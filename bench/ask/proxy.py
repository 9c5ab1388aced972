"""The suite `proxy`: one grid (`results/published/proxy.toml`) on two backbones, small and large.

It asks whether a small backbone ranks methods as a large one does. If so, methods can be chosen on
the small one, at a fraction of the cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from bench.ask.grid import LoadedDataset, expand, load_datasets
from bench.ask.published import changed, read_grid
from bench.ask.request import Request
from bench.ask.suites import SuiteChoice
from bench.errors import UserError
from bench.spec import Cell

NAME = "proxy"
TITLE = "Does the embedded backbone rank methods as a large one does?"
SMALL, LARGE = "sam_nano", "sam_vit_b"


@dataclass(frozen=True)
class _Grid:
    """The file, in which each kind of images lists its datasets."""

    methods: str
    kinds: Mapping[str, tuple[str, ...]]


@cache
def _grid() -> _Grid:
    grid = read_grid("proxy.toml", _Grid)
    if empty := [kind for kind, names in grid.kinds.items() if not names]:
        raise changed("proxy.toml", f"kinds.{empty[0]} is empty")
    return grid


def default_datasets() -> str:
    """The datasets that are run by default, separated by commas: one of each kind of images.

    Raises:
        UserError: the file of the grid does not exist, or cannot be used.
    """
    return ",".join(names[0] for names in _grid().kinds.values())


def kind_of(dataset: str) -> str:
    """The kind of images of a dataset, such as "nuclei"; "other" if it is not listed.

    Raises:
        UserError: the file of the grid does not exist, or cannot be used.
    """
    kinds = _grid().kinds.items()
    return next((kind for kind, names in kinds if dataset in names), "other")


def large_backbone(choice: SuiteChoice) -> str:
    """The backbone that `SMALL` is compared with: that of the request, or `LARGE`.

    Raises:
        UserError: the request names more than one backbone.
    """
    chosen = choice.chosen("backbones") or LARGE
    if "," in chosen:
        raise UserError(
            f"--backbone is {chosen}: the suite {NAME} compares one backbone with {SMALL}; run it"
            " once for each"
        )
    return LARGE if chosen == SMALL else chosen


def expand_proxy(
    choice: SuiteChoice, datasets: Mapping[str, LoadedDataset] | None = None
) -> tuple[list[Cell], list[str]]:
    """List the cells of the suite, with the notes of `expand`.

    Weights, checkpoint and image size of the request are those of the large backbone. The small one
    has its own weights and image size. Both have the same images, recipe and seeds.

    Args:
        choice: the user's settings. Its `dataset` may name several datasets.
        datasets: these datasets, if they were loaded before.

    Returns:
        The cells of both backbones, the small one first, and the notes.

    Raises:
        UserError: a part of the request is invalid.
    """
    request = Request(
        _grid().methods,
        choice.dataset or default_datasets(),
        seeds=choice.seeds,
        **choice.request,
    )
    large = replace(request, backbones=large_backbone(choice))
    small = replace(
        request, backbones=SMALL, weights="pretrained", checkpoint=None, image_size=None
    )
    loaded = load_datasets(request) if datasets is None else datasets
    (cells, notes), (more, further) = (expand(one, loaded) for one in (small, large))
    return cells + more, list(dict.fromkeys(notes + further))
