"""Whether a training fits, the largest batch, and the change that makes it fit."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import bench
from bench.cli import main
from bench.cost.predict import fit
from bench.cost.predict.fake import NotPredictedError
from bench.cost.predict.fit import Plan, change_below, cheapest_change, largest_batch
from bench.cost.predict.gpus import GPUS, Gpu, find_gpu, judge, largest_peak
from bench.cost.predict.memory import MemoryPrediction
from bench.cost.predict.table import predict_rows
from bench.cost.predict.time import probe_speed, speed_of
from bench.cost.predict.views import kept_views
from bench.errors import UserError
from bench.learn.images import MOST_BYTES
from bench.plugins.registry import Method
from bench.spec import Recipe, Task

GIB = 2**30


class Pixelwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 16, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).relu()[:, :2]


METHOD = Method("pixelwise", lambda task: Pixelwise(), "", 1e-3, "none", True, "", {})
PLAN = Plan(METHOD, {}, Task(2, 256, "none", "random"), Recipe(1e-3, batch_size=2), views=4)


def test_a_gpu_is_a_name_or_a_size() -> None:
    assert find_gpu("NVIDIA RTX  4070").memory_bytes == 12 * GIB
    assert find_gpu("11.5GB").memory_bytes == int(11.5 * GIB)
    assert all(gpu.source and gpu.bandwidth and gpu.bf16 and gpu.fp32 for gpu in GPUS.values())


@pytest.mark.parametrize("text", ["rtx 9999", "12", ""])
def test_an_unknown_gpu_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="give a memory size as 12GB, or one of"):
        find_gpu(text)
    with pytest.raises(UserError, match="a memory in GB is 0: give a number above 0"):
        find_gpu("0GB")


def test_margins_decide_between_fits_and_probably() -> None:
    memory = 12 * GIB
    assert judge(largest_peak(memory), memory) == "fits"
    assert judge(largest_peak(memory) + 1, memory) == "probably"
    assert judge(int(11.699 * GIB), memory) == "probably"
    assert judge(int(11.701 * GIB), memory) == "no"


def test_the_largest_batch_fits_and_the_next_one_does_not() -> None:
    gpu = Gpu("", 1.2)
    batch = largest_batch(PLAN, gpu)
    assert batch > 16
    fits = [
        judge(PLAN.with_batch(number).memory().peak, gpu.memory_bytes)
        for number in (batch, batch + 1)
    ]
    assert fits == ["fits", "probably"]


def test_no_batch_fits_into_a_gpu_that_holds_only_its_context() -> None:
    assert largest_batch(PLAN, Gpu("", 0.65)) == 0


def test_the_cheapest_change_is_confirmed_by_a_prediction() -> None:
    plan = PLAN.with_batch(32)
    whole, parts = plan.memory(), plan.with_batch(1).memory()
    between = Gpu("", ((whole.cell_peak + parts.cell_peak) / 2 * 1.1 + 0.65 * GIB) / GIB)
    assert judge(whole.cell_peak, between.memory_bytes) != "fits"
    assert cheapest_change(plan, between) == "--accumulate 32"


def test_changes_keep_the_results_where_they_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a made-up memory that only a smaller side lowers enough."""
    tried: list[tuple[bool, int, str]] = []

    def memory(plan: Plan, inference: bool = True) -> MemoryPrediction:
        recipe = plan.recipe
        tried.append((recipe.checkpointing, plan.task.image_size, str(plan.options)))
        return MemoryPrediction(plan.task.image_size * 2**20, 0, 0, 0, 0, 0)

    monkeypatch.setattr(fit.Plan, "memory", memory)
    lora = Method("lora", lambda task: Pixelwise(), "", 1e-3, "none", False, "", {"blocks": "all"})
    plan = Plan(lora, {}, Task(2, 1024, "sam_vit_b", "random"), Recipe(1e-3, batch_size=1), 0)
    assert cheapest_change(plan, Gpu("", 1.3)) == "--checkpointing --image-size 512"
    assert tried[0] == (True, 1024, "{}")
    assert (True, 1024, "{'blocks': '6-11'}") in tried
    assert cheapest_change(plan, Gpu("", 0.7)) is None


class OneValue(Pixelwise):
    """BatchNorm behind a global mean: it refuses a batch of one image."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(16)

    def forward(self, images: Tensor) -> Tensor:
        features = self.layer(images)
        return (features + self.norm(features.mean((2, 3), keepdim=True)))[:, :2]


REFUSING = Method("one_value", lambda task: OneValue(), "", 1e-3, "none", True, "", {})


def test_a_batch_that_the_model_refuses_is_not_predicted() -> None:
    plan = replace(PLAN, method=REFUSING)
    with pytest.raises(NotPredictedError, match="the model refuses the batch"):
        plan.with_batch(1).memory()
    row = next(predict_rows([(REFUSING, {})], [PLAN.task], PLAN.recipe, 4, Gpu("", 12)))
    assert (row.verdict, row.largest) == ("fits", None)


def test_parts_of_two_are_tried_where_parts_of_one_are_refused() -> None:
    plan = replace(PLAN, method=REFUSING, recipe=replace(PLAN.recipe, batch_size=8), views=0)
    limit = replace(plan, recipe=replace(plan.recipe, accumulate=4)).memory().cell_peak
    assert change_below(plan, limit) == "--accumulate 4"


def test_a_network_without_blocks_to_checkpoint_has_joint_changes() -> None:
    plan = replace(PLAN, recipe=replace(PLAN.recipe, batch_size=16, precision="fp32"), views=0)
    parts = replace(plan, recipe=replace(plan.recipe, accumulate=16))
    smaller = replace(parts, task=replace(PLAN.task, image_size=128))
    limit = replace(smaller, recipe=replace(smaller.recipe, precision="bf16")).memory().cell_peak
    assert change_below(plan, limit) == "--precision bf16 --accumulate 16 --image-size 128"
    assert change_below(plan, 1000) is None


def rows(gpu: Gpu | None, methods: Sequence[Method] = (METHOD,)) -> list[dict[str, object]]:
    recipe = replace(PLAN.recipe, steps=10)
    found = predict_rows([(m, {}) for m in methods], [PLAN.task], recipe, 20, gpu)
    return [row.to_dict() for row in found]


def test_a_row_has_parts_that_sum_to_the_peak() -> None:
    [row] = rows(find_gpu("rtx 4070"))
    parts = ("weights", "gradients", "optimizer", "activations", "kept")
    assert row["peak_bytes"] == sum(int(str(row[f"{part}_bytes"])) for part in parts)
    assert row["kept_bytes"] == (20 + 24) * 4 * 256 * 256
    assert row["fits"] == "fits"
    assert float(str(row["hours_low"])) < float(str(row["hours"])) < float(str(row["hours_high"]))


def test_kept_views_are_those_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(method: Method, images: int, **recipe: object) -> int:
        changed = replace(PLAN.recipe, steps=10, **recipe)  # type: ignore[arg-type]
        return kept_views(method, PLAN.task, changed, images, "cuda")

    assert [kept(METHOD, images) for images in (5, 30)] == [20, 30]
    assert kept(METHOD, 5, augmentation="none") == 5
    assert kept(METHOD, 5, augmentation="mirror") == 10
    assert kept(replace(METHOD, lr=None), 5) == 0
    monkeypatch.setitem(MOST_BYTES, "cuda", 20 * 4 * 256 * 256)
    assert (kept(METHOD, 20), kept(METHOD, 21)) == (20, 0)
    assert kept(replace(METHOD, prompts="oracle"), 20) == 0, "with numbers of instances"
    [row] = rows(find_gpu("rtx 4070"))
    assert row["kept_bytes"] == (20 + 24) * 4 * 256 * 256
    monkeypatch.setitem(MOST_BYTES, "cuda", 20 * 4 * 256 * 256 - 1)
    [row] = rows(find_gpu("rtx 4070"))
    assert row["kept_bytes"] == 24 * 4 * 256 * 256, "the validation images"


def test_without_a_gpu_there_is_no_verdict() -> None:
    [row] = rows(None)
    assert (row["fits"], row["largest_batch"], row["hours"]) == (None, None, None)


def test_what_is_not_predicted_says_why() -> None:
    class Selects(Pixelwise):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * images[images > 0.5].mean()

    selects = Method("selects", lambda task: Selects(), "", 1e-3, "none", True, "", {})
    row, other = rows(None, [selects, METHOD])
    assert row["peak_bytes"] is None
    assert "memory of selects is not predicted" in str(row["reason"])
    assert other["peak_bytes"]


def test_speed_comes_from_the_table_or_from_a_probe() -> None:
    known = speed_of(find_gpu("rtx 4090"), "bf16")
    assert known is not None
    assert known.flops == pytest.approx(0.4 * 165.2e12)
    assert speed_of(find_gpu("24GB"), "bf16") is None
    probed = probe_speed("cpu", "fp32", seconds=0.05)
    assert probed.flops > 1e8
    assert torch.tensor(probed.bandwidth).isfinite()


def test_the_command_and_the_function_predict_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "--methods frozen_head --image-size 64 --images 30 --memory --json"
    assert main(["cost", *words.split()]) == 0
    [card] = json.loads(capsys.readouterr().out)
    [row] = bench.predict_cost("frozen_head", image_size=64, images=30).to_dict("records")
    assert card["cell_peak_bytes"] == row["cell_peak_bytes"] > row["weights_bytes"] > 0
    assert card["trainable_params"] > 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--gpu 9XB", "GPU '9XB' is not known"),
        ("--memory --images 0", "--images is 0"),
        ("--memory --accumulate 2", "--accumulate is 2, but a batch has 1"),
    ],
)
def test_bad_predictions_are_one_sentence(
    capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    assert main(["cost", "--methods", "unet", "--image-size", "32", *words.split()]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_python_refuses_what_is_out_of_range() -> None:
    with pytest.raises(UserError, match="images is 0"):
        bench.predict_cost("lora", images=0)
    for side in (0, -64):
        with pytest.raises(UserError, match=f"image_size is {side}: give a whole number from 1"):
            bench.predict_cost("lora", image_size=side)
    with pytest.raises(UserError, match="accumulate is 2"):
        bench.predict_cost("lora", accumulate=2)
