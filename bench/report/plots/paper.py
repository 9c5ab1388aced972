"""Figures for a paper: those of the report, each as wide as a column of a journal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bench.report.compare.comparison import Comparison
from bench.report.plots.gallery import Lookup, draw_gallery
from bench.report.plots.sheet import Sheet
from bench.report.plots.style import assign, release, save_as, settle, style
from bench.report.plots.write import make_drawings


@dataclass(frozen=True)
class PaperFigure:
    """A figure that is drawn and not written.

    Attributes:
        name: of its file, without suffix.
        title: what it shows, for its caption.
        figure: with a fixed layout.
        sheet: its size.
    """

    name: str
    title: str
    figure: Figure
    sheet: Sheet

    @property
    def inches(self) -> tuple[float, float]:
        """Width and height."""
        wide, high = self.figure.get_size_inches()
        return float(wide), float(high)

    def write(self, file: Path, kind: str) -> Path:
        """Write it; "pdf" has its fonts embedded as TrueType (Type 42).

        The figure cannot be used afterwards.

        Args:
            file: its folder is created if needed.
            kind: "pdf", "svg" or "png".

        Returns:
            The path.

        Raises:
            UserError: the file cannot be written.
        """
        with style(self.sheet.scale):
            written = save_as(self.figure, file, kind)
        release(self.figure)
        return written


def draw_for_paper(
    kind: str,
    comparisons: Sequence[Comparison],
    sheet: Sheet,
    images: Mapping[str, Lookup],
    predictions: Path,
) -> Iterator[PaperFigure]:
    """Draw one kind of figure, one after the other; tables without this figure are passed over.

    Args:
        kind: "gallery", or a kind of `bench.report.plots.write.make_drawings`.
        comparisons: of one frame, at least one.
        sheet: size of the figures.
        images: by the name of the dataset, as for `write_gallery`.
        predictions: holds `<cell id>/<item name>.png`.

    Raises:
        UserError: as `images` raise.
        OSError: a prediction cannot be read.
        ValueError: a prediction has another size than its mask.
    """
    frame = comparisons[0].rows[0].runs.frame
    if kind == "gallery":
        looks = assign(frame, [row for one in comparisons for row in one.rows])
        for one in comparisons:
            if (lookup := images.get(one.test_images)) is not None:
                with style(sheet.scale):
                    figure = draw_gallery(one, looks, predictions, lookup, sheet)
                yield from _settled(f"{one.slug}_gallery", one.title, figure, sheet)
        return
    for drawing in make_drawings(frame, comparisons):
        if drawing.kind == kind:
            with style(sheet.scale):
                figure = drawing.draw(drawing.subject, drawing.looks, sheet)
            yield from _settled(drawing.name, drawing.subject.title, figure, sheet)


def _settled(name: str, title: str, figure: Figure | None, sheet: Sheet) -> Iterator[PaperFigure]:
    """The figure with its layout fixed, unless there is nothing to show."""
    if figure is not None:
        with style(sheet.scale):
            settle(figure, sheet.passes)
        yield PaperFigure(name, title, figure, sheet)
