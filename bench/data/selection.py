"""What of an image is read: some of its channels, and a part of its frame."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import UserError, read_number, shorten

EDGES = ("top", "right", "bottom", "left")


@dataclass(frozen=True)
class Selection:
    """Channels and frame of images, in the words of `--channels` and `--crop`.

    Attributes:
        channels: numbers from 0 or names, as "0,2,1"; "" for the default of `bench.data.raster`.
        crop: pixels to cut off at the edges, as "bottom=60"; "" for none.
    """

    channels: str = ""
    crop: str = ""

    @classmethod
    def parse(cls, channels: str | None, crop: str | None) -> "Selection":
        """A selection in its shortest words, so that equal selections are equal.

        Args:
            channels: as a user types them; None for the default.
            crop: likewise.

        Raises:
            UserError: there are no channels or more than three, or one of them twice; an edge is
                unknown or named twice, or a number is out of bounds.
        """
        words = [] if channels is None else [word.strip() for word in channels.split(",")]
        if channels is not None and (not 1 <= len(set(words)) == len(words) <= 3 or "" in words):
            raise UserError(
                f"--channels is '{shorten(channels)}': give one to three different channels, as"
                " numbers from 0 or names, such as 0,2,1 or DAPI"
            )
        for word in words:
            if re.fullmatch(r"[+-]?\d[\d.]*", word):  # else it is a name
                read_number("channels", word, "a channel of --channels")
        widths: dict[str, int] = {}
        for part in [] if crop is None else crop.split(","):
            match = re.fullmatch(r"\s*(top|right|bottom|left)\s*=(.*)", part)
            if match is None or match[1] in widths:
                raise UserError(
                    f"--crop is '{shorten(crop or '')}': give pixels to cut off at the edges"
                    f" {', '.join(EDGES)}, each once, as in bottom=60 or top=10,bottom=60"
                )
            widths[match[1]] = int(read_number("crop", match[2], f"--crop {match[1]}"))
        cut = ",".join(f"{edge}={widths[edge]}" for edge in EDGES if widths.get(edge))
        return cls(",".join(words), cut)

    @cached_property
    def _widths(self) -> tuple[int, ...]:
        parts = dict(part.split("=") for part in self.crop.split(",") if part)
        return tuple(int(parts.get(edge, 0)) for edge in EDGES)

    def cut_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what is left of an image of some height and width; 0 for nothing."""
        top, right, bottom, left = self._widths
        return max(0, size[0] - top - bottom), max(0, size[1] - left - right)

    def cut(self, pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        """The part of an image (H, W) or (H, W, C) inside the crop.

        Raises:
            UserError: nothing is left.
        """
        if not self.crop:
            return pixels
        height, width = self.cut_size((pixels.shape[0], pixels.shape[1]))
        if not height or not width:
            raise UserError(
                f"--crop {self.crop} leaves nothing of {name}, which is {pixels.shape[1]} x"
                f" {pixels.shape[0]} pixels: cut off less"
            )
        top, _, _, left = self._widths
        return np.ascontiguousarray(pixels[top : top + height, left : left + width])


WHOLE = Selection()
