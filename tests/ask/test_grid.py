import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import make_folder
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from bench import Item, Task, UnsupportedError, UserError, register_dataset, register_method
from bench.ask.grid import expand, load_datasets
from bench.ask.request import Request
from bench.plugins import registry
from bench.sam.build import build_sam
from bench.spec import Cell, Recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "mine")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a test registers."""
    for kind in (registry._METHODS, registry._DATASETS):
        kind.names()  # imports the files now, so that none is forgotten with the rest
        monkeypatch.setattr(kind, "entries", dict(kind.entries))


def cells(folder: Path | str, methods: str = "frozen_head", **asked: Any) -> list[Cell]:
    """The cells of a request at 64 pixels, from random weights unless a checkpoint is given."""
    weights = "pretrained" if "checkpoint" in asked else "random"
    request = Request(
        **{"image_size": 64, "weights": weights, **asked}, methods=methods, datasets=str(folder)
    )
    return expand(request)[0]


def the_id(folder: Path | str, methods: str = "frozen_head", **asked: Any) -> str:
    (cell,) = cells(folder, methods, **asked)
    return cell.id


def test_the_grid_is_every_combination(folder: Path) -> None:
    made = cells(
        folder,
        "lora[rank=1|4,targets=qv|qkvo],adapter",
        seeds="2",
        folds=3,
        labels="1,all",
        steps=7,
        batch_size=3,
        precision="fp32",
    )
    assert len(made) == 5 * 2 * 3 * 2
    labels = ["lora[rank=1]", "lora[rank=1,targets=qkvo]", "lora", "lora[targets=qkvo]", "adapter"]
    assert list(dict.fromkeys(cell.label for cell in made)) == labels
    points = {(cell.label, cell.seed, cell.fold, cell.labels) for cell in made}
    assert points == {
        (label, seed, fold, budget)
        for label in labels
        for seed in (0, 1)
        for fold in (0, 1, 2)
        for budget in (1, None)
    }
    lr = {"lora": registry.get_method("lora").lr, "adapter": registry.get_method("adapter").lr}
    for cell in made:
        expected = Recipe(lr=lr[cell.method] or 0, steps=7, batch_size=3, precision="fp32")
        assert cell.recipe == expected
        assert cell.folds == 3
        assert cell.task == Task(num_classes=2, image_size=64, weights="random")
    ids = [cell.id for cell in made]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_.=-]{10,140}", name) for name in ids)
    again = cells(
        folder,
        "lora[targets=qv|qkvo,rank=1|4],adapter",
        seeds="0,1",
        folds=3,
        labels="all,1",
        steps=7,
        batch_size=3,
        precision="fp32",
    )
    assert {cell.id for cell in again} == set(ids)


def test_learning_rates_are_a_grid_except_for_methods_that_train_nothing(folder: Path) -> None:
    made = cells(folder, "lora,zero_shot", lr="1e-3|3e-3|0.001")
    assert [(cell.method, cell.recipe.lr) for cell in made] == [
        ("lora", 0.001),
        ("lora", 0.003),
        ("zero_shot", 0.001),
    ]
    (single,) = cells(folder, "lora", lr="3e-3")
    assert single.id == cells(folder, "lora", lr=3e-3)[0].id == made[1].id


def test_seeds_are_a_count_or_a_list(folder: Path) -> None:
    assert [cell.seed for cell in cells(folder, seeds="3")] == [0, 1, 2]
    assert [cell.seed for cell in cells(folder, seeds="3,")] == [3]
    assert [cell.seed for cell in cells(folder, seeds="7, 3,7")] == [7, 3]


def test_what_equals_the_default_is_the_same_cell(folder: Path) -> None:
    plain = the_id(folder, "lora")
    assert the_id(folder, "lora[rank=4,alpha=4,targets=qv,blocks=all]") == plain
    assert the_id(folder, "lora,lora[rank=4]", folds=1, labels="all", seeds="0,") == plain
    default = Recipe(lr=0.0)
    assert the_id(folder, "lora", steps=default.steps, batch_size=default.batch_size) == plain
    assert the_id(folder, "lora", steps=default.steps + 1) != plain


def test_the_name_of_a_cell_tells_a_list_of_blocks_from_a_range() -> None:
    task, recipe = Task(3), Recipe(lr=1e-3)
    names = [Cell("lora", "steel", task, recipe, {"blocks": b}).id for b in ("2+5+8-11", "2-5")]
    assert names[0].startswith("steel_sam_nano_lora-blocks=2_5_8-11-_s0_f0_")
    assert names[1].startswith("steel_sam_nano_lora-blocks=2-5-_s0_f0_")


def test_the_order_of_options_does_not_matter() -> None:
    first = Cell("lora", "steel", Task(3), Recipe(lr=1e-3), {"rank": 8, "alpha": 8.0})
    second = dataclasses.replace(first, options={"alpha": 8.0, "rank": 8})
    assert first.id == second.id


def test_a_dataset_is_known_by_its_contents_not_its_place(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = the_id(folder)
    moved = tmp_path / "elsewhere" / "mine"
    shutil.copytree(folder, moved)
    assert the_id(moved) == original
    assert the_id(f"{moved}/") == original
    monkeypatch.chdir(folder)
    (here,) = cells(".")
    assert (here.id, here.dataset_name) == (original, "mine")
    assert Path(here.dataset) == folder
    assert [cell.id for cell in cells(f"{folder},.,{moved}")] == [original]
    mask = np.array(Image.open(moved / "masks" / "image_0.png"))
    mask[0, 0] = 255
    Image.fromarray(mask).save(moved / "masks" / "image_0.png")
    assert the_id(moved) != original


def test_a_checkpoint_is_known_by_its_contents_not_its_place(folder: Path, tmp_path: Path) -> None:
    sam = build_sam("sam_nano", 64)
    save_file(sam.state_dict(), tmp_path / "mine.safetensors")
    shutil.copy(tmp_path / "mine.safetensors", tmp_path / "moved.safetensors")
    original = the_id(folder, checkpoint=tmp_path / "mine.safetensors")
    assert the_id(folder, checkpoint=tmp_path / "moved.safetensors") == original
    assert the_id(folder) != original
    nn.init.zeros_(sam.image_encoder.pos_embed)
    torch.save(sam.state_dict(), tmp_path / "other.pth")
    assert the_id(folder, checkpoint=tmp_path / "other.pth") != original


def test_epochs_are_passes_over_the_bank_of_the_same_budget(
    plugins: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.data.leakage.pairs.find_pairs", lambda items: [])

    @register_dataset("many", classes=("ground", "object"), source="", licence="")
    def many() -> list[Item]:
        pixels = np.eye(4, dtype=np.uint8)
        return [Item(str(number), pixels, pixels, str(number)) for number in range(500)]

    steps = [
        {c.labels: c.recipe.steps for c in cells("many", labels=labels, batch_size=8, epochs=3)}
        for labels in ("5,all", "all,5")
    ]
    views = Recipe.bank_views
    assert steps[0] == steps[1] == {5: 3 * views // 8, None: -(-3 * 300 // 8)}
    folds = cells("many", folds=3, epochs=3)
    assert len({cell.recipe.steps for cell in folds}) == 1  # so that folds can be compared


@pytest.mark.parametrize("error", [UnsupportedError("not for images"), KeyError("a bug")])
def test_a_method_that_cannot_be_built_is_left_to_its_cells(
    folder: Path, plugins: None, error: Exception
) -> None:
    def build(task: Task) -> nn.Module:
        raise error

    register_method("broken", paper="", lr=1e-3)(build)
    assert [cell.method for cell in cells(folder, "broken,frozen_head")] == [
        "broken",
        "frozen_head",
    ]


def test_what_the_reader_assumed_is_passed_on_once(folder: Path) -> None:
    _, notes = expand(
        Request(
            methods="frozen_head",
            datasets=str(folder),
            weights="random",
            image_size=64,
            labels="1,2",
            folds=2,
        )
    )
    assert "mine: no specimen groups: each image counts as its own specimen" in notes
    assert len(notes) == len(set(notes))


def test_a_user_error_comes_before_anything_else(folder: Path) -> None:
    with pytest.raises(UserError, match="rank 0 is too small: give 1 or more"):
        cells(folder, "frozen_head,lora[rank=4|0]")


def test_a_method_from_scratch_has_no_backbone_and_no_weights(folder: Path) -> None:
    own, adapted = cells(folder, "unet,full", weights="pretrained")
    assert (own.task.backbone, own.task.weights, own.weights_sha) == ("none", "random", "")
    assert (adapted.task.backbone, adapted.task.weights) == ("sam_nano", "pretrained")
    assert own.id == the_id(folder, "unet", weights="random")


def test_leakage_stops_a_run_or_goes_on_record(folder: Path) -> None:
    first, *_, last = sorted((folder / "images").iterdir())
    shutil.copy(first, last)
    joined = cells(folder, "frozen_head", folds=4)
    assert all(cell.joined == ((first.stem, last.stem),) for cell in joined)
    assert all(not cell.leaks for cell in joined)
    assert Cell.from_dict(json.loads(json.dumps(joined[0].to_dict()))) == joined[0]
    assert dataclasses.replace(joined[0], joined=()).id != joined[0].id
    names = [path.stem for path in sorted((folder / "images").iterdir())]
    split = {"train": names[:4], "test": names[4:]}
    (folder / "split.json").write_text(json.dumps(split))
    with pytest.raises(UserError, match=r"has the same pixels as .*--allow-leakage"):
        cells(folder, "frozen_head")
    (folder / "split.json").unlink()
    asked = Request(
        methods="frozen_head", datasets=str(folder), weights="random", folds=4, allow_leakage=True
    )
    found, notes = expand(asked)
    assert any("has the same pixels as" in leak for cell in found for leak in cell.leaks)
    assert any("has the same pixels as" in note for note in notes)
    leaking = next(cell for cell in found if cell.leaks)
    assert Cell.from_dict(json.loads(json.dumps(leaking.to_dict()))) == leaking
    assert dataclasses.replace(leaking, leaks=()).id == leaking.id


@pytest.mark.parametrize("ratio", ["12:3:5", "7:2:1"])
def test_a_ratio_does_not_replace_the_split_of_a_dataset(folder: Path, ratio: str) -> None:
    names = sorted(path.stem for path in (folder / "images").iterdir())
    split = {"train": names[:4], "val": names[4:6], "test": names[6:]}
    (folder / "split.json").write_text(json.dumps(split))
    assert len(cells(folder)) == 1
    with pytest.raises(UserError, match=f"--split {ratio} .* comes with a split: leave it out"):
        cells(folder, split=ratio)


def test_only_the_datasets_of_the_request_are_taken_from_those_given(folder: Path) -> None:
    both = f"{folder},{make_folder(folder.parent / 'other')}"
    request = Request("frozen_head", both, image_size=64, weights="random")
    datasets = load_datasets(request)
    made, _ = expand(dataclasses.replace(request, datasets=str(folder)), datasets)
    assert [cell.dataset for cell in made] == [str(folder)]
