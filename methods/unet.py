"""U-Net from scratch (Ronneberger et al., 2015), from segmentation-models-pytorch: the baseline."""

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from bench import Task, UnsupportedError, UserError, register_method, require


class Normalised(nn.Module):
    """A network that expects zero-centred images, fed with images in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to (B, K, S, S)."""
        logits: Tensor = self.network((images - 0.5) / 0.25)
        return logits


@register_method("unet", paper="https://arxiv.org/abs/1505.04597", lr=3e-3, from_scratch=True)
def unet(task: Task, *, encoder: str = "tu-mobilenetv3_small_100", width: int = 64) -> nn.Module:
    """U-Net trained from scratch; the default is about as large as sam_nano."""
    require(width >= 8, f"width {width} is too small: give 8 or more")
    if task.image_size % 32:
        raise UnsupportedError(f"image size {task.image_size} is no multiple of 32")
    channels = [width, 3 * width // 4, width // 2, width // 4, width // 8]  # deep to shallow
    try:
        network = smp.Unet(
            encoder, encoder_weights=None, decoder_channels=channels, classes=task.num_classes
        )
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"no encoder '{encoder}': give a name that segmentation_models_pytorch lists, "
            "as resnet18, efficientnet-b0 or tu-mobilenetv3_small_100"
        ) from error
    return Normalised(network.to(memory_format=torch.channels_last))  # a third faster on a CPU
