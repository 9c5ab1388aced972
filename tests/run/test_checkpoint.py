"""What was trained, saved and put onto a fresh base."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from bench.cost import trained_state
from bench.errors import UserError
from bench.plugins.registry import Method, get_method, list_methods
from bench.run.checkpoint import load_onto, load_trained, read_header, save_trained
from bench.sam import load_sam
from bench.spec import Cell, Recipe, Task

TASK = Task(num_classes=3, image_size=64, weights="random")


def cell(name: str, task: Task = TASK, seed: int = 0, **options: Any) -> Cell:
    return Cell(name, "", task, Recipe(lr=1e-3), options, seed=seed)


def build(asked: Cell) -> Any:
    torch.manual_seed(asked.seed)
    return get_method(asked.method).build(asked.task, **asked.options)


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


def saved(asked: Cell, path: Path) -> Any:
    model = as_if_trained(build(asked))
    save_trained(model, path, asked)
    return model


@pytest.mark.parametrize("method", list_methods(), ids=lambda method: method.name)
def test_every_method_comes_back_bit_equal(method: Method, tmp_path: Path) -> None:
    path = tmp_path / "trained.safetensors"
    model = saved(cell(method.name), path)
    torch.manual_seed(77)  # loading rests on the seed in the file, and leaves this one alone
    again = load_trained(path)
    assert torch.initial_seed() == 77
    wanted, found = model.state_dict(), again.state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(trained_state(model))


def test_the_header_can_be_read_by_eye(tmp_path: Path) -> None:
    asked = replace(cell("lora", seed=3, rank=2), weights_sha="ab12")
    saved(asked, tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["project"] == "sam-adapt-bench"
    assert metadata["label"] == "lora[rank=2]"
    assert metadata["options"] == '{"rank": 2}'
    assert '"backbone": "sam_nano"' in metadata["task"]
    assert (metadata["seed"], metadata["weights_sha"], metadata["schema"]) == ("3", "ab12", "1")
    assert metadata["version"][0].isdigit()


def test_loads_onto_a_given_model(tmp_path: Path) -> None:
    model = saved(cell("lora"), tmp_path / "a.safetensors")
    given = build(cell("lora"))
    assert load_onto(given, tmp_path / "a.safetensors") is given
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(given.eval()(images), model.eval()(images))


def test_weights_of_the_users_own_are_asked_for(tmp_path: Path) -> None:
    own = tmp_path / "secret" / "own.safetensors"
    own.parent.mkdir()
    save_file(load_sam(replace(TASK)).state_dict(), own)
    path = tmp_path / "a.safetensors"
    model = saved(cell("lora", replace(TASK, weights=str(own))), path)
    assert read_header(path).task.weights == "own.safetensors"
    with pytest.raises(UserError, match=r"'own\.safetensors': give its path as `weights`"):
        load_trained(path)
    again = load_trained(path, weights=own)
    wanted = model.state_dict()
    assert all(torch.equal(wanted[name], value) for name, value in again.state_dict().items())


def test_another_base_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    saved(cell("lora"), path)
    other = build(cell("lora", seed=1))
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(UserError, match=r"was trained on other base weights \(3 classes at 64 px"):
        load_onto(other, path)
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
def test_another_model_is_refused(other: Cell, tmp_path: Path) -> None:
    saved(cell("lora"), tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"holds lora for 3 classes at 64 px on sam_nano, random"):
        load_onto(build(other), tmp_path / "a.safetensors")


def test_another_image_side_is_another_base(tmp_path: Path) -> None:
    saved(cell("lora"), tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="other base weights"):
        load_onto(build(cell("lora", replace(TASK, image_size=128))), tmp_path / "a.safetensors")


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    saved(cell("lora"), whole)
    cut, foreign, newer, odd = (tmp_path / f"{n}.safetensors" for n in ("cut", "for", "new", "odd"))
    cut.write_bytes(whole.read_bytes()[:-100])
    save_file({"x": torch.ones(1)}, foreign)
    save_file({}, newer, {"project": "sam-adapt-bench", "schema": "2", "version": "9.0"})
    save_file({}, odd, {"project": "sam-adapt-bench", "schema": "1"})
    told = {
        tmp_path / "none.safetensors": "cannot read the checkpoint",
        cut: "give a whole, undamaged file",
        foreign: "is no checkpoint of sam-adapt-bench",
        newer: r"schema 2, this version reads 1: use sam-adapt-bench 9\.0",
        odd: "cannot read the checkpoint",
    }
    for path, words in told.items():
        with pytest.raises(UserError, match=words) as raised:
            load_trained(path)
        assert "\n" not in str(raised.value)


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        save_trained(build(cell("lora")), tmp_path / "file" / "a.safetensors", cell("lora"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_biases_that_tiny_vit_has_looked_up_before_are_not_those_loaded(tmp_path: Path) -> None:
    """It looks its attention biases up when it goes to evaluation, and keeps them there."""
    asked = cell("full", replace(TASK, backbone="mobile_sam"))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    trained = as_if_trained(build(asked)).eval()
    save_trained(trained, tmp_path / "x.safetensors", asked)
    fresh = build(asked).eval()
    with torch.no_grad():
        fresh(images)
        load_onto(fresh, tmp_path / "x.safetensors")
        assert not fresh.training
        assert torch.equal(fresh(images), trained.train().eval()(images))
