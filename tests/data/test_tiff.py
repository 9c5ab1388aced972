"""TIFF files whose pages are a loop are refused, not followed without end."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bench.data.raster import load
from bench.data.tiff import open_tiff
from bench.errors import UserError
from bench.predict.pictures import open_pictures


def write_pages(path: Path, pages: int, back: int | None, *, bigtiff: bool = False) -> Path:
    """A file of single pages, of which the last one names page `back` as the next one."""
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as file:
        for _ in range(pages):
            file.write(np.zeros((12, 16), np.uint16), metadata=None, contiguous=False)
    if back is not None:
        with tifffile.TiffFile(path) as file:
            offsets, form = [page.offset for page in file.pages], file.tiff
        content = bytearray(path.read_bytes())
        (tags,) = struct.unpack_from(form.tagnoformat, content, offsets[-1])
        place = offsets[-1] + form.tagnosize + tags * form.tagsize
        struct.pack_into(form.offsetformat, content, place, offsets[back])
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize(("pages", "back"), [(1, 0), (3, 1), (150, 149), (150, 120)])
def test_a_loop_of_pages_is_refused(
    tmp_path: Path, pages: int, back: int, *, bigtiff: bool
) -> None:
    path = write_pages(tmp_path / "a.tif", pages, back, bigtiff=bigtiff)
    with pytest.raises(tifffile.TiffFileError, match="its pages are a loop"):
        open_tiff(path)
    with pytest.raises(UserError, match=r"a\.tif.*its pages are a loop"):
        load(path)
    (picture,) = open_pictures([path])
    assert "its pages are a loop" in str(picture.error)


def test_other_files_are_opened(tmp_path: Path) -> None:
    with open_tiff(write_pages(tmp_path / "a.tif", 120, None)) as file:
        assert len(file.pages) == 120
    empty = tmp_path / "empty.tif"
    empty.write_bytes(b"II*\0" + bytes(4))
    with open_tiff(empty) as file:
        assert len(file.pages) == 0
    cut = tmp_path / "cut.tif"
    whole = write_pages(tmp_path / "b.tif", 3, None).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    with open_tiff(cut) as file:
        assert len(file.pages) < 3
