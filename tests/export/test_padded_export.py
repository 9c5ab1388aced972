from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from kept_models import make_kept_model
from sam_headers import read_sam_header
from segment_anything import SamPredictor

import bench
from bench.evaluate.whole import full_logits
from bench.export.model import export_model
from bench.export.plain_sam import SamSizes
from bench.predict.prompts import ImagePrompts

SIDE = 64


def test_sam_predictor_sees_a_wide_image_as_a_padded_training_did(tmp_path: Path) -> None:
    path = make_kept_model(
        tmp_path / "m.safetensors", "sam_lora", classes=("a", "b"), image_size=SIDE, noise=0.02
    )
    kept = bench.load_model(path, device="cpu")
    kept.model.task = replace(kept.model.task, fit="pad")
    object.__setattr__(kept, "header", replace(kept.header, fit="pad"))
    export_model(kept, "sam", tmp_path / "sam.pth")
    header = read_sam_header(tmp_path / "sam.pth")
    assert header["fit"] == "pad"
    assert "resized and padded in training as SamPredictor does it" in header["notes"]
    sam = SamSizes.of(kept.model.task).build()
    sam.load_state_dict(torch.load(tmp_path / "sam.pth", weights_only=True))
    image = np.random.default_rng(0).integers(0, 256, (40, 100, 3), dtype=np.uint8)
    box = np.array([20.0, 5.0, 70.0, 35.0])
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    theirs = predictor.predict(box=box, multimask_output=False, return_logits=True)[0][0]
    typed = ImagePrompts(box[None], np.zeros((1, 0, 2)), np.ones(1, np.int64))
    (logits,) = full_logits(kept.model, [image], typed.at_side(image.shape, kept.model.task))
    ours = logits[1].numpy()
    # The padding of training is SAM's mean pixel, rounded: its zeros differ by 0.006.
    difference = np.abs(ours - theirs) / np.abs(theirs).max()
    assert difference.mean() < 0.02
    assert difference.max() < 0.1
