"""Labelled images as tensors on the device of a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from bench.data.bank import Bank, make_bank
from bench.data.decode import decode, instance_numbers
from bench.data.items import Collection, Item
from bench.sam.prompts import PromptRule, Prompts


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
    """

    images: Tensor
    masks: Tensor
    prompts: tuple[Prompts, ...] | None = None
    instances: Tensor | None = None
    depth: int = 1

    @classmethod
    def of(
        cls,
        bank: Bank,
        device: torch.device,
        instances: Bank | None = None,
        depth: int = 1,
    ) -> "LabelledImages":
        """Images and masks of a bank on `device`; instance numbers stay on the CPU.

        Args:
            bank: views of images and masks.
            device: of the images and masks.
            instances: the same views, with instance numbers as masks; None for no instances.
            depth: number of slices of a stack.
        """
        images = torch.from_numpy(bank.images).permute(0, 3, 1, 2).contiguous()
        numbers = None if instances is None else torch.from_numpy(instances.masks)
        masks = torch.from_numpy(bank.masks).to(device)
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
            self, images=self.images.to(device), masks=self.masks.to(device), prompts=prompts
        )

    def __len__(self) -> int:
        return len(self.images)


def make_labelled_images(
    stacks: Sequence[tuple[Item, ...]],
    collection: Collection,
    *,
    views: int,
    kind: str,
    size: int,
    seed: int,
    device: torch.device,
    instances: bool,
) -> LabelledImages:
    """Decode items and make their bank of views.

    Args:
        stacks: at least one; all have the same number of slices; (item,) for a single image.
        collection: the collection of the items.
        views: number of views as for `bench.data.bank.make_bank`, like `kind` and `seed`; a view of
            a stack has one row for each slice.
        kind: kind of augmentation.
        size: side S of the views in pixels.
        seed: seed of the augmentation.
        device: device of the images and masks.
        instances: also make views of the instance numbers, if an item has labelled instances.

    Returns:
        The views, without prompts.

    Raises:
        UserError: a file cannot be read, image and mask differ in size, a mask holds a value
            without a class, or the kind is unknown.
    """
    depth = len(stacks[0])
    items = [item for stack in stacks for item in stack]
    pairs = [decode(item, collection) for item in items]
    make = partial(make_bank, views=views, size=size, kind=kind, seed=seed, depth=depth)
    if not instances or all(item.instances is None for item in items):
        return LabelledImages.of(make(pairs), device, depth=depth)
    numbered = [
        (image, instance_numbers(item, mask.shape))
        for (image, mask), item in zip(pairs, items, strict=True)
    ]
    return LabelledImages.of(make(pairs), device, make(numbered), depth)
