"""Multi-scale structural similarity (MS-SSIM) of two batches of maps."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import UserError

# Wang, Simoncelli and Bovik, 2003, "Multiscale structural similarity for image quality assessment":
# the exponents of the scales, the Gaussian window (side and sigma in pixels) and the constants.
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest scale first
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # for a data range of 1
SMALLEST = WINDOW * 2 ** (len(EXPONENTS) - 1)  # side in px; the window fits at the coarsest scale


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean MS-SSIM over images and channels, a scalar; 1 for equal maps.

    The MS-SSIM of a map is a product over five scales. The factor of a scale is (contrast x
    structure)^exponent; at the coarsest scale, luminance is multiplied, too. A negative base counts
    as 0, because its power is not a real number.

    Args:
        x: (B, C, H, W) in [0, 1].
        y: of the same shape, in [0, 1].

    Raises:
        UserError: H or W is below 176 px.
    """
    if min(x.shape[-2:]) < SMALLEST:
        raise UserError(
            f"MS-SSIM with {len(EXPONENTS)} scales needs images of {SMALLEST} px or more, "
            f"not {min(x.shape[-2:])} px: give a larger --image-size"
        )
    terms = []
    for scale in range(len(EXPONENTS)):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        luminance, structure = _ssim_terms(x, y)
        last = scale == len(EXPONENTS) - 1
        term = (luminance * structure if last else structure).mean((2, 3))
        terms.append(term.relu() ** EXPONENTS[scale])
    return torch.stack(terms).prod(0).mean()


def _ssim_terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast x structure (B, C, h, w) at each position of the window."""
    mean_x, mean_y = _blur(x), _blur(y)
    both, x2, y2 = mean_x * mean_y, mean_x.square(), mean_y.square()
    luminance = (2 * both + C1) / (x2 + y2 + C1)
    covariance, variances = _blur(x * y) - both, _blur(x * x) - x2 + _blur(y * y) - y2
    return luminance, (2 * covariance + C2) / (variances + C2)


def _blur(x: Tensor) -> Tensor:
    """Gaussian means (B, C, H - 10, W - 10) over the windows that are completely inside."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = (window / window.sum()).expand(x.shape[1], 1, 1, WINDOW)
    return F.conv2d(F.conv2d(x, window, groups=x.shape[1]), window.mT, groups=x.shape[1])
