"""What a user does with a model of any family: predict, export, predict costs, find all objects."""

from pathlib import Path

import numpy as np
import pytest
import torch
from kept_models import make_kept_model
from memory_error import compare
from small_backbones import register, small_backbones

import bench
from bench.evaluate.mask_generator import GeneratorSettings, adapted_sam, generate_instances
from bench.export.model import LIMITS, export_model
from bench.plugins.registry import get_method
from bench.sam import load_sam
from bench.spec import Recipe, Task

SIDE = 64
FAMILIES = [*(backbone.name for backbone in small_backbones()), "mobile_sam"]
FEW = GeneratorSettings(points_per_side=2, pred_iou=0, stability=0, crop_layers=0, min_area_px=0)
TOLERANCE = 0.005  # of the measured peak
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56), np.uint8)

pytestmark = pytest.mark.parametrize("backbone", FAMILIES)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def test_a_kept_model_predicts(backbone: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    kept = make_kept_model(path, "decoder_only", backbone=backbone, noise=0.02)
    model = bench.load_model(kept, device="cpu")
    assert model.predict(IMAGE).classes.shape == IMAGE.shape


def test_the_mask_generator_runs(backbone: str) -> None:
    task = Task(2, SIDE, backbone, "random")
    torch.manual_seed(0)
    model = get_method("full").build(task)
    for sam in (load_sam(task), adapted_sam(model, task)):
        objects = generate_instances(sam, np.repeat(IMAGE[..., None], 3, axis=2), FEW)
        assert objects.shape == IMAGE.shape


@pytest.mark.slow
@pytest.mark.parametrize("method", ["decoder_only", "medsam"])
def test_a_kept_model_is_exported_to_onnx(backbone: str, method: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.safetensors"
    classes = ("matrix", "grain")
    kept = make_kept_model(path, method, classes=classes, backbone=backbone, noise=0.02)
    export = export_model(bench.load_model(kept, device="cpu"), "onnx", tmp_path / "model.onnx")
    assert export.path.stat().st_size > 0
    assert export.difference < LIMITS["onnx"]


@pytest.mark.slow
def test_the_memory_of_a_step_is_predicted(backbone: str) -> None:
    method, task = get_method("decoder_only"), Task(3, SIDE, backbone, "random")
    predicted, measured = compare(method, task, Recipe(1e-4, batch_size=2))
    assert predicted.weights == measured.weights
    assert abs(predicted.peak / measured.peak - 1) < TOLERANCE
