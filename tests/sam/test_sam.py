"""The foundation model against Meta's own code paths."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from bench.errors import UnsupportedError, UserError
from bench.sam import PromptedDecoder, SamSegmenter, load_sam, replace_modules
from bench.sam.build import build_sam, resize_positions, weights_path
from bench.sam.decoder import predict_masks
from bench.sam.prompts import PromptRule, Prompts, nearest, object_prompts
from bench.spec import Task


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    return build_sam("sam_nano", 256).eval()


@torch.no_grad()
def test_stages_are_the_encoder(sam: Sam) -> None:
    images = torch.rand(2, 3, 256, 256)
    model = SamSegmenter(sam, torch.nn.Identity())
    features = images
    for stage in model.stages():
        features = stage.run(features)
    normalised = (images * 255 - sam.pixel_mean) / sam.pixel_std
    torch.testing.assert_close(features, sam.image_encoder(normalised), rtol=1e-5, atol=1e-5)
    listed = {id(p) for stage in model.stages() for p in stage.parameters}
    assert listed == {id(p) for p in sam.image_encoder.parameters()}


@torch.no_grad()
def test_prompted_masks_are_those_of_metas_predictor(sam: Sam) -> None:
    image = np.random.default_rng(0).integers(256, size=(256, 256, 3), dtype=np.uint8)
    boxes = torch.tensor([[20.0, 30.0, 120.0, 140.0], [100.0, 90.0, 250.0, 200.0]])
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    theirs, _, _ = predictor.predict_torch(
        None, None, boxes, multimask_output=False, return_logits=True
    )

    model = SamSegmenter(sam, PromptedDecoder(sam, 3, PromptRule())).eval()
    prompts = Prompts((boxes,), (boxes[:, None, :2],), (torch.tensor([1, 2]),))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    ours = model(pixels, prompts)[0]
    torch.testing.assert_close(ours[1:], theirs[:, 0].clamp(min=-20), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_one_batch_spans_many_images(sam: Sam) -> None:
    """Row i of the images meets row i of the prompts; Meta's decoder takes one image at a time."""
    embeddings = torch.rand(3, 96, 32, 32)
    boxes = torch.tensor([[0.0, 0, 50, 60], [10, 20, 200, 220], [90, 80, 130, 140]])
    sparse, dense = sam.prompt_encoder(None, boxes, None)
    positions = sam.prompt_encoder.get_dense_pe()
    masks, quality = predict_masks(sam.mask_decoder, embeddings, positions, sparse, dense)
    assert masks.shape == (3, 4, 128, 128)
    for row in range(3):
        one = slice(row, row + 1)
        theirs, score = sam.mask_decoder.predict_masks(
            embeddings[one], positions, sparse[one], dense[one]
        )
        torch.testing.assert_close(masks[one], theirs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(quality[one], score, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_positions_fit_another_image_side(sam: Sam) -> None:
    other = build_sam("sam_nano", 128)
    state = resize_positions(sam.state_dict(), other)
    other.load_state_dict(state)
    assert state["image_encoder.pos_embed"].shape == (1, 16, 16, 96)
    assert state["image_encoder.blocks.2.attn.rel_pos_h"].shape == (31, 32)
    windowed = "image_encoder.blocks.0.attn.rel_pos_h"
    assert torch.equal(state[windowed], sam.state_dict()[windowed])
    assert other.image_encoder(torch.rand(1, 3, 128, 128)).shape == (1, 96, 16, 16)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_checkpoints_are_read(sam: Sam, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"own{suffix}"
    state = {key: value.contiguous() for key, value in sam.state_dict().items()}
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    loaded = load_sam(Task(3, weights=str(path))).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_weights_that_cannot_be_had_are_told_of(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no weights")
    partial = tmp_path / "partial.pth"
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 16, 16, 128)}, partial)
    for weights, words in (
        (tmp_path / "missing.pth", "no checkpoint at"),
        (broken, "cannot read the checkpoint"),
        (partial, "does not fit sam_nano"),
    ):
        with pytest.raises(UserError, match=words):
            load_sam(Task(3, weights=str(weights)))
    with pytest.raises(UserError, match="Did you mean 'sam_nano'"):
        weights_path(Task(3, backbone="sam_nan"))
    with pytest.raises(UserError, match="multiple of 8"):
        load_sam(Task(3, image_size=100, weights="random"))


def test_surgery_that_matches_nothing_raises(sam: Sam) -> None:
    with pytest.raises(LookupError, match="no module of Sam matches"):
        replace_modules(sam, r"attn\.no_such", lambda module: module)


def test_prompts_made_from_a_mask() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[2:7, 3:10] = 1  # 35 px
    mask[12:18, 15:25] = 2  # 60 px
    mask[0, 29] = 255
    prompts = PromptRule().for_evaluation(mask)
    assert prompts.boxes[0].tolist() == [[15, 12, 25, 18], [3, 2, 10, 7]]  # largest first
    assert prompts.classes[0].tolist() == [2, 1]
    for (x, y), (x0, y0, x1, y1) in zip(prompts.clicks[0][:, 0], prompts.boxes[0], strict=True):
        assert x0 < x < x1
        assert y0 < y < y1
    assert PromptRule(most=1).for_evaluation(mask).classes[0].tolist() == [2]
    assert PromptRule().for_evaluation(np.zeros((4, 4), np.uint8)).boxes[0].shape == (0, 4)


def test_the_whole_image_as_prompt_needs_no_truth() -> None:
    """One box around everything, whatever the masks hold; training hides nothing from the loss."""
    rule = PromptRule("image")
    empty, full = np.zeros((64, 64), np.uint8), np.ones((64, 64), np.uint8)
    for mask in (empty, full):
        prompts = rule.for_evaluation(mask)
        assert prompts.boxes[0].tolist() == [[0, 0, 64, 64]]
        assert prompts.classes[0].tolist() == [1]
    masks = torch.from_numpy(np.stack([empty, full, full]))
    prompts, kept = rule.for_training(masks, np.random.default_rng(0))
    assert [boxes.tolist() for boxes in prompts.boxes] == [[[0, 0, 64, 64]]] * 3
    assert torch.equal(kept, masks)


@torch.no_grad()
def test_the_whole_image_as_prompt_is_a_box_of_metas_predictor(sam: Sam) -> None:
    image = np.random.default_rng(0).integers(256, size=(256, 256, 3), dtype=np.uint8)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    box = torch.tensor([[0.0, 0.0, 256.0, 256.0]])
    theirs, _, _ = predictor.predict_torch(
        None, None, box, multimask_output=False, return_logits=True
    )
    rule = PromptRule("image")
    model = SamSegmenter(sam, PromptedDecoder(sam, 2, rule)).eval()
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    ours = model(pixels, rule.for_evaluation(np.zeros((256, 256), np.uint8)))[0]
    torch.testing.assert_close(ours[1], theirs[0, 0].clamp(min=-20), rtol=1e-3, atol=1e-4)
    with pytest.raises(UnsupportedError, match="a dataset with one foreground class, this one has"):
        PromptedDecoder(sam, 3, rule)


def test_prompts_made_from_instances() -> None:
    """Touching objects of one class stay apart; each is of the class most of its pixels have."""
    mask = np.ones((8, 8), np.uint8)
    instances = np.zeros((8, 8), np.uint16)
    instances[:, :4], instances[:, 4:7] = 7, 9
    prompts = PromptRule().for_evaluation(mask, instances)
    assert prompts.boxes[0].tolist() == [[0, 0, 4, 8], [4, 0, 7, 8]]
    assert prompts.classes[0].tolist() == [1, 1]
    assert object_prompts(instances)[2].tolist() == [7, 9]
    component = PromptRule(unit="component").for_evaluation(mask, instances)
    assert component.boxes[0].tolist() == [[0, 0, 8, 8]]


def test_training_prompts_made_from_instances() -> None:
    """Touching objects stay apart; unlabelled ones and foreground outside all go without."""
    masks = torch.ones(2, 8, 8, dtype=torch.uint8)
    masks[0, :2] = 255
    instances = torch.zeros(2, 8, 8, dtype=torch.int32)
    instances[0, :2], instances[0, 2:, :4], instances[0, 2:, 4:7] = 3, 7, 9
    prompts, kept = PromptRule().for_training(masks, np.random.default_rng(0), instances)
    assert sorted(prompts.boxes[0].tolist()) == [[0, 2, 4, 8], [4, 2, 7, 8]]
    assert (kept[0, 2:, :7] == 1).all()
    assert (kept[0, :2] == 255).all()
    assert (kept[0, :, 7] == 255).all()
    assert prompts.boxes[1].tolist() == [[0, 0, 8, 8]]  # no instance given: components
    assert (kept[1] == 1).all()


def test_boxes_move_outwards_by_whole_pixels_up_to_the_jitter() -> None:
    masks = torch.zeros(1, 1024, 1024, dtype=torch.uint8)
    masks[0, 100:900, 200:800] = 1
    rng = np.random.default_rng(0)
    drawn = [PromptRule(jitter=3).for_training(masks, rng)[0].boxes[0][0] for _ in range(60)]
    moved = torch.stack(drawn) - torch.tensor([200, 100, 800, 900])
    assert set((moved * torch.tensor([-1, -1, 1, 1])).unique().tolist()) == {0, 1, 2, 3}


def test_training_prompts_stay_round_their_objects_and_others_are_ignored() -> None:
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    for index in range(4):
        masks[0, 4 + 14 * index : 12 + 14 * index, 10:40] = 1 + index % 2
    rule = PromptRule(jitter=64, clicks=3, training_most=3)  # 64 px at 1024 px: 4 px here
    prompts, kept = rule.for_training(masks, np.random.default_rng(0))
    assert [len(classes) for classes in prompts.classes] == [3, 0]
    assert prompts.clicks[0].shape == (3, 3, 2)
    for box, clicks, number in zip(
        prompts.boxes[0], prompts.clicks[0], prompts.classes[0], strict=True
    ):
        assert (masks[0][clicks[:, 1].long(), clicks[:, 0].long()] == number).all()
        top = 4 + 14 * int((clicks[0, 1] - 4) // 14)
        out = (box - torch.tensor([10.0, top, 40.0, top + 8])) * torch.tensor([-1, -1, 1, 1])
        assert (out >= 0).all()
        assert (out <= 4).all()
    assert (kept[0] == 255).sum() == 8 * 30  # the fourth object
    assert torch.equal(kept[1], masks[1])
    assert (masks != 255).all()  # what was given stays as it was


@pytest.mark.parametrize("overlap", [0.5, 0.75])
def test_moved_boxes_overlap_the_tight_one_as_asked(overlap: float) -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[100:140, 90:150] = 1
    x0, y0, x1, y1 = PromptRule(overlap=overlap).for_evaluation(mask).boxes[0][0].tolist()
    shared = (min(x1, 150) - max(x0, 90)) * (min(y1, 140) - max(y0, 100))
    assert shared / (2 * 60 * 40 - shared) == pytest.approx(overlap, abs=1e-5)


def test_a_class_at_once_gets_one_box() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[2:4, 2:4], mask[10:12, 15:18] = 1, 1
    prompts = PromptRule(unit="class").for_evaluation(mask)
    assert prompts.boxes[0].tolist() == [[2, 2, 18, 12]]


@pytest.mark.parametrize(
    "options",
    [{"kind": "text"}, {"unit": "pixel"}, {"clicks": 0}, {"overlap": 0.0}, {"jitter": -1.0}],
)
def test_prompt_rules_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="give"):
        PromptRule(**options)


def test_nearest_takes_pixel_centres() -> None:
    assert nearest(np.arange(8)[None].repeat(8, 0), 4)[0].tolist() == [1, 3, 5, 7]
