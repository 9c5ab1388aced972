"""The embedded weights: there, small, told of, and able to segment what they are pointed at."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import UserError
from bench.sam import load_sam
from bench.sam.backbones.sam_nano import NANO_WEIGHTS
from bench.sam.nano.evaluate import box_shapes, by_size, held_out, labelled, prompted_iou, tiles
from bench.sam.nano.plan import Plan
from bench.spec import Task


def test_the_weights_are_shipped_with_their_record() -> None:
    assert NANO_WEIGHTS.stat().st_size < 12_000_000
    record = json.loads(NANO_WEIGHTS.with_suffix(".json").read_text())
    curve = record["curve"]
    assert isinstance(curve, list)
    assert curve[-1]["step"] * Plan.images == record["images_seen"]
    assert {"legs", "hardware", "torch", "corpus", "prompts_seen"} <= record.keys()


def test_boxes_and_clicks_find_objects_that_random_weights_do_not() -> None:
    scenes = list(islice(held_out(4), 4))
    torch.manual_seed(0)
    trained = prompted_iou(load_sam(Task(2)).eval(), scenes)
    random = prompted_iou(load_sam(Task(2, weights="random")).eval(), scenes)
    for prompt in ("box", "click"):
        assert trained[prompt].mean() > random[prompt].mean() + 0.2
    assert (trained["oracle click"] >= trained["click"]).all()
    assert torch.equal(trained["ellipse"], random["ellipse"])
    table = by_size(trained)
    assert table.loc["all", "box"] == pytest.approx(float(trained["box"].mean()))
    assert table["objects"].iloc[1:].sum() == table.loc["all", "objects"] == len(trained["box"])


@pytest.mark.slow
def test_real_instances_are_found_by_their_box(data_root: Path) -> None:
    sam = load_sam(Task(2)).eval()
    for name in ("dsb2018", "emps"):
        assert prompted_iou(sam, labelled(data_root / name))["box"].mean() > 0.65


def test_images_of_another_part_do_not_replace_a_part_without_images(tmp_path: Path) -> None:
    for kind in ("images", "masks", "instances"):
        (tmp_path / kind).mkdir()
        for name in "ab":
            pixels = np.eye(8, dtype=np.uint8) * (200 if kind == "images" else 1)
            Image.fromarray(pixels).save(tmp_path / kind / f"{name}.png")
    assert len(list(labelled(tmp_path))) == 2, "no split: all images"
    (tmp_path / "split.json").write_text('{"train": ["a"], "val": ["b"]}')
    assert len(list(labelled(tmp_path, "val"))) == 1
    with pytest.raises(UserError, match="has no images in the part 'test'"):
        list(labelled(tmp_path))


def test_the_shapes_of_a_box_are_its_ellipse_and_itself() -> None:
    boxes = torch.tensor([[2.0, 3.0, 6.0, 7.0], [0.0, 0.0, 64.0, 32.0]])
    shapes = box_shapes(boxes, 64)
    assert shapes["filled box"].sum((1, 2)).tolist() == [16, 64 * 32]
    # Of 4 x 4 pixels the inscribed circle, radius 2, leaves out the corners: 1.5² + 1.5² > 2².
    assert shapes["ellipse"][0].sum() == 12
    assert not shapes["ellipse"][0, 3, 2]
    assert shapes["ellipse"][0, 3, 3]
    # Inscribed in a filled box, the ellipse reaches an IoU of pi / 4.
    iou = shapes["ellipse"][1].sum() / shapes["filled box"][1].sum()
    assert iou == pytest.approx(np.pi / 4, abs=0.005)


def test_tiles_keep_the_size_of_objects_and_drop_slivers() -> None:
    instances = np.zeros((64, 64), np.uint16)
    instances[4:14, 26:40] = 7  # 6 columns in the left tile, 8 in the right
    instances[40:60, 30:33] = 9  # 2 columns in the left tile, 40 px; 1 in the right, 20 px
    instances[60:64, 0:4] = 3  # 16 px
    image = np.zeros((64, 64, 3), np.uint8)
    areas = [
        np.bincount(objects.ravel())[1:].tolist() for _, objects in tiles([(image, instances)], 32)
    ]
    assert areas == [[60], [80], [40], [20]]
