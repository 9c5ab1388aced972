"""Losses on worked examples and against MONAI, torch, torchvision and others."""

import math
import warnings

import pytest
import torch
from pytorch_msssim import ms_ssim as their_ms_ssim
from segmentation_models_pytorch.losses import FocalLoss, JaccardLoss
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.ops import sigmoid_focal_loss

from bench.data.items import IGNORE
from bench.errors import UserError
from bench.learn.losses import (
    LOSSES,
    balanced_bce,
    balanced_ce_dice,
    balanced_cross_entropy,
    bce,
    bce_binary_dice,
    bce_positive_twice,
    bce_soft_iou,
    binary_dice,
    ce_dice,
    ce_squared_dice,
    cross_entropy,
    focal,
    focal_jaccard_ms_ssim,
    get_loss,
    jaccard,
    ms_ssim,
    soft_dice,
    soft_iou,
    softmax_focal,
    softmax_focal_jaccard_ms_ssim,
    squared_dice,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MONAI's import deprecates parts of its own
    from monai.losses.dice import DiceCELoss, DiceLoss
    from monai.losses.focal_loss import FocalLoss as MonaiFocalLoss


def case(classes: int, side: int = 12) -> tuple[Tensor, Tensor]:
    """Logits and masks that hold every class in every image."""
    random = torch.Generator().manual_seed(classes)
    logits = 2 * torch.randn(3, classes, side, side, generator=random)
    masks = torch.randint(classes, (3, side, side), generator=random, dtype=torch.uint8)
    return logits, masks


def binary() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two classes, and the same as one logit and its truth (B, 1, H, W)."""
    logits, masks = case(2)
    return logits, masks, logits[:, 1:] - logits[:, :1], masks[:, None].float()


def test_cross_entropy_skips_ignored_pixels() -> None:
    logits = torch.randn(2, 3, 4, 4)
    masks = torch.randint(3, (2, 4, 4), dtype=torch.uint8)
    masks[0, :2] = IGNORE
    kept = masks != IGNORE
    expected = nn.functional.cross_entropy(logits.permute(0, 2, 3, 1)[kept], masks[kept].long())
    assert_close(cross_entropy(logits, masks), expected)
    everything = torch.full((2, 4, 4), IGNORE, dtype=torch.uint8)
    assert cross_entropy(logits, everything) == 0


def test_soft_dice_of_a_worked_example() -> None:
    """Two classes, two pixels; p(class 1) is 1/2 at both, one of them is class 1.

    Each class: overlap 1/2, sizes 1 + 1, so Dice = (2 * 1/2 + 1) / (2 + 1) = 2/3.
    """
    masks = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    assert soft_dice(torch.zeros(1, 2, 1, 2), masks) == pytest.approx(1 / 3)


def test_soft_dice_ignores_and_rewards() -> None:
    masks = torch.tensor([[[0, 1, IGNORE]]], dtype=torch.uint8)
    sure = torch.tensor([[[[50.0, -50.0, 50.0]], [[-50.0, 50.0, -50.0]]]])
    assert soft_dice(sure, masks) == pytest.approx(0, abs=1e-6)
    other = sure.clone()
    other[..., 2] *= -1
    assert soft_dice(other, masks) == soft_dice(sure, masks)
    assert ce_dice(sure, masks) == cross_entropy(sure, masks) + soft_dice(sure, masks)
    with pytest.raises(UserError, match=r"no loss 'dicce'\. Did you mean 'dice'"):
        get_loss("dicce")


def test_balanced_cross_entropy_of_a_worked_example() -> None:
    """Three pixels of class 0, one of class 1: weights 1/sqrt(3) and 1, scaled to a mean of 1."""
    logits = torch.randn(1, 2, 2, 2)
    masks = torch.tensor([[[0, 0], [0, 1]]], dtype=torch.uint8)
    each = nn.functional.cross_entropy(logits, masks.long(), reduction="none")
    weights = torch.tensor([[[1, 1], [1, math.sqrt(3)]]])
    expected = (weights * each).sum() / weights.sum()
    assert_close(balanced_cross_entropy(logits, masks), expected)
    one_class = torch.zeros(1, 2, 2, dtype=torch.uint8)
    plain = cross_entropy(logits, one_class)
    assert_close(balanced_cross_entropy(logits, one_class), plain)
    nothing = torch.full((1, 2, 2), IGNORE, dtype=torch.uint8)
    assert balanced_cross_entropy(logits, nothing) == 0
    assert_close(balanced_ce_dice(logits, masks), expected + soft_dice(logits, masks))


@pytest.mark.parametrize("classes", [2, 5])
def test_the_sum_of_the_equal_protocol_is_that_of_its_parts_computed_plainly(classes: int) -> None:
    """Values and gradients to 1e-6 of torch's cross entropy and a Dice over one-hot truth."""
    logits, masks = case(classes, 64)
    masks[1, 20:30] = IGNORE
    masks[masks == 1] = 0
    ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    balanced_ce_dice(ours, masks).backward()
    labelled = (masks != IGNORE)[:, None]
    truth = nn.functional.one_hot(masks.long() * labelled[:, 0], classes).permute(0, 3, 1, 2)
    truth = truth * labelled
    counts = truth.sum((0, 2, 3))
    weights = torch.where(counts > 0, counts.clamp(min=1) ** -0.5, 0.0)
    entropy = nn.functional.cross_entropy(plain, masks.long(), weights, ignore_index=IGNORE)
    p = plain.softmax(1) * labelled
    dice = (2 * (p * truth).sum((0, 2, 3)) + 1) / (p.sum((0, 2, 3)) + counts + 1)
    expected = entropy + 1 - dice.mean()
    expected.backward()
    assert_close(balanced_ce_dice(logits, masks), expected.detach(), rtol=1e-6, atol=1e-6)
    assert_close(ours.grad, plain.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_squared_dice_is_monai_s(classes: int) -> None:
    logits, masks = case(classes)
    theirs = DiceLoss(softmax=True, to_onehot_y=True, squared_pred=True, batch=True)
    expected = theirs(logits, masks[:, None].long())
    assert_close(squared_dice(logits, masks), expected)
    entropy = nn.functional.cross_entropy(logits, masks.long())
    assert_close(ce_squared_dice(logits, masks), 0.2 * entropy + 0.8 * expected)


def test_jaccard_is_that_of_segmentation_models_pytorch() -> None:
    logits, masks = case(3)
    theirs = JaccardLoss("multiclass", smooth=1.0)
    assert_close(jaccard(logits, masks), theirs(logits, masks.long()))


def test_binary_losses_are_those_of_one_logit() -> None:
    logits, masks, z, t = binary()
    assert_close(bce(logits, masks), nn.BCEWithLogitsLoss()(z, t))
    twice = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
    assert_close(bce_positive_twice(logits, masks), twice(z, t))
    positive, negative = t.sum(), (1 - t).sum()
    balanced = nn.BCEWithLogitsLoss(pos_weight=negative / positive)(z, t)
    assert_close(balanced_bce(logits, masks), positive / (positive + negative) * balanced)
    assert_close(binary_dice(logits, masks), DiceLoss(sigmoid=True, squared_pred=True)(z, t))
    assert_close(bce_binary_dice(logits, masks), DiceCELoss(sigmoid=True, squared_pred=True)(z, t))


def test_focal_is_torchvision_s_and_another_library_s() -> None:
    logits, masks, z, t = binary()
    expected = sigmoid_focal_loss(z, t, alpha=0.25, gamma=2, reduction="mean")
    assert_close(focal(logits, masks), expected)
    assert_close(focal(logits, masks), FocalLoss("binary", alpha=0.25, gamma=2.0)(z, t))


def test_softmax_focal_is_monai_s() -> None:
    """MONAI takes the mean over pixels and the 4 classes, so it is a quarter of ours."""
    logits, masks = case(4)
    theirs = MonaiFocalLoss(use_softmax=True, to_onehot_y=True, alpha=0.25, gamma=2.0)
    assert_close(softmax_focal(logits, masks), 4 * theirs(logits, masks[:, None].long()))
    assert_close(softmax_focal(*case(2)), focal(*case(2)))


def test_the_two_focal_losses_of_a_worked_example() -> None:
    """One pixel of class 1 among 4 classes, p = (.1, .2, .3, .4).

    Softmax: .25 x .8^2 x -log .2. One against the rest, mean of 3: the same term for class 1, and
    .75 x p^2 x -log(1 - p) for classes 2 and 3.
    """
    p = torch.tensor([0.1, 0.2, 0.3, 0.4])
    logits, masks = p.log().view(1, 4, 1, 1), torch.ones(1, 1, 1, dtype=torch.uint8)
    true_class = 0.25 * 0.8**2 * -math.log(0.2)
    others = sum(0.75 * q**2 * -math.log(1 - q) for q in (0.3, 0.4))
    assert softmax_focal(logits, masks).item() == pytest.approx(true_class)
    assert focal(logits, masks).item() == pytest.approx((true_class + others) / 3)


def test_soft_iou_is_a_mean_over_images() -> None:
    logits, masks, z, t = binary()
    p = z.sigmoid()
    each = [1 - (p[i] * t[i]).sum() / (p[i] + t[i] - p[i] * t[i]).sum() for i in range(3)]
    assert_close(soft_iou(logits, masks), torch.stack(each).mean())
    assert_close(bce_soft_iou(logits, masks), bce(logits, masks) + torch.stack(each).mean())
    absent = torch.zeros(1, 12, 12, dtype=torch.uint8)
    assert soft_iou(logits[:1], absent) == 1


@pytest.mark.parametrize("side", [176, 208])
def test_ms_ssim_is_that_of_pytorch_msssim(side: int) -> None:
    logits, masks = case(3, side)
    masks = masks // 2 * 2  # class 1 is in no image
    soft = logits.softmax(1)
    truth = nn.functional.one_hot(masks.long(), 3).permute(0, 3, 1, 2).float()
    near = 0.7 * truth + 0.3 * soft
    for p in (near, soft):
        expected = 1 - their_ms_ssim(p, truth, data_range=1.0)
        assert_close(ms_ssim(p.log(), masks), expected, atol=2e-5, rtol=0)
    with pytest.raises(UserError, match="needs images of 176 px or more, not 175"):
        ms_ssim(logits[..., :175], masks[..., :175])


def test_the_last_scale_of_ms_ssim_counts_once() -> None:
    """Constant maps a, b have contrast x structure 1 and luminance l at every scale: l^0.1333."""
    a = 0.8
    logits = torch.tensor([1 - a, a]).log()[None, :, None, None].expand(1, 2, 176, 176)
    masks = torch.ones(1, 176, 176, dtype=torch.uint8)
    c1 = 0.01**2
    foreground = (2 * a + c1) / (a * a + 1 + c1)
    background = c1 / ((1 - a) ** 2 + c1)
    expected = 1 - (foreground**0.1333 + background**0.1333) / 2
    assert ms_ssim(logits, masks).item() == pytest.approx(expected, abs=1e-3)


def test_a_better_prediction_costs_less_in_every_term_of_the_unet3plus_loss() -> None:
    _, masks = case(3, 176)
    truth = nn.functional.one_hot(masks.long(), 3).permute(0, 3, 1, 2).float()
    terms = (focal, jaccard, ms_ssim)
    good, bad = (8 * truth, masks), (truth, masks)
    assert all(loss(*good) < loss(*bad) for loss in terms)
    assert_close(focal_jaccard_ms_ssim(*bad), sum((loss(*bad) for loss in terms), torch.zeros(())))
    exchanged = softmax_focal(*bad) - focal(*bad)
    assert_close(softmax_focal_jaccard_ms_ssim(*bad), focal_jaccard_ms_ssim(*bad) + exchanged)


def test_several_classes_are_each_against_the_rest() -> None:
    logits, masks = case(4)
    p = logits.softmax(1)[:, 1:]
    truth = torch.stack([masks == k for k in (1, 2, 3)], 1).float()
    assert_close(bce(logits, masks), nn.functional.binary_cross_entropy(p, truth))


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_without_a_label_count_for_nothing(name: str) -> None:
    logits, masks = case(3, 176)
    masks[:, 40:90, 20:] = IGNORE
    other = logits.clone()
    other[:, :, 40:90, 20:] = torch.randn_like(other[:, :, 40:90, 20:])
    assert_close(LOSSES[name](other, masks), LOSSES[name](logits, masks))
    nothing = torch.full_like(masks, IGNORE)
    assert LOSSES[name](logits, nothing).isfinite()


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_descended(name: str) -> None:
    """The gradient is finite and points uphill, also where predictions are sure and wrong."""
    logits, masks = case(3, 176)
    logits = (logits * 20).requires_grad_()
    loss = LOSSES[name](logits, masks)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    lower = LOSSES[name]((logits - 10 * logits.grad / logits.grad.norm()).detach(), masks)
    assert lower < loss


@pytest.mark.parametrize("name", LOSSES)
def test_losses_run_on_the_meta_device(name: str) -> None:
    """Where the operations of a training step are counted."""
    logits = torch.zeros(1, 2, 176, 176, device="meta")
    masks = torch.zeros(1, 176, 176, dtype=torch.uint8, device="meta")
    assert LOSSES[name](logits, masks).is_meta
