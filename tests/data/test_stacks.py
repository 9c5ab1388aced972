"""Methods that see several slices of a volume at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from banks import make_bank
from torch import Tensor, nn

from bench import Task, cli
from bench.cost import measure
from bench.data.bank import KINDS
from bench.data.items import Collection, Item
from bench.data.stacks import stacks
from bench.errors import UserError
from bench.evaluate.whole import predict_logits, predict_whole
from bench.learn.images import LabelledImages
from bench.learn.loop import fit
from bench.learn.model import Model
from bench.plugins.registry import get_method
from bench.run.store import Store
from bench.sam.prompts import Prompts
from bench.spec import Recipe

SIDE = 32
RNG = np.random.default_rng(2)
CPU = torch.device("cpu")
RECIPE = Recipe(lr=1e-3, steps=6, batch_size=2, warmup_steps=0, precision="fp32")


def slices(**counts: int) -> list[Item]:
    """Volumes of that many slices; a slice is known by its grey level."""
    return [
        Item(
            f"{volume}{at}",
            np.full((SIDE, SIDE, 3), 10 * at + 5, np.uint8),
            np.full((SIDE, SIDE), at % 2, np.uint8),
            volume,
            volume=volume,
        )
        for volume, count in counts.items()
        for at in range(count)
    ]


def names(found: list[tuple[Item, ...]]) -> list[str]:
    return [" ".join(item.name for item in stack) for stack in found]


def test_stacks_do_not_cross_volumes_and_leave_no_slice_out() -> None:
    items = slices(a=5, b=2)
    assert names(stacks(items, 2)) == ["a0 a1", "a2 a3", "a3 a4", "b0 b1"]
    assert names(stacks(items, 2, step=1)) == ["a0 a1", "a1 a2", "a2 a3", "a3 a4", "b0 b1"]
    assert names(stacks(items, 1)) == [item.name for item in items]


def test_what_makes_no_stack_is_refused() -> None:
    with pytest.raises(UserError, match="--depth 3 is more than the 2 slices of volume 'b'"):
        stacks(slices(a=5, b=2), 3)
    with pytest.raises(UserError, match="'x' is a single image: leave --depth out"):
        stacks([Item("x", np.zeros((4, 4)), np.zeros((4, 4)), "g")], 2)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_slices_of_a_view_go_through_one_transform(kind: str) -> None:
    image = RNG.integers(0, 256, (48, 48, 3)).astype(np.uint8)
    mask = RNG.integers(0, 3, (48, 48)).astype(np.uint8)
    alike = make_bank([(image, mask)] * 6, views=20, size=SIDE, kind=kind, seed=1, depth=3)
    alone = make_bank([(image, mask)] * 2, views=20, size=SIDE, kind=kind, seed=1)
    assert len(alike) == 3 * len(alone)
    for row in range(3):
        assert np.array_equal(alike.images[row::3], alone.images)
        assert np.array_equal(alike.masks[row::3], alone.masks)


def test_views_run_both_ways_through_the_volume() -> None:
    pairs = [(np.asarray(item.image), np.asarray(item.mask)) for item in slices(a=4)]
    numbered = [(image, np.full((SIDE, SIDE), at, np.int32)) for at, (image, _) in enumerate(pairs)]
    seen = make_bank(numbered, views=60, size=SIDE, kind="standard", seed=0, depth=4).masks
    orders = [tuple(stack.reshape(4, -1)[:, 0].tolist()) for stack in seen.reshape(60, 4, -1)]
    assert orders[0] == (0, 1, 2, 3)  # the whole stack comes first, as it is
    assert set(orders) == {(0, 1, 2, 3), (3, 2, 1, 0)}
    assert 15 < orders.count((3, 2, 1, 0)) < 45


class Stacked(nn.Module):
    """Remembers what it is given; its logits tell a slice's place in its stack."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth, self.seen = depth, list[list[int]]()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        """(B D, 3, S, S) to (B D, 2, S, S): class 1 in the first slice of a stack."""
        levels = (255 * images[:, 0, 0, 0]).round().int().tolist()
        self.seen += [levels[at : at + self.depth] for at in range(0, len(levels), self.depth)]
        first = (torch.arange(len(images)) % self.depth == 0).float()
        logits = torch.stack([1 - first, first], 1)[:, :, None, None] * self.scale
        return logits.expand(-1, -1, *images.shape[2:])


def test_training_and_evaluation_keep_stacks_together() -> None:
    items = [item for stack in stacks(slices(a=5, b=4), 2, step=1) for item in stack]
    pairs = [(np.asarray(item.image), np.asarray(item.mask)) for item in items]
    bank = make_bank(pairs, views=0, size=SIDE, kind="none", seed=0, depth=2)
    views = LabelledImages.of(bank, CPU, depth=2)
    module = Stacked(2)
    model = Model(module, Task(2, SIDE, "none", depth=2), RECIPE)
    curve = fit(model, views, seed=0, report=lambda row: None, validate=lambda: None, points=1)
    assert curve[-1]["epoch"] == pytest.approx(12 / 7)  # of the seven stacks
    assert len(module.seen) == 12
    assert all(second - first == 10 for first, second in module.seen)
    assert len(list(predict_logits(model, views, batch=5))) == 14
    assert all(second - first == 10 for first, second in module.seen)


def test_every_slice_is_predicted_once_with_its_neighbours() -> None:
    items = slices(a=5, b=2)
    made = Collection("made", ("rest", "x"), tuple(items))
    model = Model(Stacked(2), Task(2, SIDE, "none", depth=2), RECIPE)
    found = list(predict_whole(model, items, made))
    assert [one.item.name for one in found] == [item.name for item in items]
    # a4 comes in the stack of a3 and a4, as its second slice
    assert [int(one.classes[0, 0]) for one in found] == [1, 0, 1, 0, 0, 1, 0]


def _med_sa(depth: int) -> nn.Module:
    torch.manual_seed(0)
    return get_method("med_sa").build(Task(2, 64, weights="random", depth=depth), dims=3)


def test_a_slice_is_seen_in_the_light_of_its_own_stack_only() -> None:
    model: Any = _med_sa(3).eval()
    images = torch.rand(6, 3, 64, 64)
    other = images.clone()
    other[2] = torch.rand(3, 64, 64)
    prompts = Prompts.join([model.prompt_rule.example(64, 1)] * 6)
    with torch.no_grad():
        changed = (model(images, prompts) - model(other, prompts)).abs().amax((1, 2, 3))
    assert (changed[:3] > 0).all()
    assert (changed[3:] == 0).all()


def test_costs_of_a_stack_are_those_of_its_slices_and_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WARMUP_S", "BLOCK_S", "LIMIT_S"):
        monkeypatch.setattr(measure, name, 0.01)
    flat_model = get_method("med_sa").build(Task(2, 64))
    flat = measure.measure_cost(Model(flat_model, Task(2, 64), RECIPE))
    deep = measure.measure_cost(Model(_med_sa(2), Task(2, 64, depth=2), RECIPE))
    for cost in ("forward_flops", "train_step_flops"):
        assert 2 < getattr(deep, cost) / getattr(flat, cost) < 4


@pytest.mark.slow
def test_volumes_run_through_the_main_job(tmp_path: Path, capsys: Any) -> None:
    words = "--methods med_sa[dims=3] --dataset organs --depth 4 --steps 2 --image-size 64"
    assert cli.main([*words.split(), "--out", str(tmp_path), "--threads", "1"]) == 0
    (record,) = Store(tmp_path).read_all()
    assert record.cell.task.depth == 4
    assert len({row["name"] for row in record.per_image}) == len(record.per_image)
    assert len(record.per_volume) == 2
    assert "depth 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--dataset steel --depth 2", "is a single image"),
        ("--dataset organs --depth 40", "--depth 40 is more than the 1"),
        ("--dataset organs --depth 0", "--depth is 0: give a whole number from 1"),
        ("--dataset organs --depth 2 --labels 1", "leave out --labels"),
        ("--dataset organs --depth 2 --evaluation tiles", "--evaluation other than whole"),
    ],
)
def test_a_depth_that_cannot_be(words: str, told: str, capsys: Any) -> None:
    assert cli.main(["--methods", "lora", *words.split(), "--dry-run"]) == 2
    assert told in capsys.readouterr().err
