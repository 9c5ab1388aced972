"""Checkpoint files that hold other things than a model's finite tensors, or wrap them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from segment_anything.modeling import Sam

from bench.ask.grid import expand
from bench.ask.request import Request
from bench.errors import UserError
from bench.sam.backbones.sam_nano import NANO_WEIGHTS
from bench.sam.build import load_sam, load_sam_with_note
from bench.sam.state_dict import checked_tensors
from bench.spec import Task

State = dict[str, Any]
POSITIONS = "image_encoder.pos_embed"
LAYER = "image_encoder.blocks.1.mlp.lin1.weight"
TABLE = "image_encoder.blocks.2.attn.rel_pos_h"


@pytest.fixture(scope="module")
def nano() -> State:
    return load_file(NANO_WEIGHTS)


def load(state: object, folder: Path, name: str = "own.pth") -> tuple[Sam, str]:
    path = folder / name
    if path.suffix == ".safetensors":
        assert isinstance(state, dict)
        save_file(state, path)
    else:
        torch.save(state, path)
    return load_sam_with_note(Task(2, weights=str(path)))


def with_value(name: str, value: float) -> Callable[[State], State]:
    def change(state: State) -> State:
        tensor = state[name].double()
        tensor.view(-1)[5] = value
        return state | {name: tensor}

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_value(LAYER, float("nan")), f"'{LAYER}' has 1 value that"),
        (with_value("mask_decoder.iou_token.weight", float("inf")), "'mask_decoder.iou_token"),
        (with_value(LAYER, 1e300), f"'{LAYER}' has 1 value that"),  # beyond float32
        (lambda s: s | {LAYER: None}, f"'{LAYER}' is None"),
        (lambda s: s | {LAYER: "x"}, f"'{LAYER}' is not a tensor but a str"),
        (lambda s: s | {LAYER: [1.0, 2.0]}, f"'{LAYER}' is not a tensor but a list"),
        (lambda s: {k: (v * 100).round().to(torch.int8) for k, v in s.items()}, "of the type int8"),
        (lambda s: s | {LAYER: s[LAYER] > 0}, f"'{LAYER}' has numbers of the type bool"),
        (lambda s: s | {LAYER: s[LAYER].to(torch.cfloat)}, f"'{LAYER}' has .* type complex64"),
        (lambda s: s | {LAYER: s[LAYER].to_sparse()}, f"'{LAYER}' is sparse"),
        (lambda s: s | {LAYER: s[LAYER].to("meta")}, f"'{LAYER}' has no values"),
        (
            lambda s: s | {POSITIONS: s[POSITIONS].flatten(1, 2)},
            rf"'{POSITIONS}' has the shape \(1, 1024, 96\), not \(1, 32, 32, 96\)",
        ),
        (lambda s: s | {POSITIONS: s[POSITIONS][..., :48]}, r"\(1, 32, 32, 48\), not"),
        (lambda s: s | {POSITIONS: s[POSITIONS][:, :16]}, r"\(1, 16, 32, 96\), not"),
        (lambda s: s | {TABLE: s[TABLE].flatten()}, f"'{TABLE}' has the shape"),
        (lambda s: s | {LAYER: s[LAYER].T}, f"'{LAYER}' has the shape"),
        (lambda s: {k: v for k, v in s.items() if k != LAYER}, f"1 tensor missing, first '{LAYER}"),
        (lambda s: s | {"extra": s[LAYER]}, "1 tensor unknown to it, first 'extra'"),
    ],
    ids=[
        "nan", "inf", "beyond float32", "none", "text", "list", "int8", "bool", "complex",
        "sparse", "meta", "flat positions", "narrow positions", "half positions",
        "flat table", "transposed", "missing", "unknown",
    ],
)  # fmt: skip
def test_a_checkpoint_with_another_thing_than_its_tensors_is_refused(
    nano: State, tmp_path: Path, change: Callable[[State], State], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        load(change(nano), tmp_path)


def test_values_of_safetensors_are_checked_as_well(nano: State, tmp_path: Path) -> None:
    for change in (lambda v: (v * 100).to(torch.int8), lambda v: v * float("nan")):
        with pytest.raises(UserError, match=f"because the tensor '{LAYER}' has"):
            load(nano | {LAYER: change(nano[LAYER])}, tmp_path, "own.safetensors")


@pytest.mark.parametrize(
    ("wrap", "note"),
    [
        (
            lambda s: {"model": s, "optimizer": {}, "epoch": 3},
            "own.pth: tensors taken from 'model'; not used: optimizer, epoch",
        ),
        (lambda s: {"state_dict": s}, "own.pth: tensors taken from 'state_dict'"),
        (
            lambda s: {f"module.{k}": v for k, v in s.items()},
            "own.pth: tensors 'module.' removed from their names",
        ),
        (
            lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "epoch": 1},
            "own.pth: tensors taken from 'state_dict', 'model.' removed from their names; "
            "not used: epoch",
        ),
        (
            lambda s: {"model_state": {f"sam.{k}": v for k, v in s.items()}, "decoder_state": {}},
            "own.pth: tensors taken from 'model_state', 'sam.' removed from their names; "
            "not used: decoder_state",
        ),
        (
            lambda s: {"model": {f"module._orig_mod.{k}": v for k, v in s.items()}},
            "own.pth: tensors taken from 'model', 'module.' removed from their names, "
            "'_orig_mod.' removed from their names",
        ),
        (lambda s: s, ""),
    ],
    ids=["MedSAM", "nested", "DataParallel", "Lightning", "micro-sam", "compiled", "plain"],
)
def test_wrappers_are_removed_with_a_note(
    nano: State, tmp_path: Path, wrap: Callable[[State], State], note: str
) -> None:
    sam, written = load(wrap(nano), tmp_path)
    assert written == note
    state = sam.state_dict()
    assert all(torch.equal(state[name], value.float()) for name, value in nano.items())


def test_the_user_reads_the_note_before_the_run(nano: State, tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save({"model": nano}, path)
    request = Request("frozen_head,unet", "steel", checkpoint=path, steps=1)
    _, notes = expand(request)
    assert notes.count("own.pth: tensors taken from 'model'") == 1


class Attack:
    """Unpickling an object of this class would create a file."""

    def __reduce__(self) -> Any:
        return open, ("executed", "w")


def test_objects_in_a_file_are_never_executed(
    nano: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (nano | {"attack": Attack()}, {"state_dict": nano, "hyper": Attack()}):
        with pytest.raises(UserError, match="holds Python objects, which are not loaded because"):
            load(content, tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)]], ids=["tensor", "list"])
def test_a_file_without_names_is_refused(content: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give a file of tensors by name"):
        load(content, tmp_path)


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}], ids=["empty", "empty wrapper"])
def test_a_file_without_tensors_is_refused(content: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no tensors: save the `state_dict"):
        load(content, tmp_path)


def test_half_precision_and_integers_where_the_model_has_them_are_accepted(nano: State) -> None:
    norm = torch.nn.BatchNorm2d(2).state_dict()
    half = {name: t.half() if t.is_floating_point() else t for name, t in norm.items()}
    checked = checked_tensors(half, norm, "a file")
    assert [t.dtype for t in checked.values()] == [t.dtype for t in norm.values()]
    with pytest.raises(UserError, match="'num_batches_tracked' has numbers of the type float32"):
        checked_tensors(norm | {"num_batches_tracked": torch.ones(())}, norm, "a file")


def test_the_projects_own_weights_pass() -> None:
    assert load_sam(Task(2)).state_dict()[LAYER].isfinite().all()
