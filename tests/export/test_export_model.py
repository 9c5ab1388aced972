"""Exports of models: what other libraries compute from them, and why some cannot be exported."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kept_models import make_kept_model
from safetensors import safe_open
from safetensors.torch import load_file
from sam_headers import read_sam_header
from segment_anything import SamPredictor, sam_model_registry
from torch import Tensor

import bench
from bench.cli import main
from bench.errors import UserError
from bench.export.agreement import check_images, largest_difference, to_unit
from bench.export.model import LIMITS, export_model
from bench.export.peft_adapter import as_one_update
from bench.export.plain_sam import SamSizes
from bench.export.sam_file import REGISTRY, REGISTRY_SIDE, how_to_build
from bench.plugins.registry import list_methods
from bench.predict.model import KeptModel
from bench.sam.lora import LoRALinear
from bench.spec import Task

SIDE = 32
# Methods that torch cannot translate to ONNX, each with the reason that the message names.
UNTRANSLATED: dict[str, str] = {}
BOX = (4.0, 6.0, 25.0, 27.0)

# Loads each export and writes what it computes. This project cannot be imported there: neither
# from the folder (-I), nor from the environment (the finder refuses it).
FOREIGN = """
import functools, json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("bench", "methods"):
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Refuse())
try:
    import bench
    sys.exit("this project can be imported")
except ImportError:
    pass
import numpy as np, torch
from segment_anything import SamPredictor
from segment_anything.modeling import *
from torch import nn

folder, box = sys.argv[1], np.array(json.loads(sys.argv[2]))
sizes = json.load(open(f"{folder}/sizes.json"))

def plain():
    norm = functools.partial(nn.LayerNorm, eps=1e-6)
    transformer = TwoWayTransformer(**sizes["transformer"])
    return Sam(
        ImageEncoderViT(**sizes["image_encoder"], norm_layer=norm),
        PromptEncoder(**sizes["prompt_encoder"]),
        MaskDecoder(**sizes["mask_decoder"], transformer=transformer),
    ).eval()

images = np.load(f"{folder}/images.npy")
results = {}
sam = plain()
keys = sam.load_state_dict(torch.load(f"{folder}/sam.pth"), strict=False)
print(len(keys.missing_keys), len(keys.unexpected_keys))
for number, image in enumerate(images):
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    masks = predictor.predict(box=box, multimask_output=False, return_logits=True)[0]
    results[f"sam{number}"] = masks
from peft import PeftModel
base = plain()
base.image_encoder.load_state_dict(torch.load(f"{folder}/base.pth"))
adapted = PeftModel.from_pretrained(base, f"{folder}/adapter").eval()
with torch.no_grad():
    pixels = torch.from_numpy(np.load(f"{folder}/pixels.npy"))
    results["peft"] = adapted.base_model.model.image_encoder(pixels).numpy()
from transformers import SamModel
model = SamModel.from_pretrained(f"{folder}/transformers").eval()
with torch.no_grad():
    boxes = torch.tensor(box).float()[None, None].expand(len(images), 1, 4)
    masks = model(pixel_values=pixels, input_boxes=boxes, multimask_output=False).pred_masks
results["transformers"] = masks[:, 0, 0].numpy()
import onnxruntime
session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
inputs = {"images": np.load(f"{folder}/images.npy").transpose(0, 3, 1, 2).astype("float32") / 255}
inputs["prompts"] = np.tile(box.astype("float32"), (len(images), 1))
(results["onnx"],) = session.run(None, inputs)
print(sorted(name for name in sys.modules if name.partition(".")[0] in ("bench", "methods")))
np.savez(f"{folder}/results.npz", **results)
"""


def adapted(folder: Path, name: str, side: int = SIDE, **options: Any) -> KeptModel:
    """A kept model of two classes with noise added to all that training changes."""
    path = folder / f"{name}.safetensors"
    settings: dict[str, Any] = {"classes": ("matrix", "grain"), "image_size": side, "noise": 0.02}
    return bench.load_model(make_kept_model(path, name, **settings, **options), device="cpu")


def logits_of(model: KeptModel, image: Any, small: bool = False) -> Tensor:
    """Mask logits (S, S) of class 1 in fp32, with the box `BOX`."""
    module: Any = model.model.module
    rule = model.model.prompt_rule
    assert rule is not None
    prompts = rule.example(SIDE, 1)
    prompts.boxes[0][0] = torch.tensor(BOX)
    features = to_unit(image[None])
    with torch.no_grad():
        for stage in module.stages():
            features = stage.run(features)
        logits: Tensor = module.decode(features, prompts, small)[0, 1]
    return logits


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sam_lora", {}),
        ("sam_lora", {"prompt": "point", "clicks": 2}),
        ("medsam", {}),
        ("medsam", {"pixels": "unit"}),
        ("zero_shot", {"prompt": "point"}),
    ],
)
def test_prompted_models_become_files_of_segment_anything(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model = adapted(tmp_path, name, SIDE, **options)
    out = tmp_path / "sam.pth"
    assert export_model(model, "sam", out).difference < LIMITS["sam"]
    sam = SamSizes.of(model.model.task).build()
    keys = sam.load_state_dict(torch.load(out, weights_only=True))
    assert (keys.missing_keys, keys.unexpected_keys) == ([], [])
    header = read_sam_header(out)
    assert json.loads(header["modeling_arguments"])["image_encoder"]["img_size"] == SIDE
    assert "resizes the longer side and pads" in header["notes"]
    assert float(header["largest_difference"]) < LIMITS["sam"]
    if model.model.prompt_rule is None or model.model.prompt_rule.kind == "point":
        return
    predictor = SamPredictor(sam)
    for image in check_images(SIDE):
        predictor.set_image(image)
        box = np.array(BOX)
        masks = predictor.predict(box=box, multimask_output=False, return_logits=True)[0]
        ours = logits_of(model, image)
        assert (ours - torch.from_numpy(masks[0])).abs().max() < 1e-4
        np.testing.assert_array_equal(masks[0] > 0, ours.numpy() > 0)


@pytest.mark.parametrize(
    ("name", "to", "reason"),
    [
        ("lora", "sam", "it takes no prompts"),
        ("unet", "transformers", "it takes no prompts"),
        ("med_sa", "sam", r"tensors cannot be merged into a weight of SAM \(first: image_encoder"),
        ("full", "peft", "its image encoder has neither LoRA"),
        ("unet", "peft", "its image encoder has neither LoRA"),
        ("samed_s", "elsewhere", "--to cannot be 'elsewhere': give one of sam, transformers"),
    ],
)
def test_what_cannot_be_exported_says_why(name: str, to: str, reason: str, tmp_path: Path) -> None:
    model = adapted(tmp_path, name)
    with pytest.raises(UserError, match=reason):
        export_model(model, to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["sam", "merged"])
def test_a_zeroed_adapter_fails_the_check(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted(tmp_path, "sam_lora")
    monkeypatch.setattr(LoRALinear, "merged", lambda layer: layer.base)
    with pytest.raises(UserError, match="the outputs of the exported model differ"):
        export_model(model, to, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sam_lora.safetensors"]


def test_a_model_is_not_replaced_by_its_export(tmp_path: Path) -> None:
    model = adapted(tmp_path, "frozen_head")
    before = model.path.read_bytes()
    with pytest.raises(UserError, match="is the kept model itself"):
        export_model(model, "merged", model.path)
    assert model.path.read_bytes() == before


@pytest.mark.parametrize("backbone", REGISTRY)
def test_the_registry_of_segment_anything_builds_the_same_sizes(backbone: str) -> None:
    task = Task(2, REGISTRY_SIDE, backbone)
    assert how_to_build(task)["registry"] == REGISTRY[backbone]
    assert how_to_build(replace(task, image_size=512))["registry"] == ""
    with torch.device("meta"):
        ours = SamSizes.of(task).build().state_dict()
        theirs = sam_model_registry[REGISTRY[backbone]](None).state_dict()
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_outputs_that_are_not_finite_never_agree() -> None:
    ours = torch.tensor([1.0, 2.0])
    assert largest_difference(ours, torch.tensor([1.0, float("nan")])) == float("inf")
    assert largest_difference(ours * 10, ours * 10 + 1) == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["samed", "ssf"])
def test_merged_tensors_have_the_names_of_sam(name: str, tmp_path: Path) -> None:
    model = adapted(tmp_path, name)
    out = tmp_path / "merged.safetensors"
    assert export_model(model, "merged", out).difference < LIMITS["merged"]
    encoder = SamSizes.of(model.model.task).build().image_encoder
    tensors = load_file(out)
    names = {key.removeprefix("image_encoder.") for key in tensors if key.startswith("image_enc")}
    assert names == encoder.state_dict().keys()
    with safe_open(out, "pt") as file:
        assert file.metadata()["model"] == name


@pytest.mark.slow  # imports peft
@pytest.mark.parametrize("options", [{}, {"targets": "vom", "rank": 2, "alpha": 3.0}])
def test_adapters_of_peft(options: dict[str, Any], tmp_path: Path) -> None:
    model = adapted(tmp_path, "lora", **options)
    export = export_model(model, "peft", tmp_path / "adapter")
    assert export.difference < LIMITS["peft"]
    assert any("the trained decoder is not in it" in note for note in export.notes)
    with safe_open(tmp_path / "adapter" / "adapter_model.safetensors", "pt") as file:
        assert file.metadata()["model"] == model.header.cell.label
    with pytest.raises(UserError, match="exists: remove it"):
        export_model(model, "peft", tmp_path / "adapter")


@pytest.mark.slow
@pytest.mark.parametrize("type", ["lora", "dora", "loha"])
def test_tuners_of_peft_itself(type: str, tmp_path: Path) -> None:
    model = adapted(tmp_path, "peft", type=type, rank=2)
    assert export_model(model, "peft", tmp_path / "out").difference < LIMITS["peft"]


@pytest.mark.slow
def test_tuners_that_change_the_weights_of_sam_are_refused(tmp_path: Path) -> None:
    model = adapted(tmp_path, "peft", type="pissa", rank=2)
    with pytest.raises(UserError, match=r"subtracts its initial values \(pissa\)"):
        export_model(model, "peft", tmp_path / "out")


@pytest.mark.slow
def test_a_zeroed_adapter_of_peft_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def zeroed(layer: LoRALinear) -> tuple[Tensor, Tensor, float]:
        first, second, scale = as_one_update(layer)
        return first, torch.zeros_like(second), scale

    monkeypatch.setattr("bench.export.peft_adapter.as_one_update", zeroed)
    model = adapted(tmp_path, "sam_lora")
    with pytest.raises(UserError, match="the outputs of the exported model differ"):
        export_model(model, "peft", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # a process that imports torch, peft and transformers
def test_other_libraries_compute_the_same_without_this_project(tmp_path: Path) -> None:
    from bench.export.peft_adapter import base_sam

    model = adapted(tmp_path, "sam_lora")
    module: Any = model.model.module
    export_model(model, "sam", tmp_path / "sam.pth")
    export_model(model, "peft", tmp_path / "adapter")
    export_model(model, "transformers", tmp_path / "transformers")
    export_model(model, "onnx", tmp_path / "model.onnx")
    task = model.model.task
    torch.save(base_sam(module, task).image_encoder.state_dict(), tmp_path / "base.pth")
    (tmp_path / "sizes.json").write_text(json.dumps(asdict(SamSizes.of(task))))
    images = check_images(SIDE)
    pixels = module.normalise(to_unit(images))
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "pixels.npy", pixels.numpy())
    arguments = [sys.executable, "-I", "-c", FOREIGN, str(tmp_path), json.dumps(BOX)]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["0 0", "[]"]
    results = np.load(tmp_path / "results.npz")
    with torch.no_grad():
        embeddings = to_unit(images)
        for stage in module.stages():
            embeddings = stage.run(embeddings)
    np.testing.assert_allclose(results["peft"], embeddings.numpy(), atol=1e-5)
    for number, image in enumerate(images):
        ours = logits_of(model, image).numpy()
        np.testing.assert_allclose(results[f"sam{number}"][0], ours, atol=1e-4)
        np.testing.assert_array_equal(results[f"sam{number}"][0] > 0, ours > 0)
        small = logits_of(model, image, small=True).numpy()
        np.testing.assert_allclose(results["transformers"][number], small, atol=1e-4)
        theirs = results["onnx"][number]
        assert largest_difference(torch.from_numpy(ours), torch.from_numpy(theirs)) < 1e-5
        np.testing.assert_array_equal(theirs > 0, ours > 0)


def all_methods() -> list[Any]:
    """Names of all methods; most take some fifteen seconds, so that they are slow tests."""
    slow = pytest.mark.slow
    names = [method.name for method in list_methods()]
    return [pytest.param(name, marks=() if name == "elunet" else slow) for name in names]


@pytest.mark.parametrize("name", all_methods())
def test_onnx_files_compute_the_same(name: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = adapted(tmp_path, name, 64)
    out = tmp_path / "model.onnx"
    if name in UNTRANSLATED:
        with pytest.raises(UserError, match=UNTRANSLATED[name]):
            export_model(model, "onnx", out)
        return
    export_model(model, "onnx", out)
    assert [path.name for path in tmp_path.glob("model.onnx*")] == ["model.onnx"]
    properties = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert float(properties["largest_difference"]) < LIMITS["onnx"]
    assert properties["model"] == name
    assert properties["classes_changed_px"] == "0"
    if model.model.prompt_rule is None:
        images = np.random.default_rng(3).random((3, 3, 64, 64), np.float32)
        (theirs,) = onnxruntime.InferenceSession(out).run(None, {"images": images})
        with torch.no_grad():
            ours = model.model.module(torch.from_numpy(images))
        assert largest_difference(ours, torch.from_numpy(theirs)) < LIMITS["onnx"]


def test_the_command_writes_and_says_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = adapted(tmp_path, "medsam")
    out = tmp_path / "medsam.pth"
    assert main(["export", "--model", str(model.path), "--to", "sam", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "outputs differ from the model's by" in printed
    assert "stretches the values of each image" in printed
    assert main(["export", "--model", str(out), "--to", "sam", "--out", str(out)]) == 2


def test_a_missing_library_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    model = adapted(tmp_path, "frozen_head")
    with pytest.raises(UserError, match=r"pip install 'sam-adapt-bench\[export\]'"):
        export_model(model, "onnx", tmp_path / "model.onnx")
