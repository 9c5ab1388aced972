from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from bench.data.fit import PADDING
from bench.data.items import IGNORE, Collection, Item
from bench.errors import UserError
from bench.report.plots.preview import write_preview
from bench.report.plots.style import class_colour, settle


def collection(count: int = 8, side: int = 48) -> Collection:
    """Discs of class 2 on grey ground, with a strip that is not labelled; no class 1."""
    y, x = np.mgrid[:side, :side]
    items = []
    for number in range(count):
        disc = np.hypot(y - side / 2, x - 10 - 3 * number) < 12
        mask = np.where(disc, 2, 0).astype(np.uint8)
        mask[-6:] = IGNORE
        image = np.where(disc, 150, 90).astype(np.uint8)
        items.append(Item(f"field{number}", image, mask, group=f"specimen{number}"))
    return Collection("discs", ("ground", "rim", "disc"), tuple(items))


def drawn(monkeypatch: pytest.MonkeyPatch, path: Path, kind: str, views: int = 2) -> Figure:
    """The figure in place of the file: it says more than its pixels."""
    figures: list[Figure] = []

    def keep(figure: Figure, path: Path, *, vector: bool = True) -> list[Path]:
        figures.append(figure)
        settle(figure)
        return [path]

    monkeypatch.setattr("bench.report.plots.preview.save", keep)
    write_preview(collection(), kind, 32, 0, path, images=2, views=views)
    return figures[0]


def test_the_picture_is_written_twice_alike_and_shows_outlines(tmp_path: Path) -> None:
    first, again = tmp_path / "new" / "a.1.png", tmp_path / "again.png"
    assert write_preview(collection(), "reports", 32, 0, first, images=2, views=1) == first
    write_preview(collection(), "reports", 32, 0, again, images=2, views=1)
    assert first.read_bytes() == again.read_bytes()
    with Image.open(first) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    away = np.abs(pixels - 255 * np.array(to_rgb(class_colour(2)))).sum(axis=2)
    assert (away < 10).sum() > 200


def test_a_row_begins_with_the_whole_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figure = drawn(monkeypatch, tmp_path / "p.png", "standard")
    axes = np.array(figure.axes).reshape(2, 3)
    assert [one.get_title() for one in axes[0]] == ["whole image", "view 1", "view 2"]
    assert all(one.get_ylabel().startswith("field") for one in axes[:, 0])
    pictures = [one.get_images()[0].get_array() for one in axes.flat]
    assert all(picture is not None and picture.shape == (32, 32, 3) for picture in pictures)
    for row in (pictures[:3], pictures[3:]):
        assert len({np.asarray(picture).tobytes() for picture in row}) == 3
    title = figure.get_suptitle().replace("\n", " ")
    assert title.startswith("discs, augmentation 'standard': the whole image")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["rim", "disc", "not labelled (pale)"]


def test_what_is_not_labelled_is_pale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figure = drawn(monkeypatch, tmp_path / "p.png", "none")
    shown = np.asarray(figure.axes[0].get_images()[0].get_array())
    np.testing.assert_allclose(shown[-1, -1], 0.4 * 90 / 255 + 0.6)
    np.testing.assert_allclose(shown[0, -1], 90 / 255)


@pytest.mark.parametrize(
    ("kind", "columns"), [("none", 1), ("mirror", 2), ("turns", 3), ("windows", 3)]
)
def test_no_view_is_shown_that_the_bank_has_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, columns: int
) -> None:
    figure = drawn(monkeypatch, tmp_path / "p.png", kind)
    assert len(figure.axes) == 2 * columns


@pytest.mark.parametrize(("kind", "views"), [("none", 1), ("reports", 4)])
def test_the_title_fits_in_the_figure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, views: int
) -> None:
    figure = drawn(monkeypatch, tmp_path / "p.png", kind, views)
    box = figure.texts[0].get_window_extent()
    assert figure.texts[0].get_text() == figure.get_suptitle()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= figure.bbox.height


def test_the_preview_has_the_aspect_ratio_of_the_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wide = Collection(
        "wide",
        ("ground", "disc"),
        tuple(
            Item(f"field{n}", np.full((24, 48), 90, np.uint8), np.eye(24, 48, n, np.uint8), f"s{n}")
            for n in range(8)
        ),
    )
    figures: list[Figure] = []

    def keep(figure: Figure, path: Path, *, vector: bool = True) -> list[Path]:
        figures.append(figure)
        return [path]

    monkeypatch.setattr("bench.report.plots.preview.save", keep)
    for fit in ("square", "pad"):
        write_preview(wide, "mirror", 32, 0, tmp_path / "p.png", images=1, views=1, fit=fit)
    square, pad = figures
    pale = 0.4 * np.array(PADDING) / 255 + 0.6
    for drawn_squares, drawn_pads in zip(square.axes, pad.axes, strict=True):
        np.testing.assert_allclose(np.asarray(drawn_squares.get_images()[0].get_array()), 90 / 255)
        padded = np.asarray(drawn_pads.get_images()[0].get_array())
        np.testing.assert_allclose(padded[:16], 90 / 255)
        np.testing.assert_allclose(padded[16:], np.broadcast_to(pale, (16, 32, 3)))
    assert "fit 'pad': aspect ratio kept" in pad.get_suptitle().replace("\n", " ")
    assert "fit" not in square.get_suptitle()
    labels = [text.get_text() for text in pad.legends[0].get_texts()]
    assert labels == ["disc", "not labelled or padding (pale)"]


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a preview is a PNG, not 'p.jpg': give a name"):
        write_preview(collection(), "none", 32, 0, tmp_path / "p.jpg")
    with pytest.raises(UserError, match="views of 0 px are none: give a side of 1 px or more"):
        write_preview(collection(), "none", 0, 0, tmp_path / "p.png")
    with pytest.raises(UserError, match=r"no augmentation 'report'. Did you mean 'reports'"):
        write_preview(collection(), "report", 32, 0, tmp_path / "p.png")
    with pytest.raises(UserError, match=r"no fit 'pads'. Did you mean 'pad'"):
        write_preview(collection(), "none", 32, 0, tmp_path / "p.png", fit="pads")
    assert not list(tmp_path.iterdir())
