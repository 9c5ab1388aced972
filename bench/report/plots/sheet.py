"""The paper of a figure: in reports as large as the figure needs, in a journal as wide as asked."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

FONT = "DejaVu Sans"  # comes with matplotlib: the same letters everywhere
_LETTER = 0.6  # width of a letter of DejaVu Sans in heights of the font, rather more than the mean
_PAPER = 0.75  # scale in a journal: letters of 8 pt, the smallest in reports, have 6 pt


@dataclass(frozen=True)
class Sheet:
    """How large a figure is, and whether it has a title.

    Figures are laid out in inches of a report, in which letters have 10 pt; `scale` turns these
    into inches of the sheet.

    Attributes:
        width: of all figures, in inches; None: each kind of figure has its own width.
        scale: of letters, lines and marks.
        titled: whether figures have a title; in a paper, the caption says it.
        dpi: dots of a PNG per inch.
    """

    width: float | None = None
    scale: float = 1.0
    titled: bool = True
    dpi: float = 150

    @property
    def passes(self) -> int:
        """How often a layout is computed (`settle`); a report with many figures saves the time."""
        return 1 if self.width is None else 2

    def room(self, natural: float) -> float:
        """The width of a figure in inches of a report.

        Args:
            natural: its width in a report.
        """
        return natural if self.width is None else self.width / self.scale

    def columns(self, most: int, least: float, natural: float) -> int:
        """How many panels fit next to each other, at least 1.

        Args:
            most: largest number.
            least: width of a panel in inches of a report.
            natural: as for `room`.
        """
        return max(1, min(most, int(self.room(natural) / least)))

    def figure(self, natural: float, height: float, layout: Any = "constrained") -> Figure:
        """An empty figure.

        Args:
            natural: as for `room`.
            height: in inches of a report.
            layout: of matplotlib.
        """
        size = self.room(natural) * self.scale, height * self.scale
        return Figure(figsize=size, layout=layout, dpi=self.dpi)

    def legend_height(self, labels: Sequence[str], natural: float, columns: int = 4) -> float:
        """About the height of a legend below a figure, in inches of a report.

        Args:
            labels: of the entries; they may have several lines.
            natural: as for `room`.
            columns: largest number of columns.
        """
        lines = [label.split("\n") for label in labels]
        longest = max((len(line) for label in lines for line in label), default=0)
        fit = int(self.room(natural) / (0.5 + longest * 10 * _LETTER / 72))
        columns = max(1, min(columns, fit))
        inches = sum(0.06 + 0.15 * len(label) for label in lines)
        if fit < 1:
            inches *= 2  # names get a second line
        return 0.25 + inches / columns

    def pt(self, size: float) -> float:
        """A size in points of a report, such as that of a font, in points of the sheet."""
        return size * self.scale

    def title(self, figure: Figure, text: str) -> None:
        """Write a title above all panels, in as many lines as it needs, if figures have one."""
        if self.titled:
            wide = figure.get_figwidth() / self.scale
            text = textwrap.fill(printable(text), letters(wide, 12))
            figure.suptitle(text, fontsize=self.pt(12))


REPORT = Sheet()


def paper_sheet(millimetres: float) -> Sheet:
    """The sheet of a figure of this width for a paper: no title, letters of 6 pt or more."""
    return Sheet(millimetres / 25.4, _PAPER, titled=False, dpi=600)


def letters(inches: float, size: float = 10.0) -> int:
    """How many letters of a font of so many points fit into a width, at least 6."""
    return max(6, int(inches * 72 / (size * _LETTER)))


def values_only(name: str) -> str:
    """The name without those of its options: "med_sa[add]" for "med_sa[condition=add]"."""
    return re.sub(r"(?<=[\[,])[^=,\]]+=", "", name)


def printable(text: str) -> str:
    """The text with characters that the font lacks as their numbers, such as "[U+94A2]"."""
    known = _characters()
    return "".join(
        character if ord(character) in known else f"[U+{ord(character):04X}]" for character in text
    )


@cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FONT)).get_charmap()) | {ord("\n")}


def wrap_name(name: str, width: int, lines: int = 2) -> str:
    """The name of a row or class in lines of at most so many letters.

    Lines break at spaces and after commas first. What does not fit into the last line is "…".
    """
    parts = textwrap.wrap(re.sub(r",(?=\S)", ", ", printable(name)), width)
    parts = [part.replace(", ", ",") for part in parts] or [""]
    if len(parts) > lines:
        parts = [*parts[: lines - 1], parts[lines - 1][: width - 1] + "…"]
    return "\n".join(parts)


def wrap_names(names: Sequence[str], width: int, lines: int = 2) -> list[str]:
    """Names as `wrap_name` writes them; those that would look alike also have a number."""
    shown = [wrap_name(name, width, lines) for name in names]
    return [
        text if shown.count(text) == 1 else f"{text} {shown[:place].count(text) + 1}"
        for place, text in enumerate(shown)
    ]
