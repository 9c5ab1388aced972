"""Networks from scratch: counts of the originals, sides that are no multiple, other libraries."""

import importlib
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from timm.layers import blur_pool
from torch import nn

from bench.errors import UserError
from bench.learn.loop import make_optimizer, train_step
from bench.learn.losses import ce_dice
from bench.learn.model import Model, ModelInput
from bench.nets.blocks import BlurPool, UNetForm
from bench.nets.library import Normalised, require_library, with_encoder
from bench.plugins.registry import get_method
from bench.spec import Recipe, Task

# By their names at run time: a type checker knows the plugin folders as plain files.
UNet3Plus: Any = importlib.import_module("bench.methods.unet3plus").UNet3Plus
ELUNet: Any = importlib.import_module("bench.methods.elunet").ELUNet
ORIGINAL = UNetForm()


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# Measured on the originals' code, or on a harness equal to it: (in, classes) to parameters.


@pytest.mark.parametrize(
    ("supervision", "cgm", "channels", "classes", "count"),
    [
        (False, False, 3, 1, 26_971_777),
        (False, False, 1, 3, 26_976_387),
        (False, False, 3, 3, 26_977_539),
        (True, False, 3, 1, 26_989_637),
        (True, False, 1, 3, 27_029_967),
        (True, False, 3, 3, 27_031_119),
        (True, True, 3, 1, 26_991_687),
        (True, True, 1, 3, 27_032_017),
        (True, True, 3, 3, 27_033_169),
    ],
)
def test_unet3plus_is_as_large_as_the_original(
    supervision: bool, cgm: bool, channels: int, classes: int, count: int
) -> None:
    with torch.device("meta"):
        assert size(UNet3Plus(channels, classes, 64, ORIGINAL, supervision, cgm)) == count


@pytest.mark.parametrize(
    ("width", "channels", "classes", "count"),
    [
        (8, 3, 1, 800_257),
        (8, 1, 3, 800_131),
        (8, 3, 3, 800_275),
        (16, 3, 1, 3_194_369),
        (16, 1, 3, 3_194_115),
        (16, 3, 3, 3_194_403),
        (32, 3, 1, 12_764_161),
        (32, 1, 3, 12_763_651),
        (32, 3, 3, 12_764_227),
        (64, 3, 1, 51_030_017),
        (64, 1, 3, 51_028_995),
        (64, 3, 3, 51_030_147),
    ],
)
def test_elunet_is_as_large_as_the_original(
    width: int, channels: int, classes: int, count: int
) -> None:
    with torch.device("meta"):
        assert size(ELUNet(channels, classes, width, ORIGINAL)) == count


def test_elunet_without_shared_layers() -> None:
    with torch.device("meta"):
        assert size(ELUNet(1, 3, 8, ORIGINAL, tie=False)) == 845_995


@pytest.mark.parametrize(
    ("kernel", "glu", "scope", "wide", "narrow", "elu"),
    [
        (3, False, "encoder", 26_976_387, 1_691_427, 800_131),
        (7, False, "encoder", 110_701_187, 6_924_707, None),
        (7, False, "all", 146_784_387, 9_187_107, 3_555_011),
        (3, True, "encoder", 45_826_371, 2_871_891, None),
        (3, True, "all", 53_944_131, 3_380_691, 1_259_179),
        (7, True, "encoder", 213_275_971, 13_338_451, None),
        (7, True, "all", 293_521_731, 18_362_451, 6_044_459),
    ],
)
def test_kernels_and_gates_add_what_was_measured(
    kernel: int, glu: bool, scope: str, wide: int, narrow: int, elu: int | None
) -> None:
    forms = [
        UNetForm(kernel, 1, "max", glu, scope),
        UNetForm(kernel, 2, "blur", glu, scope),  # these two add nothing
    ]
    for form in forms:
        with torch.device("meta"):
            assert size(UNet3Plus(1, 3, 64, form)) == wide
            assert size(UNet3Plus(1, 3, 16, form)) == narrow
            if elu is not None:
                assert size(ELUNet(1, 3, 8, form)) == elu


def test_named_forms_are_their_parts() -> None:
    for name in ("unet3plus", "elunet"):
        task, build = Task(3, 64, weights="random"), get_method(name).build
        for form, glu in (("enhanced", False), ("enhanced_glu", True)):
            with torch.device("meta"):
                named = build(task, form=form)
                made = build(task, kernel=7, dilation=2, pool="blur", glu=glu)
            assert str(named) == str(made)
            assert size(named) > size(build(task))


def test_blur_pooling_is_timms_without_its_stride_and_border() -> None:
    x = torch.rand(2, 5, 9, 8)
    theirs = blur_pool.BlurPool2d(5, filt_size=3, stride=1, pad_mode="constant")
    torch.testing.assert_close(BlurPool(5)(x), theirs(x))


# Sides


@pytest.mark.parametrize("side", [65, 100, 130])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet3plus", {"width": 4, "supervision": True, "cgm": True}),
        ("unet3plus", {"width": 4, "form": "enhanced_glu", "scope": "all"}),
        ("elunet", {"width": 4}),
        ("elunet", {"width": 4, "form": "enhanced_glu", "scope": "all"}),
    ],
)
def test_unets_take_any_side(name: str, options: dict[str, Any], side: int) -> None:
    torch.manual_seed(0)
    task = Task(3, side, weights="random")
    model = get_method(name).build(task, **options).eval()
    images = torch.rand(1, 3, side, side)
    with torch.no_grad():
        logits = model(images)
        shifted = model(images + 0.1 * (torch.arange(side) == side - 1))  # the last column
    assert logits.shape == (1, 3, side, side)
    if "cgm" not in options:
        assert (logits != shifted)[..., -1].any()  # is seen


def test_padding_changes_no_image_that_fits() -> None:
    class Seen(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.side = x.shape[-1]
            return x

    seen = Seen()
    model, images = Normalised(seen, 32, (0.2, 0.3, 0.4), (0.1, 0.2, 0.5)), torch.rand(1, 3, 64, 64)
    for side, padded in ((64, 64), (33, 64), (32, 32)):
        out = model(images[..., :side, :side])
        assert (out.shape[-1], seen.side) == (side, padded)
        expected = (images[0, 1, :side, :side] - 0.3) / 0.2
        torch.testing.assert_close(out[0, 1], expected)


# Networks of libraries


@pytest.mark.parametrize(
    ("name", "network", "shape"),
    [
        ("unet", "Unet", {"decoder_channels": [64, 48, 32, 16, 8]}),
        ("unetpp", "UnetPlusPlus", {"decoder_channels": [64, 48, 32, 16, 8]}),
        ("linknet", "Linknet", {}),
        ("fpn", "FPN", {"decoder_pyramid_channels": 128, "decoder_segmentation_channels": 64}),
        ("deeplabv3plus", "DeepLabV3Plus", {"decoder_channels": 128}),
        ("segformer", "Segformer", {}),
        ("upernet", "UPerNet", {"decoder_channels": 64}),
    ],
)
def test_networks_are_those_of_the_library(name: str, network: str, shape: dict[str, Any]) -> None:
    task = Task(3, 64, weights="random")
    ours: Any = get_method(name).build(task, encoder="resnet18")
    theirs = getattr(smp, network)("resnet18", encoder_weights=None, classes=3, **shape)
    assert size(ours) == size(theirs)
    theirs.load_state_dict(ours.network.state_dict())
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.eval()((images - 0.5) / 0.25)
        # Sums over hundreds of channels of random weights; processors add them in other orders.
        torch.testing.assert_close(ours.eval()(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["unet", "segformer", "unetr"])
def test_networks_of_libraries_take_any_side(name: str) -> None:
    pytest.importorskip("einops" if name.endswith("unetr") else "timm")
    model = get_method(name).build(Task(3, 65, weights="random")).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 65, 65)).shape == (1, 3, 65, 65)


@pytest.mark.parametrize(
    "name",
    [
        *("unet", "unetpp", "linknet", "fpn", "deeplabv3plus", "segformer", "upernet"),
        *("attention_unet", "swin_unetr", "unetr"),
    ],
)
def test_networks_of_libraries_learn(name: str) -> None:
    if name in ("attention_unet", "swin_unetr", "unetr"):
        pytest.importorskip("einops")
    torch.manual_seed(0)
    method = get_method(name)
    values = losses(method.build(Task(3, 64, weights="random")), method.lr or 0, 4)
    assert values[-1] < 0.97 * values[0]


def test_unetr_trains_nothing_that_is_never_used() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    pytest.importorskip("einops")
    with torch.device("meta"):
        ours = get_method("unetr").build(Task(3, 70, weights="random"))
        theirs = nets.UNETR(3, 3, 80, 8, 96, 384, 3, spatial_dims=2)
    assert size(theirs) - size(ours) == 12 * 2 * 96  # a norm for cross-attention in 12 blocks


def test_an_encoder_is_read_from_the_cache_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")
    task = Task(3, 64, weights="random")
    for encoder in ("resnet18", "tu-mobilenetv3_small_100"):
        with pytest.raises(UserError, match="not in the cache and cannot be downloaded"):
            get_method("unet").build(task, encoder=encoder, pretrained=True)
    with torch.device("meta"):  # reads nothing
        get_method("unet").build(task, pretrained=True)


def test_pretrained_encoders_see_images_as_in_their_training() -> None:
    asked: list[Any] = []

    def make(encoder: str, encoder_weights: Any, classes: int) -> nn.Module:
        asked.append(encoder_weights)
        return nn.Conv2d(3, classes, 1)

    model = with_encoder(make, Task(3, 64), "tu-mobilenetv3_small_100", True)
    assert asked == [True]
    torch.testing.assert_close(model.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(model.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))


def test_a_missing_library_is_told() -> None:
    with pytest.raises(ImportError, match="no module named no_such_thing: install the extra"):
        require_library("torch", "no_such_thing")


# Training


def blobs(count: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose brightness tells the class, and their masks."""
    random = torch.Generator().manual_seed(0)
    masks = torch.rand(count, 1, 4, 4, generator=random).mul(3).floor()
    masks = nn.functional.interpolate(masks, (side, side))
    noise = torch.rand(count, 3, side, side, generator=random)
    return (80 * masks + 60 * noise).to(torch.uint8), masks[:, 0].to(torch.uint8)


def losses(model: nn.Module, lr: float, steps: int, side: int = 64) -> list[float]:
    images, masks = blobs(4, side)
    recipe = Recipe(lr=lr, precision="fp32")
    trained = Model(model.train(), Task(3, side, "none", "random"), recipe)
    optimizer, inputs = make_optimizer(trained), ModelInput(images)
    return [train_step(trained, optimizer, inputs, masks).item() for _ in range(steps)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unet3plus", {"width": 4}),
        ("unet3plus", {"width": 4, "supervision": True, "cgm": True}),
        ("unet3plus", {"width": 4, "form": "enhanced_glu"}),
        ("elunet", {"width": 4, "form": "enhanced"}),
    ],
)
def test_unets_learn(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    method = get_method(name)
    values = losses(method.build(Task(3, 64, weights="random"), **options), method.lr or 0, 8)
    assert values[-1] < 0.9 * values[0]


def test_every_supervised_output_gets_the_loss() -> None:
    torch.manual_seed(0)
    model = UNet3Plus(3, 3, 2, ORIGINAL, supervision=True, cgm=True)
    images, masks = blobs(2, 64)
    model.training_loss(images.float() / 255, masks, ce_dice).backward()
    assert all(head.weight.grad.any() for head in model.outputs)
    assert all(p.grad is not None for p in model.parameters())


def test_deep_supervision_is_the_mean_over_the_outputs() -> None:
    torch.manual_seed(0)
    model = UNet3Plus(3, 3, 2, ORIGINAL, supervision=True).eval()
    images, masks = blobs(2, 64)
    seen: list[torch.Tensor] = []

    def first(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        seen.append(logits)
        return torch.tensor(float(len(seen)))

    with torch.no_grad():
        assert model.training_loss(images.float() / 255, masks, first) == 3  # (1 + ... + 5) / 5
        torch.testing.assert_close(seen[0], model(images.float() / 255))
    assert all(logits.shape == (2, 3, 64, 64) for logits in seen)


def test_an_image_judged_empty_is_background() -> None:
    model = UNet3Plus(3, 3, 2, ORIGINAL, cgm=True).eval()
    images = torch.rand(2, 3, 64, 64)
    layer = model.presence[1]
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 0.0]))
        assert (model(images).argmax(1) == 0).all()
        layer.bias.copy_(torch.tensor([0.0, 1.0]))
        assert model(images).any()


# Mistakes


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("unet3plus", {"width": 0}, "width 0 is too small"),
        ("unet3plus", {"kernel": 4}, "kernel 4 must be odd"),
        ("unet3plus", {"dilation": 0}, "dilation 0 is too small"),
        ("elunet", {"pool": "mean"}, "pool 'mean' is not known: give max or blur"),
        ("elunet", {"scope": "decoder"}, "scope 'decoder' is not known"),
        ("elunet", {"form": "better"}, "give one of original, enhanced, enhanced_glu"),
        ("elunet", {"form": "enhanced", "kernel": 5}, "give either the form or these"),
        ("unet", {"encoder": "resnet_x"}, "no encoder 'resnet_x' for Unet"),
        ("segformer", {"encoder": "tu-nothing"}, "no encoder 'tu-nothing' for Segformer"),
        ("fpn", {"width": 100}, "width 100 must be a multiple of 64"),
    ],
)
def test_mistakes_are_told(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        get_method(name).build(Task(3, 64, weights="random"), **options)
