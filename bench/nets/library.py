"""Make models of this project from networks of other libraries."""

import importlib.util
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.errors import UserError
from bench.sam.state_dict import checked_tensors
from bench.spec import Task


class Normalised(nn.Module):
    """A network that takes images in [0, 1] of any size, and normalises and pads them.

    Args:
        network: from (B, 3, h, w) to (B, K, h, w), where h and w are multiples of `multiple`. It is
            converted to another memory format in place.
        multiple: images are padded on the right and at the bottom to a multiple of this number of
            pixels. The padding repeats the last row and column.
        mean: mean of the channels, one value for all or three; it is subtracted from the images.
        std: standard deviation of the channels, likewise; the difference is divided by it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        multiple: int = 1,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.25,),
    ) -> None:
        super().__init__()
        # On a CPU, convolutions are about a third faster in this memory format.
        self.network = network.to(memory_format=torch.channels_last)
        self.multiple = multiple
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K, H, W) for images (B, 3, H, W) in [0, 1]."""
        height, width = images.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        images = (images - self.mean) / self.std
        if below or right:
            images = F.pad(images, (0, right, 0, below), mode="replicate")
        logits: Tensor = self.network(images)
        return logits[..., :height, :width]


def with_encoder(
    make: Callable[..., nn.Module], task: Task, encoder: str, pretrained: bool, **shape: object
) -> Normalised:
    """Build a network of segmentation-models-pytorch; on the meta device no weights are read.

    Args:
        make: class of the network.
        task: gives the number of classes.
        encoder: name of the encoder in segmentation-models-pytorch.
        pretrained: initialise the encoder with ImageNet weights, from the cache or a download.
        shape: further keyword arguments of `make`.

    Returns:
        The network for images of any size in [0, 1], which it normalises as its encoder was
        trained, or by mean 0.5 and deviation 0.25 where no weights are read.

    Raises:
        ModuleNotFoundError: segmentation-models-pytorch is not installed.
        UserError: the encoder is unknown, it does not fit the network, or its weights are not in
            the cache and cannot be downloaded, or are not finite.
    """
    from segmentation_models_pytorch.encoders import get_preprocessing_params

    read = pretrained and not _on_meta()
    weights = (True if encoder.startswith("tu-") else "imagenet") if read else None
    try:
        network = build_off_meta(
            lambda: make(encoder, encoder_weights=weights, classes=task.num_classes, **shape)
        )
        pixels = get_preprocessing_params(encoder) if read else {"mean": [0.5], "std": [0.25]}
    except OSError as error:
        raise UserError(
            f"the weights of encoder '{encoder}' are not in the cache and cannot be downloaded: run"
            " once with a connection to the internet, or use pretrained=false"
        ) from error
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"no encoder '{encoder}'{' with weights' if read else ''} for {make.__name__}: give a "
            "name that segmentation_models_pytorch lists, such as resnet18, efficientnet-b0 or "
            "tu-mobilenetv3_small_100"
        ) from error
    if read:
        tensors = network.state_dict()
        checked_tensors(tensors, tensors, f"the file of weights of the encoder '{encoder}'")
    return Normalised(network, 32, pixels["mean"], pixels["std"])


def build_off_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """Return `make()`; if the default device is meta, build on the CPU and move the result to meta.

    Use it for constructors that read tensor values, which do not exist on the meta device.

    Args:
        make: builds a network on the default device.
    """
    if not _on_meta():
        return make()
    with torch.device("cpu"):
        network = make()
    return network.to("meta")


def _on_meta() -> bool:
    return torch.empty(0).is_meta


def require_library(*names: str) -> None:
    """Check that libraries of the extra `baselines` are installed, without importing them.

    The import of some libraries takes ten seconds, which would slow down the list of methods.

    Args:
        names: of top-level modules, as in an import.

    Raises:
        ModuleNotFoundError: a library is missing; `--list` shows the message as the reason. The
            message names all that are missing.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        message = f"no module named {' or '.join(missing)}: install the extra 'baselines'"
        raise ModuleNotFoundError(message, name=missing[0])
