"""What `sam_nano` is trained to lower: masks within their surroundings, leaks, judged quality."""

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, Sam
from torch import Tensor, nn
from torch.func import functional_call

from bench.sam.nano.plan import Plan
from bench.sam.nano.samples import CELL
from bench.sam.precision import emulate_bf16

SHARPNESS = 10.0  # an IoU .1 lower makes a mask e times less likely to be the best of three
LEAST_MARGIN = 4.0  # px of surroundings that even the smallest box gets


def normalise(images: Tensor) -> Tensor:
    """Subtract SAM's mean from images (B, 3, S, S) uint8, and divide by its standard deviation."""
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    deviation = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    return (images.float() - mean) / deviation


def box_masks(boxes: Tensor, side: int, margin: float | None = 0.0, least: float = 0.0) -> Tensor:
    """Mark the cells of a mask whose centre is in each box. A cell is `CELL` x `CELL` pixels.

    Args:
        boxes: (N, 4) x0 y0 x1 y1 in pixels.
        side: number of cells along a side of the mask.
        margin: each box is enlarged at each end by this share of its side; None marks all cells.
        least: smallest enlargement in pixels.

    Returns:
        (N, 1, side, side) float, 1 inside and 0 outside.
    """
    if margin is None:
        return boxes.new_ones(len(boxes), 1, side, side)
    reach = ((boxes[:, 2:] - boxes[:, :2]) * margin).clamp(min=least)
    lower, upper = (boxes[:, :2] - reach)[..., None], (boxes[:, 2:] + reach)[..., None]
    centres = (torch.arange(side) + 0.5) * CELL
    within = ((centres > lower) & (centres < upper)).float()  # (N, 2, side): x, y
    return (within[:, 1, :, None] * within[:, 0, None, :])[:, None]


def mask_loss(logits: Tensor, targets: Tensor, near: Tensor) -> Tensor:
    """Cross entropy, averaged over the surroundings of the object, plus the Dice loss of the image.

    If the cross entropy were averaged over the image, small objects would have little weight.

    Args:
        logits: (N, M, h, w).
        targets: (N, M or 1, h, w) share of each cell that the object covers, in [0, 1].
        near: (N, 1, h, w) 1 in the surroundings of the object, 0 elsewhere.

    Returns:
        (N, M) losses.
    """
    probability = logits.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, targets.expand_as(logits), reduction="none")
    pixel = (cross * near).sum((-2, -1)) / near.sum((-2, -1)).clamp(min=1)
    overlap = (probability * targets).sum((-2, -1))
    sizes = probability.sum((-2, -1)) + targets.sum((-2, -1))
    return pixel + 1 - (2 * overlap + 1) / (sizes + 1)


def leak_loss(logits: Tensor, targets: Tensor, inside: Tensor) -> Tensor:
    """Share of each mask, in probability, that is outside its box and not on the object.

    Args:
        logits: (N, M, h, w).
        targets: (N, 1, h, w) share of each cell that the object covers, in [0, 1]. A box that is
            not tight may cut the object.
        inside: (N, 1, h, w) 1 in the box, 0 elsewhere.

    Returns:
        (N, M) shares in [0, 1].
    """
    probability = logits.sigmoid()
    outside = probability * (1 - inside) * (1 - targets)
    return outside.sum((-2, -1)) / (probability.sum((-2, -1)) + 1)


def order_loss(quality: Tensor, iou: Tensor) -> Tensor:
    """Cross entropy between the softmax of true and of predicted IoU; a scalar.

    Both are multiplied by `SHARPNESS` before the softmax. It trains the model to rate the
    best of the three masks of a click highest.

    Args:
        quality: (N, 3) predicted IoU of the masks.
        iou: (N, 3) true IoU.
    """
    truth = (SHARPNESS * iou).softmax(1)
    return F.cross_entropy(SHARPNESS * quality, truth)


def soft_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of masks (logit above 0) with targets (share above 0.5).

    Args:
        logits: (N, M, h, w).
        targets: (N, M or 1, h, w) share of each cell that the object covers, in [0, 1].

    Returns:
        (N, M) values in [0, 1]; 0 if mask and target are both empty. They have no gradient.
    """
    mask, truth = logits > 0, targets > 0.5
    union = (mask | truth).sum((-2, -1))
    return (mask & truth).sum((-2, -1)) / union.clamp(min=1)


def corrective_clicks(
    logits: Tensor, targets: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw one click for each mask, at random from the cells where mask and target differ.

    If they are equal, any cell may be drawn.

    Args:
        logits: (N, h, w).
        targets: (N, h, w) share of each cell that the object covers, in [0, 1].
        random: source of randomness.

    Returns:
        Positions (N, 1, 2) x y in pixels, and labels (N, 1): 1 on the object, 0 next to it.
    """
    wrong = (logits > 0) != (targets > 0.5)
    weights = wrong.flatten(1).float() + 1e-6
    cell = torch.multinomial(weights, 1, generator=random)[:, 0]
    width = logits.shape[2]
    xy = torch.stack([cell % width, cell // width], dim=1).float() * CELL + CELL / 2
    label = targets.flatten(1).gather(1, cell[:, None]) > 0.5
    return xy[:, None], label.int()


def step_loss(
    sam: Sam, batch: dict[str, Tensor], plan: Plan, correct: bool, random: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Compute the loss of one batch. The first half of the prompts are boxes, the others clicks.

    Boxes train SAM's single mask. Clicks train the single mask and the best of the three masks, the
    one with the lowest loss. The predicted IoU is trained for the single masks and for all three
    masks of a click. There is no backward pass here.

    Args:
        sam: in training mode, on the CPU.
        batch: result of `draw_prompts`.
        plan: gives the weights of the terms.
        correct: add a second pass with a corrective click and the first mask as prompts.
        random: source of randomness of the corrective clicks.

    Returns:
        The loss, a scalar, and figures for the log: "box_iou" and "click_iou" (mean IoU of the
        single masks of boxes and of the best of the three masks of clicks, in the first pass) and
        "leak" (`leak_loss` of the boxes).
    """
    emulate_bf16()
    half = len(batch["scene"]) // 2
    targets = (batch["targets"].float() / 255)[:, None]
    boxes, clicks = batch["boxes"][:half], batch["clicks"][half:][:, None]
    positive = torch.ones(len(clicks), 1, dtype=torch.int)
    side = targets.shape[-1]
    near = box_masks(batch["tight"][:half], side, plan.surroundings, LEAST_MARGIN)
    near = torch.cat([near, box_masks(batch["tight"][half:], side, None)])
    inside = box_masks(boxes, side)
    with torch.autocast("cpu", torch.bfloat16):
        source = sam.image_encoder(normalise(batch["images"]))[batch["scene"]]
    by_box, no_mask = sam.prompt_encoder(None, boxes, None)
    by_click, _ = sam.prompt_encoder((clicks, positive), None, None)
    logits, quality = _decode(sam, source, torch.cat([by_box, by_click]), no_mask[:1])

    single = mask_loss(logits[:, :1], targets, near)
    three = mask_loss(logits[half:, 1:], targets[half:], near[half:])
    best, choice = three.min(1, keepdim=True)
    iou = soft_iou(logits, targets)
    loss = single.mean() + best.mean()
    loss = loss + F.mse_loss(quality[:, 0], iou[:, 0])
    loss = loss + F.mse_loss(quality[half:, 1:], iou[half:, 1:])
    loss = loss + plan.order_weight * order_loss(quality[half:, 1:], iou[half:, 1:])
    leak = leak_loss(logits[:half, :1], targets[:half], inside).mean()
    loss = loss + plan.leak_weight * leak
    report = {
        "box_iou": iou[:half, 0].mean().item(),
        "click_iou": iou[half:, 1:].gather(1, choice).mean().item(),
        "leak": leak.item(),
    }
    if correct:
        with torch.no_grad():
            first = logits[:, :1].detach()
            extra, labels = corrective_clicks(first[:, 0], targets[:, 0], random)
        by_box, dense = sam.prompt_encoder((extra[:half], labels[:half]), boxes, first[:half])
        by_click, dense_click = sam.prompt_encoder(
            (torch.cat([clicks, extra[half:]], 1), torch.cat([positive, labels[half:]], 1)),
            None,
            first[half:],
        )
        sparse, dense = torch.cat([by_box, by_click]), torch.cat([dense, dense_click])
        logits, quality = _decode(sam, source, sparse, dense)
        iou = soft_iou(logits[:, :1], targets)
        loss = loss + mask_loss(logits[:, :1], targets, near).mean()
        loss = loss + F.mse_loss(quality[:, :1], iou)
    return loss, report


def fast_masks(
    decoder: MaskDecoder, embeddings: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the same as `predict_masks` but for rounding, about a fifth faster on a CPU.

    Arguments and result are those of `bench.sam.decoder.predict_masks`.

    A transposed convolution whose stride is its kernel is a linear layer on each token; as such
    it needs no change of layout, after which CPU kernels run several times slower.
    """
    rows, _, height, width = embeddings.shape
    outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([outputs.expand(rows, -1, -1), sparse], dim=1)
    source = embeddings + dense
    queries, keys = decoder.transformer(source, positions.expand(rows, -1, -1, -1), tokens)
    first, norm, _, second, _ = decoder.output_upscaling
    fine = _upscale(first, keys)
    fine = F.gelu(F.layer_norm(fine, fine.shape[-1:], norm.weight, norm.bias, norm.eps))
    fine = F.gelu(_upscale(second, fine)).reshape(rows, height * width * 16, -1)
    weights = torch.stack(
        [mlp(queries[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    masks = weights @ fine.transpose(1, 2)  # pixels in the order y, x, dy, dx, dy / 2, dx / 2
    masks = masks.reshape(rows, -1, height, width, 2, 2, 2, 2).permute(0, 1, 2, 4, 6, 3, 5, 7)
    masks = masks.reshape(rows, -1, 4 * height, 4 * width)
    return masks, decoder.iou_prediction_head(queries[:, 0])


def _upscale(layer: nn.ConvTranspose2d, tokens: Tensor) -> Tensor:
    """Tokens (..., C) as their four quarters (..., 4, C'), upper left first."""
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4 C', C)
    bias = None if layer.bias is None else layer.bias.repeat(4)
    return F.linear(tokens, weight, bias).unflatten(-1, (4, -1))


class _TokenDecoder(nn.Module):
    """`fast_masks` as a module, whose parameters can be exchanged for a call."""

    def __init__(self, decoder: MaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits and judged IoU, as of `fast_masks`."""
        return fast_masks(self.decoder, *inputs)


def _decode(sam: Sam, source: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
    """Mask logits (N, 4, h, w) and judged IoU (N, 4) as float32.

    All of the decoder is computed in bfloat16; autocast would change back and forth.
    """
    decoder = _TokenDecoder(sam.mask_decoder)
    dtype = torch.bfloat16
    weights = {name: weight.to(dtype) for name, weight in decoder.named_parameters()}
    inputs = (source, sam.prompt_encoder.get_dense_pe(), sparse, dense)
    masks, quality = functional_call(decoder, weights, tuple(each.to(dtype) for each in inputs))
    return masks.float(), quality.float()
