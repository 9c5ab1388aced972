"""What perfect outputs at 256 px reach: the limit of each rule on the embedded datasets."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from bench.data.decode import decode, instance_numbers
from bench.data.split import split
from bench.evaluate.whole import resize_logits
from bench.metrics.objects import ObjectScore, score_objects_by_class, summarise_objects
from bench.objects.rules import RULES
from bench.plugins.registry import load_collection

SIDE = 256


def enlarged(maps: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Maps (C, h, w) at the size of the image; on these datasets it is that of the maps."""
    full: npt.NDArray[np.float32] = resize_logits(torch.from_numpy(maps)[None], size)[0].numpy()
    return full


@pytest.mark.slow  # draws the images of a whole dataset
@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("particles", {"components": 20.1, "watershed": 55.9, "distances": 92.0, "rays": 97.0}),
        ("nuclei", {"components": 61.4, "watershed": 86.9, "distances": 98.4, "rays": 99.6}),
    ],
)
def test_pq_of_perfect_outputs(dataset: str, expected: dict[str, float]) -> None:
    collection = load_collection(dataset)
    scores: dict[str, list[tuple[ObjectScore, ...]]] = {name: [] for name in RULES}
    for item in split(collection).test:
        _, truth = decode(item, collection)
        numbers = instance_numbers(item, truth.shape)
        mask, small = (
            np.array(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.NEAREST))
            for one in (truth, numbers)
        )
        classes = np.stack([mask == 0, mask == 1]).astype(np.float32)
        predicted = enlarged(classes, truth.shape).argmax(0).astype(np.uint8)
        for name, rule in RULES.items():
            maps = enlarged(rule.true_maps(mask, small)[0], truth.shape) if rule.channels else None
            objects = rule.separate(predicted, maps)
            score = score_objects_by_class(
                predicted, truth, 2, numbers, predicted_instances=objects
            )
            scores[name].append(score)
    for name, value in expected.items():
        pq = summarise_objects(scores[name], collection.classes)["pq_dataset"]
        assert pq is not None
        assert 100 * pq == pytest.approx(value, abs=0.3)
