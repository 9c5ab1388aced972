"""TIFF files, opened so that following their pages ends."""

import struct
from pathlib import Path

import tifffile


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF file, whose pages are a chain: each one names the place of the next one.

    tifffile follows a chain that is a loop without end.

    Raises:
        OSError: the file cannot be opened.
        tifffile.TiffFileError: it is not TIFF, or its pages are a loop; a ValueError.
    """
    file = tifffile.TiffFile(path)
    try:
        _check_chain(file)
    except BaseException:
        file.close()
        raise
    return file


def _check_chain(file: tifffile.TiffFile) -> None:
    handle, form, seen = file.filehandle, file.tiff, set()
    try:
        offset = file.pages.first.offset
    except IndexError:
        return  # no pages
    while offset:
        if offset in seen:
            raise tifffile.TiffFileError("its pages are a loop")
        seen.add(offset)
        try:
            handle.seek(offset)
            (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
            handle.seek(offset + form.tagnosize + tags * form.tagsize)
            (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
        except (OSError, struct.error):
            return  # the chain is cut; tifffile stops here, too
