"""Labelled images as tensors on the device of a model.

Training takes them in batches: from memory, or where all views would need more than `MOST_BYTES`,
drawn from the files for each batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bench.data.bank import Bank, Sample, Views
from bench.data.decode import decode, instance_numbers
from bench.data.items import Collection, Item
from bench.data.parallel import tell
from bench.learn.distance_loss import SCALE
from bench.objects.rules import ObjectRule
from bench.sam.prompts import PromptRule, Prompts

# Views that need more are not kept, by type of device. The memory of a CPU is the user's own.
MOST_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}


class TrainingImages(Protocol):
    """What training takes its batches from.

    Attributes:
        depth: D; every D consecutive rows are the slices of one stack.
        nbytes: bytes of the images that stay in memory during the training.
    """

    @property
    def depth(self) -> int: ...  # noqa: D102 - see the attributes

    @property
    def nbytes(self) -> int: ...  # noqa: D102

    def __len__(self) -> int:
        """Number of rows: images, or slices of all stacks."""

    def batch(self, rows: Sequence[int]) -> "LabelledImages":
        """Some of the rows: whole stacks."""


@dataclass(frozen=True)
class LabelledImages:
    """Images, their masks, and the instance numbers that prompts are made from.

    Attributes:
        images: (N, 3, S, S) uint8.
        masks: class indices (N, S, S) uint8, on the device of the images.
        prompts: one entry per image, for models that take prompts; None until `with_prompts` makes
            them.
        instances: instance numbers (N, S, S) int32 on the CPU, 0 is background; an image of zeros
            has no labelled instances. None where no image has any, or they were not asked for.
        depth: D; every D consecutive rows are the slices of one stack and enter a batch together.
        distances: (N, C, S, S) uint8, on the device of the images: for each pixel of an object 255
            times the `true_maps` of a rule for objects, the first of them at least 1 there and 0
            elsewhere. None where they were not asked for.
    """

    images: Tensor
    masks: Tensor
    prompts: tuple[Prompts, ...] | None = None
    instances: Tensor | None = None
    depth: int = 1
    distances: Tensor | None = None

    @classmethod
    def of(
        cls, bank: Bank, device: torch.device, depth: int = 1, rule: ObjectRule | None = None
    ) -> "LabelledImages":
        """Images and masks of a bank on `device`; instance numbers stay on the CPU.

        Args:
            bank: views of images and masks.
            device: of the images and masks.
            depth: number of slices of a stack.
            rule: with maps, which are made from the instance numbers; these are not kept.

        Raises:
            ValueError: maps are to be made, and the bank has no instance numbers.
            UserError: a library of the rule is missing.
        """
        images = torch.from_numpy(bank.images).permute(0, 3, 1, 2).contiguous()
        numbers = None if bank.instances is None else torch.from_numpy(bank.instances)
        masks = torch.from_numpy(bank.masks).to(device)
        if rule is not None:
            maps = _true_maps(bank, rule).to(device)
            return cls(images.to(device), masks, depth=depth, distances=maps)
        return cls(images.to(device), masks, instances=numbers, depth=depth)

    def with_prompts(self, rule: PromptRule | None) -> "LabelledImages":
        """Return the same images with the prompts of evaluation, made from masks and instances.

        They are returned unchanged if `rule` is None.
        """
        if rule is None:
            return self
        numbers = [None] * len(self) if self.instances is None else self.instances.numpy()
        pairs = zip(self.masks.cpu().numpy(), numbers, strict=True)
        prompts = (rule.for_evaluation(mask, instances) for mask, instances in pairs)
        return replace(self, prompts=tuple(one.to(self.images.device) for one in prompts))

    def joined_prompts(self, rows: slice = slice(None)) -> Prompts | None:
        """Return the prompts of some images as one batch; None if there are no prompts."""
        return Prompts.join(list(self.prompts[rows])) if self.prompts else None

    def to(self, device: torch.device) -> "LabelledImages":
        """Return a copy with images, masks and prompts on a device; instances stay on the CPU."""
        prompts = self.prompts and tuple(one.to(device) for one in self.prompts)
        return replace(
            self,
            images=self.images.to(device),
            masks=self.masks.to(device),
            prompts=prompts,
            distances=None if self.distances is None else self.distances.to(device),
        )

    def batch(self, rows: Sequence[int]) -> "LabelledImages":
        """Some of the rows, without prompts."""
        index = list(rows)
        instances = None if self.instances is None else self.instances[index]
        distances = None if self.distances is None else self.distances[index]
        images, masks = self.images[index], self.masks[index]
        return LabelledImages(images, masks, None, instances, self.depth, distances)

    @property
    def nbytes(self) -> int:
        """Bytes of images, masks, instance numbers and distances."""
        tensors = (self.images, self.masks, self.instances, self.distances)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class DrawnImages:
    """Training images that are drawn from the files for each batch.

    Attributes:
        views: where they come from.
        device: of the images and masks of the batches.
        rule: with maps that the batches have as distances; None for none.
    """

    views: Views
    device: torch.device
    rule: ObjectRule | None = None
    nbytes: int = 0

    @property
    def depth(self) -> int:
        """Slices of a stack."""
        return self.views.depth

    def batch(self, rows: Sequence[int]) -> LabelledImages:
        """Draw some rows: whole stacks."""
        stacks = [row // self.depth for row in rows[:: self.depth]]
        bank = self.views.draw(stacks)
        return LabelledImages.of(bank, self.device, self.depth, self.rule)

    def __len__(self) -> int:
        return len(self.views) * self.depth


class _Samples(Sequence[Sample]):
    """Items that are decoded each time they are taken.

    The last `depth` samples are kept, because stacks of slices overlap.
    """

    def __init__(
        self, items: Sequence[Item], collection: Collection, depth: int, instances: bool
    ) -> None:
        self._items, self._collection = items, collection
        self._instances = instances and any(item.instances is not None for item in items)
        self._kept: dict[int, Sample] = {}  # by identity of the item, the oldest first
        self._most = depth if depth > 1 else 0

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Sample:  # type: ignore[override]  # no slices
        item = self._items[number]
        sample = self._kept.pop(id(item), None) or self._decode(item)
        if self._most:
            self._kept[id(item)] = sample
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        return sample

    def _decode(self, item: Item) -> Sample:
        image, mask = decode(item, self._collection)
        if not self._instances:
            return image, mask
        return image, mask, instance_numbers(item, mask.shape)


def image_views(
    stacks: Sequence[tuple[Item, ...]],
    collection: Collection,
    *,
    views: int,
    kind: str,
    size: int,
    seed: int,
    instances: bool,
    fit: str = "square",
) -> Views:
    """The views of items, decoded when they are drawn.

    Args:
        stacks: at least one; all have the same number of slices; (item,) for a single image.
        collection: the collection of the items.
        views: number of views as for `bench.data.bank.Views`, like `kind` and `seed`; a view of
            a stack has one row for each slice.
        kind: kind of augmentation.
        size: side S of the views in pixels.
        seed: seed of the augmentation.
        instances: also make views of the instance numbers, if an item has labelled instances.
        fit: how images become squares, in `bench.data.fit.FITS`.

    Raises:
        UserError: the kind is unknown; and when views are drawn, a file cannot be read, image and
            mask differ in size, or a mask holds a value without a class.
    """
    depth = len(stacks[0])
    samples = _Samples([item for stack in stacks for item in stack], collection, depth, instances)
    return Views(samples, views=views, size=size, kind=kind, seed=seed, depth=depth, fit=fit)


def training_images(
    views: Views, device: torch.device, numbers: bool, rule: ObjectRule | None = None
) -> TrainingImages:
    """The views to train on: in memory, or drawn when needed where they need `MOST_BYTES`.

    Both give the same batches; the errors of files that are drawn when needed are raised by the
    batches.

    Args:
        views: of `image_views`.
        device: device of the images and masks.
        numbers: whether the views have instance numbers, if an item has.
        rule: with a rule for objects, the views also have its maps, which are made from instance
            numbers.
    """
    pixels = len(views) * views.depth * views.size**2
    most = MOST_BYTES.get(device.type, MOST_BYTES["cpu"])
    if pixels * bytes_per_pixel(numbers, rule) > most:
        return DrawnImages(views, device, rule)
    return LabelledImages.of(views.draw(), device, views.depth, rule)


def bytes_per_pixel(numbers: bool, rule: ObjectRule | None) -> int:
    """Bytes of image, mask and the larger of instance numbers and maps, which follow from them.

    Args:
        numbers: there are instance numbers.
        rule: whose maps are learned; None for none.
    """
    return 4 + max(4 if numbers else 0, 0 if rule is None else rule.channels)


def _true_maps(bank: Bank, rule: ObjectRule) -> Tensor:
    """The maps (N, C, S, S) uint8 of all views of a bank."""
    if bank.instances is None:
        raise ValueError("distances need instance numbers, and these images have none")
    maps = np.empty((len(bank), rule.channels, *bank.masks.shape[1:]), np.uint8)
    for row, (mask, numbers) in enumerate(zip(bank.masks, bank.instances, strict=True)):
        shares, inside = rule.true_maps(mask, numbers)
        maps[row] = np.rint(SCALE * shares)
        maps[row, 0] = np.where(inside, maps[row, 0].clip(min=1), 0)
        tell("measuring distances in views", row + 1, len(bank))
    return torch.from_numpy(maps)
