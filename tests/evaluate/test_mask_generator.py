"""The mask generator: how masks become objects, what an adapted SAM is made of, and its scores."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.amg import remove_small_regions
from torch import Tensor, nn

from bench.data.folder.read import read_folder
from bench.data.items import IGNORE, Collection, Item
from bench.errors import DivergedError, UnsupportedError, UserError
from bench.evaluate.mask_generator import (
    NANO,
    GeneratorSettings,
    adapted_sam,
    generate_instances,
    generate_predictions,
    paint,
    predict_objects,
)
from bench.evaluate.scoring import Prediction, Scoring
from bench.learn.model import Model
from bench.plugins.registry import get_method
from bench.sam.build import load_sam
from bench.spec import Recipe, Task

TASK = Task(2, 64, weights="random")
FEW = GeneratorSettings(8, crop_layers=0, min_area_px=16)
CENTRES = ((12, 12), (14, 46), (46, 16), (44, 47))
Labels = npt.NDArray[Any]


def discs(*centres: tuple[int, int]) -> Labels:
    """Numbered discs of radius 8 px in a square of 64 px."""
    y, x = np.mgrid[:64, :64]
    numbers = np.zeros((64, 64), np.uint16)
    for number, (row, column) in enumerate(centres, start=1):
        numbers[(y - row) ** 2 + (x - column) ** 2 <= 64] = number
    return numbers


def shown(numbers: Labels) -> npt.NDArray[np.uint8]:
    """White discs on black, whose grey levels tell which is which."""
    return np.repeat(np.where(numbers, 255 - numbers, 0).astype(np.uint8)[..., None], 3, axis=2)


class Pointed(nn.Module):
    """Stands for SAM's decoder: the disc that was clicked, by its grey level in the image."""

    def __init__(self, sure: tuple[float, ...]) -> None:
        super().__init__()
        self.sure = sure

    def forward(self, **asked: Any) -> tuple[Tensor, Tensor]:
        image, clicks = asked["image_embeddings"][0, 0], asked["sparse_prompt_embeddings"].long()
        levels = image[clicks[:, 0, 1], clicks[:, 0, 0]]
        same = image == levels[:, None, None]
        mask = torch.where(same & (image > 250), 9.0, -9.0)  # below lie resampled edges
        return mask[:, None].expand(-1, 3, -1, -1), torch.tensor([self.sure] * len(clicks))


class Clicks(nn.Module):
    """Stands for SAM's prompt encoder: the clicks themselves."""

    def forward(self, points: tuple[Tensor, Tensor], **_: Any) -> tuple[Tensor, Tensor]:
        return points[0], points[0]

    def get_dense_pe(self) -> Tensor:
        return torch.zeros(1)


class Grey(nn.Module):
    """Stands for SAM's encoder: the image."""

    img_size = 64

    def forward(self, images: Tensor) -> Tensor:
        return images


def pointed(*sure: float) -> Sam:
    """A SAM that finds every disc of `shown`."""
    parts: Any = (Grey(), Clicks(), Pointed(sure))
    return Sam(*parts, pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3)


def test_a_quality_that_is_not_a_number_is_an_error_and_not_an_empty_image() -> None:
    with pytest.raises(DivergedError, match="are not finite"):
        generate_instances(pointed(0.9, float("nan"), 0.9), shown(discs(*CENTRES)), FEW)


def test_finds_separate_objects() -> None:
    truth = discs(*CENTRES)
    found = generate_instances(pointed(0.91, 0.5, 0.95), shown(truth), FEW)
    assert found.dtype == np.int32
    assert found.max() == len(CENTRES)
    for number in range(1, 5):
        inside = truth == number
        assert len(np.unique(found[inside])) == 1
        assert (found == found[inside][0]).sum() == inside.sum()


def test_looks_again_at_crops() -> None:
    truth = discs(*CENTRES)
    layered = GeneratorSettings(8, crop_layers=1, min_area_px=16, points_per_batch=5)
    found = generate_instances(pointed(0.91, 0.91, 0.91), shown(truth), layered)
    assert found.max() == len(CENTRES)
    assert np.mean((found > 0) == (truth > 0)) > 0.97  # edges are resampled with the crops


@pytest.mark.parametrize("crop_layers", [0, 1])
def test_an_image_without_objects_gives_none(crop_layers: int) -> None:
    settings = GeneratorSettings(8, crop_layers=crop_layers)
    assert not generate_instances(pointed(0.95, 0.95, 0.95), shown(discs()), settings).any()


def test_poor_and_small_masks_are_dropped() -> None:
    image = shown(discs(CENTRES[0]))
    area = int((discs(CENTRES[0]) > 0).sum())
    assert generate_instances(pointed(0.95, 0.1, 0.1), image, FEW).max() == 1
    assert not generate_instances(pointed(0.89, 0.1, 0.1), image, FEW).any()
    for least, kept in ((area, 1), (area + 1, 0)):
        settings = GeneratorSettings(8, crop_layers=0, min_area_px=least)
        assert generate_instances(pointed(0.95, 0.1, 0.1), image, settings).max() == kept


def test_the_earlier_mask_keeps_what_both_claim() -> None:
    left, right = np.zeros((2, 10, 10), bool)
    left[:, :6], right[:, 4:] = True, True
    assert paint([left, right], (10, 10))[0].tolist() == [1] * 6 + [2] * 4
    assert paint([right, left], (10, 10))[0].tolist() == [2] * 4 + [1] * 6
    assert paint([left, left, right], (10, 10)).max() == 2  # nothing is left of the duplicate


def test_what_others_left_of_a_mask_may_be_a_rim() -> None:
    inner, half, outer = np.zeros((3, 10, 10), bool)
    inner[:, :6], half[:, :5], outer[:] = True, True, True
    assert paint([inner, outer], (10, 10))[0].tolist() == [1] * 6 + [0] * 4
    assert paint([half, outer], (10, 10))[0].tolist() == [1] * 5 + [2] * 5


def test_what_others_left_of_a_mask_may_be_too_small() -> None:
    left, right = np.zeros((2, 10, 30), bool)
    left[:, 6:12], right[:, 10:16] = True, True
    assert paint([left, right], (10, 30), 40)[0, 6:16].tolist() == [1] * 6 + [2] * 4
    assert paint([left, right], (10, 30), 41)[0, 6:16].tolist() == [1] * 6 + [0] * 4
    assert paint([], (10, 10)).tolist() == [[0] * 10] * 10


def test_holes_are_filled_and_regions_dropped_as_in_sam() -> None:
    pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((30, 30)) < rng.uniform(0.3, 0.7)
        mask[10:20, 10:20] = True  # one region is always large enough
        filled, _ = remove_small_regions(mask, 20, "holes")
        expected, _ = remove_small_regions(filled, 20, "islands")
        np.testing.assert_array_equal(paint([mask], mask.shape, 20) > 0, expected)


def test_small_regions_alone_are_no_object() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:5, 2:5] = mask[10:13, 10:13] = True
    assert not paint([mask], mask.shape, 10).any()
    assert (paint([mask], mask.shape, 9) == mask).all()


def encoded(sam: Sam, image: npt.NDArray[np.uint8]) -> Tensor:
    predictor = SamPredictor(sam.eval())
    predictor.set_image(image)
    features: Tensor = predictor.get_image_embedding()
    return features


@pytest.mark.parametrize("name", ["full", "lora", "sam_lora"])
def test_an_adapted_sam_that_has_learned_nothing_is_sam(name: str) -> None:
    torch.manual_seed(0)
    sam = load_sam(TASK)
    torch.manual_seed(0)
    adapted = adapted_sam(get_method(name).build(TASK), TASK)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)  # is padded
    torch.testing.assert_close(encoded(adapted, image), encoded(sam, image), rtol=0, atol=1e-5)


def test_what_was_trained_comes_along() -> None:
    image = shown(discs(*CENTRES))
    model: Any = get_method("lora").build(TASK)
    before = encoded(adapted_sam(model, TASK), image)
    updates = [p for n, p in model.image_encoder.named_parameters() if p.requires_grad]
    with torch.no_grad():
        for update in updates:
            update.add_(0.1)
    assert (encoded(adapted_sam(model, TASK), image) - before).abs().max() > 1e-3
    prompted: Any = get_method("medsam").build(TASK)
    sam = adapted_sam(prompted, TASK)
    assert sam.mask_decoder is prompted.head.mask_decoder
    assert sam.prompt_encoder is prompted.head.prompt_encoder


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("unet", "needs SAM's image encoder, and this model has none"),
        ("decoder_only", "trains a class head alone, which takes no clicks"),
        ("decoder_lora", "trains a class head alone, which takes no clicks"),
    ],
)
def test_refuses_models_without_an_adapted_encoder(name: str, sentence: str) -> None:
    model = get_method(name).build(TASK)
    with pytest.raises(UnsupportedError, match=sentence):
        adapted_sam(model, TASK)


def collection(*items: Item) -> Collection:
    return Collection("discs", ("background", "disc"), items)


def test_scores_objects_of_all_images() -> None:
    truth = discs(*CENTRES)
    mask = (truth > 0).astype(np.uint8)
    half = mask.copy()
    half[:, 32:] = IGNORE
    items = (
        Item("all", shown(truth), mask, "a", truth),
        Item("half", shown(truth), half, "b", truth),
        Item("missed", shown(discs()), mask, "c", truth),
    )
    scoring = scored(pointed(0.95, 0.1, 0.1), items, collection(*items), FEW)
    rows, summary = scoring.images, scoring.summary()
    assert [row["name"] + row["group"] for row in rows] == ["alla", "halfb", "missedc"]
    assert [row["pq"] for row in rows] == [1.0, 1.0, 0.0]
    assert [row["objects_truth/disc"] for row in rows] == [4, 2, 4]
    assert [row["objects_predicted/disc"] for row in rows] == [4, 2, 0]
    assert summary["particles/disc"] == 6
    assert summary["pq_dataset"] == pytest.approx(12 / 16)
    assert summary["aji_image_mean"] == pytest.approx(2 / 3)


def scored(
    sam: Sam, items: Sequence[Item], discs: Collection, settings: GeneratorSettings
) -> Scoring:
    scoring = Scoring(discs)
    for prediction in generate_predictions(sam, items, discs, settings):
        scoring.add(prediction)
    return scoring


def test_touching_objects_stay_apart() -> None:
    truth = np.zeros((64, 64), np.int32)
    truth[10:30, 10:30], truth[10:30, 30:50] = 1, 2
    mask = (truth > 0).astype(np.uint8)
    item = Item("pair", mask, mask, "a", truth)
    scoring = Scoring(collection(item))
    scoring.add(Prediction(item, mask, mask, mask.astype(np.float32), 5 * truth))
    assert scoring.images[0]["pq"] == 1.0  # as components they would be one


def test_needs_labelled_objects_of_one_class() -> None:
    bare = Item("bare", shown(discs()), np.zeros((64, 64), np.uint8), "a")
    numbered = replace(bare, instances=discs())
    classes = ("background", "disc", "ring")
    model = Model(get_method("zero_shot").build(TASK), TASK, Recipe(lr=0.0))
    for item, names in ((bare, classes[:2]), (numbered, classes)):
        found = Collection("discs", names, (item,))
        with pytest.raises(UnsupportedError, match="one class whose objects are labelled one by"):
            predict_objects(model, [item], found)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"points_per_side": 0}, "points_per_side 0 is too small: give 1 or more"),
        ({"stability": 1.5}, "stability 1.5 is out of range: give 0 to 1"),
        ({"crop_layers": -1}, "crop_layers -1 is negative: give 0 or more"),
        ({"points_per_side": 8, "crop_layers": 2, "crop_points_factor": 3}, "= 9 or more"),
    ],
)
def test_refuses_settings(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        GeneratorSettings(**asked)


def test_settings_are_those_of_the_report() -> None:
    assert GeneratorSettings() == GeneratorSettings(100, 0.90, 0.92, 1, 2, 100)


@pytest.mark.slow
def test_finds_nuclei(data_root: Path) -> None:
    nuclei = read_folder(data_root / "dsb2018")
    item = next(item for item in nuclei.items if item.name.startswith("29780b28"))
    sam = load_sam(Task(2, 256))
    summary = scored(sam, [item], nuclei, NANO).summary()
    assert summary["pq_dataset"] is not None
    assert summary["pq_dataset"] > 0.2
