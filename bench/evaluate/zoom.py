"""How many times images are enlarged before windows are cut (`--zoom`), and its choice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.data.items import Collection, Item
from bench.data.validation import validation_stacks
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.learn.model import Model

ZOOMS = (1, 2, 3, 4)


@dataclass(frozen=True)
class ZoomChoice:
    """The zoom that was chosen for a trained model.

    Attributes:
        zoom: the best one.
        metric: name of the score that it was chosen by.
        scores: each zoom that was tried to its score; None where that is not defined.
    """

    zoom: int
    metric: str
    scores: Mapping[int, float | None]

    def to_dict(self) -> dict[str, Any]:
        """The choice as plain containers that JSON can hold."""
        return {
            "chosen": self.zoom,
            "by": self.metric,
            "scores": {str(zoom): score for zoom, score in self.scores.items()},
        }


def check_validation_images(items: Sequence[Item]) -> None:
    """Raise UserError if there is no image to choose a zoom on."""
    if not items:
        raise UserError(
            "--zoom auto chooses the zoom on validation images, and this split has none: give"
            " --zoom N, or a split with validation images"
        )


def choose_zoom(
    model: "Model",
    items: Sequence[Item],
    collection: Collection,
    give_way: Callable[[], object] = lambda: None,
) -> ZoomChoice:
    """Choose the zoom with the best score of a trained model on validation images.

    The score is the panoptic quality where the collection labels objects one by one, otherwise the
    mean Dice of the foreground classes. Zooms are tried in the order of `ZOOMS` up to the first one
    that is not better than the one before, because each costs more than all before it.

    Args:
        model: as trained; its zoom is the chosen one afterwards.
        items: the validation part, at least one image; it is represented by `validation_stacks`.
        collection: of the items.
        give_way: called before each image.

    Raises:
        DivergedError, UserError: as `bench.evaluate.tiles.predict_tiled`.
    """
    from bench.evaluate.scoring import Scoring
    from bench.evaluate.tiles import predict_tiled

    shown = tuple(item for (item,) in validation_stacks(items))
    # Measures of volumes are not needed, and not all slices of a volume may be shown.
    single = replace(
        collection, items=tuple(replace(item, volume="") for item in shown), contents=()
    )
    objects = any(item.instances is not None for item in collection.items)
    metric = "pq_dataset" if objects else "dice_dataset"
    scores: dict[int, float | None] = {}
    best = ZOOMS[0]
    for zoom in ZOOMS:
        model.zoom = zoom
        scoring = Scoring(single)
        for prediction in predict_tiled(model, single.items, single):
            give_way()
            scoring.add(prediction)
        scores[zoom] = scoring.summary().get(metric)
        if zoom != best and (scores[zoom] or 0.0) <= (scores[best] or 0.0):
            break
        best = zoom
    model.zoom = best
    return ZoomChoice(best, metric, scores)
