"""The cost of a method: exact counts against closed formulas, memory against sums by hand."""

import copy
import functools
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench.cost import throughput
from bench.cost.flops import count_flops, count_macs_fvcore, on_meta
from bench.cost.measure import measure_cost, measure_training_memory
from bench.cost.memory import MemorySplit, StorageMeter, measure_memory
from bench.cost.params import checkpoint_bytes, count_params, trained_state
from bench.cost.throughput import measure_throughput
from bench.learn.model import Model
from bench.plugins.registry import get_method
from bench.spec import Recipe, Task

FLOAT = 4  # bytes


class Attention(nn.Module):
    """Two heads of width 8 over the pixels, behind a convolution and before a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.head = nn.Conv2d(16, 2, 3, padding="same")

    def forward(self, images: Tensor, bias: Tensor | None = None) -> Tensor:
        features = self.stem(images)
        tokens = self.norm(features.flatten(2).transpose(1, 2))  # (B, N, 16)
        q, k, v = self.qkv(tokens).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        if bias is not None:
            mixed = mixed + bias
        return self.head(mixed.transpose(1, 2).unflatten(2, features.shape[-2:]))


class TinySam(nn.Module):
    """The parts of `segment_anything` at toy size, with one windowed and one global block."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ImageEncoderViT(
            img_size=64,
            embed_dim=16,
            depth=2,
            num_heads=2,
            out_chans=16,
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1,),
            norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
        )
        self.prompt_encoder = PromptEncoder(16, (4, 4), (64, 64), 16)
        transformer = TwoWayTransformer(depth=1, embedding_dim=16, num_heads=2, mlp_dim=32)
        self.decoder = MaskDecoder(transformer_dim=16, transformer=transformer)

    def forward(self, images: Tensor, points: Any = None, boxes: Any = None) -> Any:
        sparse, dense = self.prompt_encoder(points, boxes, None)
        return self.decoder(
            image_embeddings=self.encoder(images),
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )


# --- parameters


def test_shared_parameters_count_once_and_buffers_never() -> None:
    first, last = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    last.weight = first.weight
    model = nn.Sequential(first, nn.BatchNorm1d(4), nn.Linear(4, 3).requires_grad_(False), last)
    assert count_params(model) == (16 + 8, 16 + 8 + 15)


def test_trained_state_holds_statistics_of_trained_modules_only() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    model[0].requires_grad_(False)
    state = trained_state(model)
    assert set(state) == {"1.weight", "1.bias"} | {
        f"2.{name}"
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
    assert not any(tensor.requires_grad for tensor in state.values())
    assert model.load_state_dict(state, strict=False).unexpected_keys == []


def test_buffers_that_are_not_saved_do_not_count() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("grid", torch.zeros(100), persistent=False)
    assert set(trained_state(model)) == {"weight", "bias"}


def test_checkpoint_bytes_is_the_size_of_the_file(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).to(torch.bfloat16)
    state = trained_state(model)
    save_file(state, tmp_path / "adapter.safetensors")
    size = (tmp_path / "adapter.safetensors").stat().st_size
    assert checkpoint_bytes(state) == size
    transposed = {name: t.t().contiguous().t() if t.ndim == 2 else t for name, t in state.items()}
    assert checkpoint_bytes(transposed) == size
    assert checkpoint_bytes(trained_state(on_meta(model))) == size


def test_nothing_trained_is_nothing_to_store() -> None:
    assert checkpoint_bytes(trained_state(nn.Linear(3, 3).requires_grad_(False))) == 0


# --- operations


def formula(batch: int) -> dict[str, int]:
    """Multiply-adds of each product in `Attention` for 16 x 16 pixels, thus 64 tokens."""
    return {
        "stem": batch * 64 * 16 * 3 * 9,
        "qkv": batch * 64 * 16 * 48,
        "sdpa": batch * 2 * 64 * 64 * (8 + 8),
        "head": batch * 64 * 2 * 16 * 9,
    }


def test_forward_flops_are_twice_the_multiply_adds() -> None:
    model = on_meta(Attention())
    images = torch.empty(2, 3, 16, 16, device="meta")
    assert count_flops(lambda: model(images)) == 2 * sum(formula(2).values())


def test_train_step_counts_both_gradients_but_none_of_the_images() -> None:
    model = on_meta(Attention())
    images = torch.empty(2, 3, 16, 16, device="meta")
    macs = formula(2)
    counted = count_flops(lambda: model(images).sum().backward())
    assert counted == 2 * (3 * sum(macs.values()) - macs["stem"])


def test_frozen_part_has_no_backward_flops() -> None:
    model = on_meta(Attention())
    model.requires_grad_(False)
    model.get_submodule("head").requires_grad_(True)
    images = torch.empty(2, 3, 16, 16, device="meta")
    macs = formula(2)
    counted = count_flops(lambda: model(images).sum().backward())
    assert counted == 2 * (sum(macs.values()) + macs["head"])  # only the gradient of its weight


def test_on_meta_leaves_the_model_alone_and_keeps_the_trainable_set() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    model[1].requires_grad_(False)
    moved = on_meta(model)
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert {t.device.type for t in moved.state_dict().values()} == {"meta"}
    assert [p.requires_grad for p in moved.parameters()] == [True, True, False, False]


@pytest.mark.parametrize("prompt", ["none", "points", "boxes"])
def test_sam_counts_the_same_on_meta_and_cpu(prompt: str) -> None:
    model = TinySam().eval()

    def count(sam: nn.Module, device: str) -> int:
        points = (torch.zeros(1, 2, 2, device=device), torch.ones(1, 2, device=device))
        prompts: dict[str, dict[str, Any]] = {
            "none": {},
            "points": {"points": points},
            "boxes": {"boxes": torch.zeros(1, 4, device=device)},
        }
        images = torch.zeros(1, 3, 64, 64, device=device)
        return count_flops(lambda: sam(images, **prompts[prompt]))

    assert count(on_meta(model), "meta") == count(model, "cpu") > 0


def test_unet_is_counted_on_meta() -> None:
    import segmentation_models_pytorch as smp

    unet = on_meta(smp.Unet("resnet18", 3, None, decoder_channels=(32, 16, 8)))
    images = torch.empty(2, 3, 32, 32, device="meta")
    forward = count_flops(lambda: unet(images))
    step = count_flops(lambda: unet(images).sum().backward())
    stem = 2 * 2 * 16 * 16 * 64 * 3 * 49  # its inputs are images, which need no gradient
    assert step == 3 * forward - stem


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 4, 32])
def test_grouped_convolutions_cost_three_times_their_forward_pass(
    kind: type[nn.Conv2d] | type[nn.ConvTranspose2d], groups: int
) -> None:
    layer = kind(32, 64, 3, stride=2, groups=groups).to("meta")
    images = torch.zeros(1, 32, 9, 9, device="meta", requires_grad=True)
    forward = count_flops(lambda: layer(images))
    pixels = (9 if kind is nn.ConvTranspose2d else 4) ** 2
    assert forward == 2 * pixels * 9 * 32 * 64 // groups
    assert count_flops(lambda: layer(images).sum().backward()) == 3 * forward


def test_multihead_attention_is_counted_in_evaluation_mode() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval().requires_grad_(False)
    tokens = torch.zeros(1, 6, 8)
    products = 6 * 8 * 8 * 4 + 2 * 6 * 6 * (4 + 4)  # four projections, two heads
    assert count_flops(lambda: layer(tokens, tokens, tokens)) == 2 * products
    assert torch.backends.mha.get_fastpath_enabled()


def test_fvcore_differs_by_five_per_element_of_the_layer_norm() -> None:
    macs = count_macs_fvcore(Attention(), torch.zeros(2, 3, 16, 16))
    assert macs == sum(formula(2).values()) + 5 * (2 * 64 * 16)


def test_fvcore_agrees_with_torch_on_sam_up_to_the_layer_norms() -> None:
    model = TinySam().train()
    images, boxes = torch.zeros(1, 3, 64, 64), torch.zeros(1, 4)
    macs = count_macs_fvcore(model, images, None, boxes)
    flops = count_flops(lambda: model(images, None, boxes))
    norms: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(lambda _, inputs, out: norms.append(5 * out.numel()))
    model(images, None, boxes)
    assert macs == flops // 2 + sum(norms)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 2), nn.Linear(4, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        self.unused(tokens)
        return self.used(tokens)


def test_fvcore_drops_what_the_output_does_not_need() -> None:
    tokens = torch.zeros(1, 4)
    assert count_macs_fvcore(Unused(), tokens) == 8
    assert count_flops(lambda: Unused()(tokens)) == 2 * (8 + 32)


def test_fvcore_leaves_modes_and_statistics_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout().eval())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert count_macs_fvcore(model, torch.rand(1, 3, 8, 8)) == 64 * 12 + 2 * 64 * 4
    assert [module.training for module in model] == [True, True, False]
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


class Untraceable(nn.Module):
    def forward(self, images: Tensor) -> object:
        return object()


def test_fvcore_says_why_it_cannot_count(caplog: pytest.LogCaptureFixture) -> None:
    assert count_macs_fvcore(Untraceable(), torch.zeros(1, 3, 8, 8)) is None
    assert "cannot be traced" in caplog.text


# --- memory


def adamw_step(
    model: nn.Module, inputs: Tensor, *, set_to_none: bool = True
) -> tuple[Callable[[], None], torch.optim.Optimizer]:
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, foreach=False)

    def step() -> None:
        model(inputs).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=set_to_none)

    return step, optimizer


def measure(model: nn.Module, inputs: Tensor, **options: bool) -> MemorySplit:
    step, optimizer = adamw_step(model, inputs, **options)
    split = measure_memory(step, model, optimizer, inputs.device)
    parts = split.weights + split.gradients + split.optimizer + split.activations
    assert parts == split.peak
    return split


def mlp(depth: int = 3, width: int = 64) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(depth)))


def test_parts_of_an_mlp_by_hand() -> None:
    model = mlp()
    model.register_buffer("statistics", torch.zeros(10))
    split = measure(model, torch.zeros(2, 64), set_to_none=False)
    trained, tensors = 3 * (64 * 64 + 64), 6
    assert split.weights == FLOAT * (trained + 10)
    assert split.gradients == FLOAT * trained  # they stay allocated between the steps
    assert split.optimizer == FLOAT * (2 * trained + tensors)  # two moments, one counter each
    assert split.source == "tensor accounting"


def test_activations_by_hand() -> None:
    model = nn.Sequential(nn.Linear(64, 64).requires_grad_(False), nn.Linear(64, 2))
    split = measure(model, torch.zeros(512, 64))
    batch, hidden, logits = 512 * 64, 512 * 64, 512 * 2
    # Beside what is saved, the backward pass of the square needs a few temporaries.
    saved = FLOAT * (batch + hidden + logits)
    assert saved < split.activations < saved + 4 * FLOAT * logits
    assert split.gradients == 0  # none is there yet at the peak


def test_frozen_parts_have_neither_gradients_nor_state() -> None:
    model = mlp()
    model[:2].requires_grad_(False)
    split = measure(model, torch.zeros(2, 64), set_to_none=False)
    trained = 64 * 64 + 64
    assert split.gradients == FLOAT * trained
    assert split.optimizer == FLOAT * (2 * trained + 2)
    assert split.weights == FLOAT * 3 * trained


class Recomputed(nn.Module):
    def __init__(self, blocks: nn.Sequential) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return x


def test_checkpointing_lowers_the_activations_alone() -> None:
    blocks = nn.Sequential(*(nn.Sequential(mlp(4, 16), nn.GELU()) for _ in range(4)))
    inputs = torch.zeros(256, 16)
    plain, recomputed = measure(blocks, inputs), measure(Recomputed(blocks), inputs)
    assert recomputed.activations < 0.6 * plain.activations
    assert recomputed.weights == plain.weights
    assert recomputed.optimizer == plain.optimizer


def test_meta_and_cpu_agree() -> None:
    inputs = torch.zeros(32, 64)
    cpu, meta = measure(mlp(), inputs), measure(on_meta(mlp()), inputs.to("meta"))
    counters = 6 * FLOAT  # AdamW keeps its step counters on the CPU
    assert meta.peak == cpu.peak - counters


def test_peak_equals_the_allocator_events_of_the_profiler(tmp_path: Path) -> None:
    model, inputs = mlp(), torch.zeros(256, 64)
    step, optimizer = adamw_step(model, inputs)
    step()
    gc.collect()
    states = (v for state in optimizer.state.values() for v in state.values())
    before = sum(t.nbytes for t in (*model.parameters(), inputs, *states))
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        step()
    trace = tmp_path / "trace.json"
    profiler.export_chrome_trace(str(trace))
    events = [e for e in json.loads(trace.read_text())["traceEvents"] if e["name"] == "[memory]"]
    live = peak = before
    for event in sorted(events, key=lambda event: event["ts"]):
        live += event["args"]["Bytes"]
        peak = max(peak, live)
    assert measure_memory(step, model, optimizer, "cpu").peak == peak


def test_meter_sees_views_in_place_work_and_reused_addresses() -> None:
    meter = StorageMeter("cpu")
    with meter:
        tensor = torch.zeros(100)
        view = tensor[10:].view(9, 10)
        view.add_(1)
        assert meter.live == 400
        del tensor
        assert meter.live == 400  # the view keeps the storage
        del view
        assert meter.live == 0
        for _ in range(50):
            torch.zeros(1000)  # freed at once, so that addresses come back
        assert (meter.live, meter.peak) == (0, 4000)
        grown = torch.empty(0)
        torch.cat([torch.zeros(5), torch.zeros(5)], out=grown.resize_(10))
        assert meter.live == 40


def test_meter_counts_what_only_autograd_holds() -> None:
    weight = torch.ones(10, requires_grad=True)
    with StorageMeter("cpu") as meter:
        out = (weight * 2).exp().sum()  # exp saves its result, 40 bytes; the product is gone
        gc.collect()
        assert meter.live == 40 + 40 + 4
        out.backward()
        assert weight.grad is not None
        del out
    assert meter.live == 40 + 40  # weight and gradient


def test_cuda_allocator_decides_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arithmetic alone: a made-up allocator, and tensors that are all on the CPU."""
    figures = {"memory_allocated": 0, "max_memory_allocated": 5000}
    for name in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda _, name=name: figures[name])
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda _: None)
    model = mlp()
    step, optimizer = adamw_step(model, torch.zeros(2, 64))
    split = measure_memory(step, model, optimizer, "cuda")
    assert split == MemorySplit(5000, 0, 0, 0, 5000, "cuda allocator")
    figures["memory_allocated"] = 600 * 2**20
    with pytest.raises(RuntimeError, match="holds 600 MiB on cuda in addition to the model"):
        measure_memory(step, model, optimizer, "cuda")


@pytest.mark.gpu
def test_cuda_peak_is_the_allocators() -> None:
    model = mlp(3, 512).cuda()
    split = measure(model, torch.zeros(64, 512, device="cuda"))
    trained = 3 * (512 * 512 + 512)
    assert split.source == "cuda allocator"
    assert split.peak == torch.cuda.max_memory_allocated()
    assert split.weights == FLOAT * trained
    assert split.optimizer == FLOAT * 2 * trained  # AdamW keeps its step counters on the CPU
    assert split.activations >= 0


@pytest.mark.gpu
def test_cuda_refuses_a_device_in_use() -> None:
    ballast = torch.empty(600 * 2**20, dtype=torch.uint8, device="cuda")
    with pytest.raises(RuntimeError, match="600 MiB"):
        measure(mlp().cuda(), torch.zeros(2, 64, device="cuda"))
    del ballast


@pytest.mark.gpu
def test_cuda_holds_the_weights_once_while_training_is_measured() -> None:
    recipe = Recipe(1e-3, batch_size=2)
    module = get_method("full").build(Task(2, 64, weights="random")).cuda()
    alone = measure_training_memory(Model(copy.deepcopy(module), Task(2, 64), recipe))
    cost = measure_cost(Model(module, Task(2, 64), recipe))
    assert cost.train_peak_bytes == pytest.approx(alone.peak - alone.weights, rel=0.05)
    assert all(parameter.is_cuda for parameter in module.parameters())


# --- speed


class Clock:
    """A clock that only `spend` moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.calls = 0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(throughput, "_waited", lambda: 0.0)

    def spend(self, seconds: float) -> None:
        self.calls += 1
        self.now += seconds


def test_throughput_of_a_steady_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    speed = measure_throughput(lambda: clock.spend(0.0625), 8, block_s=0.125)
    assert speed.blocks == (128.0,) * 15
    assert (speed.median, speed.iqr) == (128.0, 0.0)
    assert clock.calls == 16 + 15 * 2  # one second of warm-up, then two calls a block


def test_throughput_is_the_median_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    durations = iter([1.0, 1.0, 2.0, 0.5, 4.0, 1.0])  # the first is the warm-up
    speed = measure_throughput(lambda: clock.spend(next(durations)), 4, blocks=5)
    assert speed.blocks == (4.0, 2.0, 8.0, 1.0, 4.0)
    assert (speed.median, speed.iqr) == (4.0, 2.0)


def test_steady_blocks_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    steady = measure_throughput(lambda: clock.spend(1.0), 4, blocks=9, steady=0.05)
    assert steady.blocks == (4.0,) * 5
    durations = iter([1.0, 1.0, 1.25, 1.0, 1.25, 1.0, 1.0, 1.0, 1.0, 1.25])
    busy = measure_throughput(lambda: clock.spend(next(durations)), 4, blocks=9, steady=0.05)
    assert len(busy.blocks) == 9  # a quarter of them or more was slow all the time
    assert busy.median == 4.0


def test_time_limit_leaves_one_block_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    slow = measure_throughput(lambda: clock.spend(40.0), 1, limit_s=30.0)
    assert (slow.blocks, slow.iqr) == ((1 / 40,), None)
    fewer = measure_throughput(lambda: clock.spend(10.0), 1, limit_s=30.0)
    assert len(fewer.blocks) == 2  # after 10 s of warm-up


def test_queued_work_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that queues calls in no time and works on them while it is waited for."""
    clock = Clock(monkeypatch)
    queued: list[float] = []

    def wait() -> None:
        clock.now += sum(queued)
        queued.clear()

    def call() -> None:
        queued.append(0.03125)

    speed = measure_throughput(call, 1, block_s=0.125, blocks=3, sync=wait)
    assert speed.blocks == (32.0, 32.0, 32.0)
    assert queued == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no choice of CPUs here")
def test_throughput_beside_a_rival_for_the_same_cpu() -> None:
    """Half of the time is the rival's; the figure stays."""

    def call() -> None:
        sum(range(100_000))

    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        alone = measure_throughput(call, 1)
        rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])  # on the same CPU
        try:
            contested = measure_throughput(call, 1)
        finally:
            rival.kill()
            rival.wait()
    finally:
        os.sched_setaffinity(0, mine)
    assert contested.median > 0.8 * alone.median
