"""The file of a kept model: written, read, and loaded onto a new base model."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import bench
from bench.cost.params import checkpoint_bytes, trained_state
from bench.data.traits import ImageTraits
from bench.errors import UserError
from bench.files import file_sha256
from bench.keep.header import ModelHeader, Score, read_header, without_paths
from bench.keep.model_card import METRICS, model_card
from bench.keep.model_file import load_module, load_onto, save_model
from bench.plugins.registry import Method, get_method, list_methods
from bench.sam import load_sam
from bench.sam.backbones.sam_nano import NANO_WEIGHTS
from bench.spec import Cell, Recipe, Task

TASK = Task(num_classes=3, image_size=64, weights="random")
STACK = replace(TASK, depth=4, backbone="none")
PRETRAINED = replace(TASK, weights="pretrained")


def cell(name: str, task: Task = TASK, seed: int = 0, **options: Any) -> Cell:
    sha = file_sha256(NANO_WEIGHTS) if task.weights == "pretrained" else ""
    return Cell(name, "folder/steel", task, Recipe(lr=1e-3), options, seed=seed, weights_sha=sha)


def header_of(cell: Cell) -> ModelHeader:
    return ModelHeader(
        cell=without_paths(cell),
        base=(0.0, 0.0),
        classes=("matrix", "grain", "pore"),
        prompts="none",
        rule="all",
        images=ImageTraits(("uint8",), ("grey",), 40, 48, 50),
        trained_on={"train": ("a", "b")},
        metrics={"dice_dataset": 0.5},
        repeats=(Score("x", 0.5),),
        history=({"step": 1.0, "epoch": 1.0, "loss": 0.1, "val_dice": 0.75},),
    )


def build(cell: Cell) -> Any:
    torch.manual_seed(cell.seed)
    return get_method(cell.method).build(cell.task, **cell.options)


@torch.no_grad()
def as_if_trained(model: nn.Module) -> nn.Module:
    """Give everything that training may change another value."""
    random = torch.Generator().manual_seed(9)
    for tensor in trained_state(model).values():
        if tensor.is_floating_point():
            tensor += 0.01 * torch.rand(tensor.shape, generator=random)
        else:
            tensor += 7  # BatchNorm's count of batches
    return model


def saved(cell: Cell, path: Path) -> Any:
    model = as_if_trained(build(cell))
    save_model(model, path, header_of(cell))
    return model


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kept model of lora on random weights."""
    path = tmp_path_factory.mktemp("kept") / "lora.safetensors"
    saved(cell("lora"), path)
    return path


@pytest.mark.parametrize("method", list_methods(), ids=lambda method: method.name)
def test_every_method_comes_back_bit_equal(method: Method, tmp_path: Path) -> None:
    path = tmp_path / "trained.safetensors"
    model = saved(cell(method.name), path)
    torch.manual_seed(77)  # loading uses the seed in the file, and leaves this one alone
    again, header = load_module(path)
    assert torch.initial_seed() == 77
    assert header.cell.method == method.name
    expected, loaded = model.state_dict(), again.state_dict()
    assert expected.keys() == loaded.keys()
    assert all(torch.equal(expected[name], loaded[name]) for name in expected)
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(trained_state(model))


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path, model = tmp_path / "a.safetensors", build(cell("lora"))
    name, parameter = next((n, p) for n, p in model.named_parameters() if p.requires_grad)
    with torch.no_grad():
        parameter.view(-1)[0] = float("inf")
    save_model(model, path, header_of(cell("lora")))
    with pytest.raises(UserError, match=f"the tensor '{name}' has 1 value"):
        load_onto(build(cell("lora")), path)


def test_the_file_is_as_large_as_the_checkpoint_column_says(lora: Path) -> None:
    """`checkpoint_bytes` counts the tensors and their index; the rest of the file is text."""
    model = build(cell("lora"))
    with safe_open(lora, "pt") as file:
        text = len(json.dumps({"__metadata__": file.metadata()}, ensure_ascii=False).encode())
    extra = lora.stat().st_size - checkpoint_bytes(trained_state(model))
    assert abs(extra - text) < 64  # quotation marks, spaces and padding


def test_the_header_is_readable_text(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    saved(replace(cell("lora", seed=3, rank=2), weights_sha="ab12"), path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["project"] == "sam-adapt-bench"
    assert metadata["model"] == "lora[rank=2]"
    assert metadata["classes"] == '["matrix", "grain", "pore"]'
    assert metadata["prompts"] == "none"
    assert metadata["schema"] == "2"
    assert metadata["version"][0].isdigit()
    stored = json.loads(metadata["cell"])
    assert stored["options"] == {"rank": 2}
    assert (stored["seed"], stored["weights_sha"], stored["dataset"]) == (3, "ab12", "steel")


def test_a_header_is_read_as_it_was_written(lora: Path) -> None:
    header = read_header(lora)
    assert header == replace(header_of(cell("lora")), base=header.base)
    assert header.base[0] > 0
    assert header.validation_dice == 0.75
    assert not header.final
    assert header.cell.id == cell("lora").id


def test_a_kept_model_gives_the_logits_of_the_trained_one(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    model = saved(cell("lora", PRETRAINED), path)
    again, _ = load_module(path)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again.eval()(images), model.eval()(images))


def test_a_checkpoint_of_the_user_is_required_again(tmp_path: Path) -> None:
    own = tmp_path / "secret" / "own.safetensors"
    own.parent.mkdir()
    save_file(load_sam(TASK).state_dict(), own)
    path = tmp_path / "a.safetensors"
    task = replace(TASK, weights=str(own))
    model = saved(replace(cell("lora", task), weights_sha=file_sha256(own)), path)
    assert read_header(path).cell.task.weights == "own.safetensors"
    assert b"secret" not in path.read_bytes()
    with pytest.raises(UserError, match=r"'own\.safetensors': give that file by --checkpoint"):
        load_module(path)
    with pytest.raises(UserError, match=r"needs the weights of its backbone: no checkpoint at"):
        load_module(path, tmp_path / "none.pth")
    with pytest.raises(UserError, match=r"weights with SHA-256 \w+\.\., but .* has \w+\.\."):
        load_module(path, NANO_WEIGHTS)
    again, _ = load_module(path, own)
    expected = model.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in again.state_dict().items())


def test_another_base_is_refused(lora: Path) -> None:
    other = build(cell("lora", seed=1))
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(UserError, match=r"was trained on other base weights \(lora for 3 classes"):
        load_onto(other, lora)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


@pytest.mark.parametrize(
    "other",
    [
        cell("lora", rank=2),
        cell("decoder_only"),
        cell("lora", replace(TASK, num_classes=5)),
    ],
    ids=["rank", "method", "classes"],
)
def test_another_model_is_refused(other: Cell, lora: Path) -> None:
    with pytest.raises(UserError, match=r"holds lora for 3 classes at 64 px on sam_nano, random"):
        load_onto(build(other), lora)


def test_another_image_side_is_another_base(lora: Path) -> None:
    with pytest.raises(UserError, match="other base weights"):
        load_onto(build(cell("lora", replace(TASK, image_size=128))), lora)


def with_metadata(path: Path, **changes: str) -> None:
    """Rewrite the header of a kept model."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() | changes
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(state, path, metadata)


def with_cell(path: Path, **changes: Any) -> None:
    stored = json.loads(read_header(path).to_metadata()["cell"])
    with_metadata(path, cell=json.dumps({**stored, **changes}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def head_only(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5])


def pickled(path: Path) -> None:
    torch.save({"x": torch.ones(1)}, path)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


# Changes of a file, and words of the sentence that refuses it.
DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, "cannot read .* as a kept model"),
    "folder": (as_folder, "cannot read .*model.safetensors"),
    "empty": (lambda path: path.write_bytes(b""), "give a complete .safetensors file"),
    "cut": (cut, "give a complete .safetensors file"),
    "only a length": (head_only, "give a complete .safetensors file"),
    "pickle": (pickled, "cannot read .* as a kept model"),
    "text": (lambda path: path.write_text("hello, world" * 9), "cannot read .* as a kept model"),
    "foreign tensors": (
        lambda path: save_file({"x": torch.ones(1)}, path),
        "is not a model of sam-adapt-bench",
    ),
    "foreign header": (
        lambda path: save_file({"x": torch.ones(1)}, path, {"format": "pt"}),
        "is not a model of sam-adapt-bench",
    ),
    "newer schema": (
        lambda path: with_metadata(path, schema="9", version="7.0"),
        r"has model schema 9, this version reads 2: use sam-adapt-bench 7\.0",
    ),
    "no cell": (lambda path: with_metadata(path, cell="{}"), "cannot read .* as a kept model"),
    "bad JSON": (lambda path: with_metadata(path, classes="[1,"), "cannot read .* as a kept model"),
    "bad traits": (lambda path: with_metadata(path, images="{}"), "cannot read"),
    "cell is a list": (
        lambda path: with_metadata(path, cell="[]"),
        "cell is \\[\\], expected dict",
    ),
    "task is a word": (lambda path: with_cell(path, task="x"), "is 'x', expected dict"),
    "names are a list": (lambda path: with_metadata(path, trained_on="[1]"), "trained_on is"),
    "names are a word": (
        lambda path: with_metadata(path, trained_on='{"train": "a"}'),
        "trained_on is 'a', expected list",
    ),
    "metrics are a number": (lambda path: with_metadata(path, metrics="1"), "metrics is 1"),
    "history of numbers": (lambda path: with_metadata(path, history="[1]"), "is 1, expected dict"),
    "bad rule": (lambda path: with_metadata(path, rule="some"), "rule is 'some'"),
    "no tensor": (
        lambda path: save_file({}, path, header_of(cell("lora")).to_metadata()),
        "does not fit this model",
    ),
    "unknown method": (lambda path: with_cell(path, method="lorra"), "Did you mean 'lora'"),
    "unknown option": (lambda path: with_cell(path, options={"width": 3}), "cannot build"),
    "bad option": (lambda path: with_cell(path, options={"rank": 0}), "rank 0 is too small"),
    "other seed": (lambda path: with_cell(path, seed=5), "other base weights"),
    "other weights": (
        lambda path: with_cell(path, task=vars(PRETRAINED), weights_sha="00" * 32),
        "weights with SHA-256 000000000000.., but .*sam_nano",
    ),
    "absent weights": (
        lambda path: with_cell(
            path, task=vars(replace(PRETRAINED, backbone="sam_vit_h")), weights_sha="00" * 32
        ),
        "needs the weights of its backbone: no pretrained weights for sam_vit_h here",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_wrong_file_is_refused_in_one_sentence(
    name: str, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_BENCH_CACHE", str(tmp_path / "cache"))
    change, words = DAMAGED[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(lora.read_bytes())
    change(path)
    with pytest.raises(UserError, match=words) as raised:
        load_module(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_path_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    model = build(cell("lora"))
    with pytest.raises(UserError, match="cannot write"):
        save_model(model, tmp_path / "file" / "a.safetensors", header_of(cell("lora")))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_cached_biases_of_tiny_vit_are_replaced_when_a_model_is_loaded(tmp_path: Path) -> None:
    """TinyViT looks its attention biases up when it enters evaluation mode, and keeps them."""
    full = cell("full", replace(TASK, backbone="mobile_sam"))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    trained = as_if_trained(build(full)).eval()
    save_model(trained, tmp_path / "x.safetensors", header_of(full))
    fresh = build(full).eval()
    with torch.no_grad():
        fresh(images)
        load_onto(fresh, tmp_path / "x.safetensors")
        assert not fresh.training
        assert torch.equal(fresh(images), trained.train().eval()(images))


def test_the_card_states_the_limits_of_this_model(tmp_path: Path) -> None:
    square, windows = "resized to a square", "predicted in windows"
    path, plain = tmp_path / "m.safetensors", header_of(cell("lora"))
    limits = model_card(path, plain).split("## Limits")[1]
    assert square in limits
    assert windows in limits
    padded = replace(plain, cell=cell("lora", replace(TASK, fit="pad")))
    assert square not in model_card(path, padded)
    tiled = replace(plain.cell, recipe=replace(plain.cell.recipe, evaluation="tiles"))
    assert windows not in model_card(path, replace(plain, cell=tiled))
    for whole in (replace(plain, prompts="oracle"), replace(plain, cell=cell("swin_unetr", STACK))):
        card = model_card(path, whole)
        assert windows not in card
        assert "predicted whole, whatever their size" in card


def test_the_card_shows_metrics_that_records_have() -> None:
    (record, *_) = bench.load_results(Path(__file__).parents[2] / "results" / "objects").records
    assert METRICS.keys() <= record.metrics.keys()
