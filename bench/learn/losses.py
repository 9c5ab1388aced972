"""Losses of class logits (B, K, H, W) and class indices (B, H, W).

The logits of pixels of the class `IGNORE` have no influence. Every loss returns a scalar tensor.
In the formulas, t is the truth (1 for the true class, 0 for the others) and p the predicted
probability.

Some original losses are defined for one foreground logit. They are computed here for each class
k >= 1 against all other classes: the logit is the log-odds of the softmax probability of the class,
z_k - log sum_{j != k} exp(z_j). With two classes this is z_1 - z_0, the single logit of a binary
network.
"""

from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.items import IGNORE
from bench.errors import no_such
from bench.learn.ms_ssim import ms_ssim as mean_ms_ssim

Loss = Callable[[Tensor, Tensor], Tensor]
SMOOTH = 1e-5  # smoothing term of the Dice losses of SAMed and MONAI
SPACE = (2, 3)
BATCH_AND_SPACE = (0, 2, 3)


# Over all classes


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean of -log p of the true class over the labelled pixels; 0 if no pixel has a label."""
    return _cross_entropy(_Pixels(logits, masks))


def balanced_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross entropy in which each pixel has the weight 1 / sqrt(share of its class in the batch).

    Shares are of the labelled pixels, over which weights are scaled to a mean of 1. Without
    weights, a short training predicts background everywhere; with the weights 1 / share it predicts
    too much foreground.
    """
    return _balanced_cross_entropy(_Pixels(logits, masks))


def soft_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - (2 sum pt + 1) / (sum p + sum t + 1), mean over classes, sums over batch and space.

    Because the sums are over the whole batch, a class that is in few images still has a useful
    gradient. Because of the smoothing term 1, a class that is in neither the truth nor the
    prediction has a loss near 0.
    """
    return _soft_dice(_Pixels(logits, masks))


def squared_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - (2 sum pt + s) / (sum p^2 + sum t^2 + s), s = 1e-5, mean over classes.

    The Dice loss of SAMed's code (Zhang and Liu, 2023, arXiv 2304.13785): sums over batch and
    space, background included.
    """
    return _squared_dice(_Pixels(logits, masks))


def jaccard(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - (sum pt + 1) / (sum p + sum t - sum pt + 1), mean over classes.

    Sums are over batch and space, background included.

    The IoU loss of U-Net 3+ (Huang et al., 2020, arXiv 2004.08790).
    """
    pixels = _Pixels(logits, masks)
    overlap = (pixels.p * pixels.t).sum(BATCH_AND_SPACE)
    union = pixels.p.sum(BATCH_AND_SPACE) + pixels.counts - overlap
    return (1 - (overlap + 1) / (union + 1)).mean()


def ms_ssim(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - MS-SSIM between probabilities and truth, with five scales; mean over images and classes.

    A loss of U-Net 3+. Its public code raises the coarsest scale to the fourth power; this
    function does not. An ignored pixel counts as equal in both, 0 in every class.

    Raises:
        UserError: a side of the logits is below 176 px, which is too small for five scales.
    """
    pixels = _Pixels(logits, masks)
    return 1 - mean_ms_ssim(pixels.p, pixels.t)


# Over each foreground class against the rest


def bce(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean of -t log p - (1 - t) log(1 - p) over labelled pixels and foreground classes."""
    return _binary_cross_entropy(logits, masks, torch.ones(()), torch.ones(()))


def bce_positive_twice(logits: Tensor, masks: Tensor) -> Tensor:
    """`bce` whose positive term (-t log p) counts twice, as in Med-SA's code for images."""
    return _binary_cross_entropy(logits, masks, torch.tensor(2.0), torch.ones(()))


def balanced_bce(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross entropy in which positive and negative pixels have the same total weight.

    A positive pixel has the weight neg / (pos + neg), a negative one pos / (pos + neg), where pos
    and neg are the class's numbers of labelled pixels in the batch. The loss "bbce" of
    SAM-Adapter's code (Chen et al., 2023, arXiv 2304.09148).
    """
    t, labelled = _foreground(masks, logits)
    share = t.sum(BATCH_AND_SPACE, keepdim=True) / labelled.sum().clamp(min=1)
    return _binary_cross_entropy(logits, masks, 1 - share, share)


def focal(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean of -alpha_t (1 - p_t)^2 log p_t; alpha_t is 0.25 for positive pixels, 0.75 for others.

    p_t is the probability of the true value (Lin et al., 2017, arXiv 1708.02002, equation 5). Lin
    et al. define it for one logit: each foreground class is compared with the rest, and the mean is
    over pixels and classes. `softmax_focal` is the other reading for several classes.
    """
    z, (t, labelled) = _log_odds(logits), _foreground(masks, logits)
    signed = z * (2 * t - 1)
    each = -(0.25 * t + 0.75 * (1 - t)) * torch.sigmoid(-signed).square() * F.logsigmoid(signed)
    return _mean(each, labelled)


def softmax_focal(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean of -alpha_t (1 - p_t)^2 log p_t, where p_t is the softmax probability of the true class.

    alpha_t is 0.75 for pixels of class 0 and 0.25 for the others, as in MONAI's FocalLoss(
    use_softmax=True, alpha=0.25) before its mean over classes. For two classes it equals `focal`.
    """
    pixels = _Pixels(logits, masks)
    alpha = torch.full_like(pixels.counts, 0.25)
    alpha[0] = 0.75
    each = (1 - pixels.log_p.exp()).square() * pixels.log_p * pixels.t
    return -(alpha * each.sum(BATCH_AND_SPACE)).sum() / pixels.counts.sum().clamp(min=1)


def soft_iou(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - sum pt / (sum p + sum t - sum pt), mean over images and foreground classes.

    The IoU term of SAM-Adapter's code. It has no smoothing, so a class that is not in an image
    adds a loss of 1.
    """
    t, labelled = _foreground(masks, logits)
    p = _log_odds(logits).sigmoid() * labelled
    overlap = (p * t).sum(SPACE)
    union = (p + t).sum(SPACE) - overlap
    return (1 - overlap / union.clamp(min=1e-12)).mean()


def binary_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - (2 sum pt + s) / (sum p^2 + sum t^2 + s), s = 1e-5, mean over images and classes.

    Only foreground classes count. Equal to MONAI's DiceLoss(sigmoid=True, squared_pred=True), the
    loss of MedSAM and Sam_LoRA.
    """
    t, labelled = _foreground(masks, logits)
    p = _log_odds(logits).sigmoid() * labelled
    return _dice(p, t, SPACE, power=2, smooth=SMOOTH)


# Sums of losses


def ce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """`cross_entropy` + `soft_dice`."""
    pixels = _Pixels(logits, masks)
    return _cross_entropy(pixels) + _soft_dice(pixels)


def balanced_ce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """`balanced_cross_entropy` + `soft_dice`; the default of `Recipe`."""
    pixels = _Pixels(logits, masks)
    return _balanced_cross_entropy(pixels) + _soft_dice(pixels)


def ce_squared_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """0.2 `cross_entropy` + 0.8 `squared_dice`, the loss of SAMed (arXiv 2304.13785)."""
    pixels = _Pixels(logits, masks)
    return 0.2 * _cross_entropy(pixels) + 0.8 * _squared_dice(pixels)


def bce_soft_iou(logits: Tensor, masks: Tensor) -> Tensor:
    """`bce` + `soft_iou`, the loss "iou" of SAM-Adapter's code."""
    return bce(logits, masks) + soft_iou(logits, masks)


def bce_binary_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross entropy + binary Dice, the loss of MedSAM (Ma et al., 2024) and of Sam_LoRA.

    Sam_LoRA's code uses MONAI's DiceCELoss. In the MONAI version that it requires (1.2.0), the
    cross entropy of a single logit is 0. Here both terms count, as in later versions.
    """
    return bce(logits, masks) + binary_dice(logits, masks)


def focal_jaccard_ms_ssim(logits: Tensor, masks: Tensor) -> Tensor:
    """`focal` + `jaccard` + `ms_ssim`, with equal weights: the loss of U-Net 3+ (arXiv 2004.08790).

    Raises:
        UserError: a side of the logits is below 176 px.
    """
    return focal(logits, masks) + jaccard(logits, masks) + ms_ssim(logits, masks)


def softmax_focal_jaccard_ms_ssim(logits: Tensor, masks: Tensor) -> Tensor:
    """`softmax_focal` + `jaccard` + `ms_ssim`; with two classes equal to `focal_jaccard_ms_ssim`.

    Raises:
        UserError: a side of the logits is below 176 px.
    """
    return softmax_focal(logits, masks) + jaccard(logits, masks) + ms_ssim(logits, masks)


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "balanced_ce": balanced_cross_entropy,
    "dice": soft_dice,
    "squared_dice": squared_dice,
    "jaccard": jaccard,
    "ms_ssim": ms_ssim,
    "bce": bce,
    "bce_positive_twice": bce_positive_twice,
    "balanced_bce": balanced_bce,
    "focal": focal,
    "softmax_focal": softmax_focal,
    "soft_iou": soft_iou,
    "binary_dice": binary_dice,
    "ce_dice": ce_dice,
    "balanced_ce_dice": balanced_ce_dice,
    "ce_squared_dice": ce_squared_dice,
    "bce_soft_iou": bce_soft_iou,
    "bce_binary_dice": bce_binary_dice,
    "focal_jaccard_ms_ssim": focal_jaccard_ms_ssim,
    "softmax_focal_jaccard_ms_ssim": softmax_focal_jaccard_ms_ssim,
}


def get_loss(name: str) -> Loss:
    """Return the loss with this name, a key of `LOSSES`.

    Raises:
        UserError: no loss has this name.
    """
    if name not in LOSSES:
        raise no_such("loss", name, LOSSES)
    return LOSSES[name]


class _Pixels:
    """Truth and softmax of every pixel and class, computed once for all terms of a sum of losses.

    Attributes:
        t: truth (B, K, H, W), 0 or 1; 0 for every class where there is no label.
        counts: labelled pixels of each class (K,).
        log_p: log softmax (B, K, H, W).
        p: softmax (B, K, H, W); 0 where there is no label.
    """

    def __init__(self, logits: Tensor, masks: Tensor) -> None:
        self.t = _truth(masks, logits)
        self.counts = self.t.sum(BATCH_AND_SPACE)
        self.log_p = logits.log_softmax(1)

    @cached_property
    def p(self) -> Tensor:
        # The factor is a float: a product with a boolean tensor is several times slower on a CPU.
        return self.log_p.exp() * self.t.sum(1, keepdim=True)

    def entropy(self) -> Tensor:
        """Sum of -log p over the pixels of each class (K,)."""
        return -(self.log_p * self.t).sum(BATCH_AND_SPACE)


def _cross_entropy(pixels: _Pixels) -> Tensor:
    return pixels.entropy().sum() / pixels.counts.sum().clamp(min=1)


def _balanced_cross_entropy(pixels: _Pixels) -> Tensor:
    counts = pixels.counts
    weights = counts.clamp(min=1).rsqrt() * (counts > 0)
    weights = weights * counts.sum() / (weights * counts).sum().clamp(min=1e-12)
    return (weights * pixels.entropy()).sum() / counts.sum().clamp(min=1)


def _soft_dice(pixels: _Pixels) -> Tensor:
    return _dice(pixels.p, pixels.t, BATCH_AND_SPACE, power=1, smooth=1.0)


def _squared_dice(pixels: _Pixels) -> Tensor:
    return _dice(pixels.p, pixels.t, BATCH_AND_SPACE, power=2, smooth=SMOOTH)


def _truth(masks: Tensor, logits: Tensor) -> Tensor:
    """One-hot masks (B, K, H, W) of masks (B, H, W), in the data type of the logits."""
    classes = torch.arange(logits.shape[1], dtype=masks.dtype, device=masks.device)
    return (masks[:, None] == classes[:, None, None]).to(logits.dtype)


def _log_odds(logits: Tensor) -> Tensor:
    """Logit (B, K - 1, H, W) of each foreground class against all other classes."""
    if logits.shape[1] == 2:
        return logits[:, 1:] - logits[:, :1]
    others = [
        torch.cat([logits[:, :k], logits[:, k + 1 :]], 1).logsumexp(1)
        for k in range(1, logits.shape[1])
    ]
    return logits[:, 1:] - torch.stack(others, 1)


def _foreground(masks: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Truth (B, K - 1, H, W) of the foreground classes, and 1 for labelled pixels (B, 1, H, W)."""
    return _truth(masks, logits)[:, 1:], (masks != IGNORE)[:, None].to(logits.dtype)


def _binary_cross_entropy(
    logits: Tensor, masks: Tensor, positive: Tensor, negative: Tensor
) -> Tensor:
    """Weighted mean over labelled pixels and foreground classes.

    Args:
        logits: (B, K, H, W).
        masks: class indices (B, H, W).
        positive: weight of pixels of the class, a scalar or one value for each class.
        negative: weight of the other pixels, likewise.
    """
    z, (t, labelled) = _log_odds(logits), _foreground(masks, logits)
    weights = positive.to(z) * t + negative.to(z) * (1 - t)
    each = F.binary_cross_entropy_with_logits(z, t, weights, reduction="none")
    return _mean(each, labelled)


def _mean(each: Tensor, labelled: Tensor) -> Tensor:
    """Mean of (B, C, H, W) over the labelled pixels; 0 if no pixel has a label."""
    return (each * labelled).sum() / (labelled.sum() * each.shape[1]).clamp(min=1)


def _dice(p: Tensor, t: Tensor, dims: tuple[int, ...], *, power: int, smooth: float) -> Tensor:
    overlap = (p * t).sum(dims)
    squares = p if power == 1 else p.square()
    sizes = squares.sum(dims) + t.sum(dims)  # t is 0 or 1, so its square is t
    return (1 - (2 * overlap + smooth) / (sizes + smooth)).mean()
