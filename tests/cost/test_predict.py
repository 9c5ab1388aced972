"""Predicted memory against the same step on real tensors."""

import itertools

import pytest
import torch
from memory_error import compare
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from bench.cost.predict.memory import MemoryPrediction, predict_memory
from bench.errors import UserError
from bench.plugins.registry import Method, get_method, list_methods
from bench.spec import Recipe, Task

TOLERANCE = 0.005  # of the measured peak
METHODS = [method.name for method in list_methods(built_in_only=True) if method.lr is not None]


class TwoLayers(nn.Module):
    """A convolution and a frozen one; what it keeps in addition can be hidden from predictions."""

    def __init__(self, hidden_floats: int = 0) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)
        self.last.requires_grad_(False)
        self.hidden_floats, self.cache = hidden_floats, torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        if self.hidden_floats and not isinstance(images, FakeTensor) and not images.is_meta:
            self.cache = torch.zeros(self.hidden_floats)
        return self.last(self.first(images).relu())


def method(hidden_floats: int = 0, build: type[nn.Module] | None = None) -> Method:
    def make(task: Task) -> nn.Module:
        return build() if build is not None else TwoLayers(hidden_floats)

    return Method("two_layers", make, "", 1e-3, "none", True, "", {})


def predict(side: int = 32, batch: int = 2, **settings: str | bool | int) -> MemoryPrediction:
    views = int(settings.pop("views", 0))
    recipe = Recipe(1e-3, batch_size=batch, **settings)  # type: ignore[arg-type]
    return predict_memory(method(), {}, Task(3, side, "none", "random"), recipe, views=views)


def error(name_or_method: str | Method, task: Task, recipe: Recipe) -> float:
    chosen = get_method(name_or_method) if isinstance(name_or_method, str) else name_or_method
    predicted, measured = compare(chosen, task, recipe)
    assert predicted.weights == measured.weights
    return abs(predicted.peak / measured.peak - 1)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_small_network_is_predicted_to_the_byte(precision: str, optimizer: str) -> None:
    recipe = Recipe(1e-3, batch_size=2, precision=precision, optimizer=optimizer)
    predicted, measured = compare(method(), Task(3, 64, "none", "random"), recipe)
    parts = ("peak", "weights", "gradients", "optimizer", "activations")
    assert [getattr(predicted, part) for part in parts] == [
        getattr(measured, part) for part in parts
    ]


def test_a_method_on_sam_nano_is_predicted() -> None:
    recipe = Recipe(1e-4, batch_size=1)
    assert error("frozen_head", Task(3, 64, weights="random"), recipe) < TOLERANCE


@pytest.mark.slow
def test_checkpointing_is_predicted() -> None:
    recipe = Recipe(1e-4, batch_size=1, checkpointing=True)
    assert error("bias_only", Task(3, 64, weights="random"), recipe) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_all_methods_are_predicted(name: str) -> None:
    backbone = "none" if get_method(name).from_scratch else "sam_nano"
    task = Task(3, 256, backbone, "random")
    assert error(name, task, Recipe(1e-4, batch_size=2)) < TOLERANCE


@pytest.mark.slow
def test_stacks_of_slices_are_predicted() -> None:
    task = Task(2, 256, "sam_nano", "random", depth=2)
    assert error("med_sa", task, Recipe(1e-4, batch_size=1)) < TOLERANCE


def test_a_tensor_that_the_prediction_does_not_know_shows_as_an_error() -> None:
    task, recipe = Task(3, 64, "none", "random"), Recipe(1e-3, batch_size=2)
    assert error(method(), task, recipe) == 0
    assert error(method(hidden_floats=20_000), task, recipe) > TOLERANCE


def test_memory_grows_with_side_and_batch() -> None:
    sides = [predict(side=side).peak for side in (16, 32, 64)]
    batches = [predict(batch=batch).peak for batch in (1, 2, 3, 4)]
    assert sides == sorted(set(sides))
    steps = {later - earlier for earlier, later in itertools.pairwise(batches)}
    assert len(steps) == 1, "memory is a constant plus a multiple of the batch"
    assert min(steps) > 0


@pytest.mark.parametrize(("batch", "parts"), [(4, 2), (6, 3)])
def test_parts_of_a_batch_are_predicted_to_the_byte(batch: int, parts: int) -> None:
    recipe = Recipe(1e-3, batch_size=batch, accumulate=parts)
    assert error(method(), Task(3, 64, "none", "random"), recipe) == 0


def test_kept_views_are_images_masks_and_embeddings() -> None:
    plain, trained = predict(), predict(views=10)
    assert trained.kept == 10 * 4 * 32 * 32  # no stage is frozen: three channels and the mask
    assert trained.peak == plain.peak + trained.kept
    task, recipe = Task(3, 64, weights="random"), Recipe(1e-4, batch_size=1, precision="fp32")
    frozen = predict_memory(get_method("frozen_head"), {}, task, recipe, views=10)
    assert frozen.kept == 10 * (4 * 64 * 64 + 4 * 96 * 8 * 8)  # 96 channels at 8 x 8


def test_on_cuda_the_optimiser_updates_all_parameters_at_once() -> None:
    task, recipe = Task(3, 8, "none", "random"), Recipe(1e-3, batch_size=1, precision="fp32")

    class Wide(nn.Module):
        """Large weights and small activations, so that the peak is in the optimiser."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*(nn.Conv2d(3, 3, 31, padding=15) for _ in range(4)))

        def forward(self, images: Tensor) -> Tensor:
            return self.layers(images)

    on_cpu, on_cuda = (
        predict_memory(method(build=Wide), {}, task, recipe, device=device)
        for device in ("cpu", "cuda")
    )
    one = 4 * 9 * 31 * 31  # bytes of one weight
    # AdamW's denominator: of all four weights at once, or of one weight in two steps.
    assert on_cuda.activations - on_cpu.activations == pytest.approx((4 - 2) * one, rel=0.1)


def test_a_method_that_trains_nothing_has_only_weights_and_inference() -> None:
    task = Task(2, 64, weights="random")
    memory = predict_memory(get_method("zero_shot"), {}, task, Recipe(0.0, batch_size=1))
    assert memory.gradients == memory.optimizer == 0
    assert memory.peak == memory.inference > memory.weights


def test_an_operator_without_a_shape_is_named() -> None:
    class Selects(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.layer(images) * images[images > 0.5].mean()

    task = Task(3, 8, "none", "random")
    with pytest.raises(Exception, match=r"memory of two_layers is not predicted.*nonzero"):
        predict_memory(method(build=Selects), {}, task, Recipe(1e-3, batch_size=1))


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UserError, match="no device 'tpu'"):
        predict_memory(
            method(), {}, Task(3, 8, "none", "random"), Recipe(1e-3, batch_size=1), device="tpu"
        )


def test_inference_of_a_model_that_does_not_train_cannot_be_left_out() -> None:
    task = Task(2, 64, "sam_nano", "random")
    with pytest.raises(UserError, match="inference_batch is 0, and zero_shot trains no parameters"):
        predict_memory(get_method("zero_shot"), {}, task, Recipe(0.0), inference_batch=0)
