"""What perfect outputs at 256 px reach: the limit of each rule on the embedded datasets."""

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.decode import decode, instance_numbers
from bench.data.split import split
from bench.evaluate.whole import resize_logits
from bench.metrics.objects import ObjectScore, score_objects_by_class, summarise_objects
from bench.objects.rules import RULES
from bench.objects.targets import distance_maps
from bench.plugins.registry import load_collection

SIDE = 256


@pytest.mark.slow  # draws the images of a whole dataset
@pytest.mark.parametrize(
    ("dataset", "components", "watershed", "distances"),
    [("particles", 25.5, 64.2, 90.8), ("nuclei", 56.9, 85.4, 97.6)],
)
def test_pq_of_perfect_outputs(
    dataset: str, components: float, watershed: float, distances: float
) -> None:
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
        outputs = np.concatenate([classes, distance_maps(mask, small)[0]])
        full = resize_logits(torch.from_numpy(outputs)[None], truth.shape)[0].numpy()
        predicted = full[:2].argmax(0).astype(np.uint8)
        for name, rule in RULES.items():
            objects = rule.separate(predicted, full[2:])
            score = score_objects_by_class(
                predicted, truth, 2, numbers, predicted_instances=objects
            )
            scores[name].append(score)
    for name, expected in zip(RULES, (components, watershed, distances), strict=True):
        pq = summarise_objects(scores[name], collection.classes)["pq_dataset"]
        assert pq is not None
        assert 100 * pq == pytest.approx(expected, abs=0.3)
