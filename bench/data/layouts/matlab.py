"""Arrays of MATLAB files: version 5 by SciPy, version 7.3 (HDF5) by h5py.

Structs and cells are searched through: `groundTruth{1}.Segmentation` is the name of an array in
them. Text, single numbers and empty arrays are left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.io
import scipy.sparse
from scipy.io.matlab import MatReadError

from bench.data.libraries import import_optional
from bench.data.raster import UNREADABLE
from bench.errors import UserError

SUFFIX = ".mat"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_DAMAGED = (*UNREADABLE, RuntimeError, AttributeError, ArithmeticError, MatReadError)
_MOST = 1000  # elements of a cell that are looked at

Arrays = dict[str, npt.NDArray[Any]]
# Last words of names, the best first: of label maps, and of images.
LABELS = (
    *("segmentation", "type_map", "class_map", "label_map", "inst_map", "instance_map"),
    *("mask", "masks", "label", "labels", "gt", "groundtruth", "seg", "annotation"),
)
IMAGES = ("image", "img", "im", "i", "data", "x")


def read_arrays(file: Path) -> Arrays:
    """All arrays of numbers with at least two axes longer than 1, by their names.

    Axes are in the order of MATLAB: rows first.

    Raises:
        UserError: the file is damaged, or h5py is needed and not installed.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(520)
        if _HDF5 in (head[:8], head[512:520]):
            h5py = import_optional("h5py", f"reading '{file}' (MATLAB 7.3)", "import")
            with h5py.File(file) as content:
                found = dict(_of_hdf5(content, content, ""))
        else:
            content = scipy.io.loadmat(str(file), appendmat=False)
            found = {
                name: array
                for key, value in content.items()
                if not key.startswith("__")
                for name, array in _of_version_5(value, key)
            }
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"cannot read '{file}' as a MATLAB file ({reason[:80]}); save it again"
        ) from error
    return {name: array for name, array in found.items() if sum(n > 1 for n in array.shape) >= 2}


def pick_array(arrays: Arrays, file: Path) -> str:
    """The name of the array of a file that holds one image or one label map.

    Of several, that with the best last word of `LABELS`, else of `IMAGES`; of equal words, as of
    several people who labelled one image, the first.

    Raises:
        UserError: there is none, or the names do not say which.
    """
    if not arrays:
        raise UserError(f"'{file}' holds no array of an image or mask; save it with one array")
    if len(arrays) == 1:
        return next(iter(arrays))
    for word in (*LABELS, *IMAGES):
        for name in arrays:
            if last_word(name) == word:
                return name
    raise UserError(
        f"'{file}' holds {len(arrays)} arrays ({', '.join(list(arrays)[:5])}) and no name says"
        " which is the image or mask; call it image or mask, or save it alone"
    )


def last_word(name: str) -> str:
    """The last word of the name of an array, in lower case: "seg" of `gt{1}.Seg`."""
    return re.sub(r"[({].*", "", name.rpartition(".")[2]).lower()


def as_first_axis(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array whose last axis counts images or slices, as MATLAB has it, with this axis first.

    Images (H, W) and (H, W, C) of at most 4 channels stay as they are.
    """
    if array.ndim < 3 or (array.ndim == 3 and array.shape[-1] <= 4):
        return array
    return np.moveaxis(array, -1, 0)


def _of_version_5(value: Any, name: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    if scipy.sparse.issparse(value):
        value = value.toarray()
    if not isinstance(value, np.ndarray):
        return
    if value.dtype.names:  # an array of structs
        for place, record in enumerate(value.ravel(order="F")[:_MOST]):
            at = name if value.size == 1 else f"{name}({place + 1})"
            for field in value.dtype.names:
                yield from _of_version_5(record[field], f"{at}.{field}")
    elif value.dtype == object:  # a cell
        for place, element in enumerate(value.ravel(order="F")[:_MOST]):
            yield from _of_version_5(element, f"{name}{{{place + 1}}}")
    elif value.dtype.kind in "buif":
        yield name, value


def _of_hdf5(node: Any, content: Any, name: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Arrays of a group, or of a dataset that holds numbers or references."""
    if hasattr(node, "keys"):
        for key in node:
            if not key.startswith("#"):  # of MATLAB's own
                yield from _of_hdf5(node[key], content, f"{name}.{key}" if name else key)
        return
    kind = node.attrs.get("MATLAB_class", "")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if kind == "char" or "MATLAB_empty" in node.attrs:
        return
    if node.dtype.kind == "O":  # references to the elements of a cell or of an array of structs
        elements = node[()].ravel()[:_MOST]
        for place, reference in enumerate(elements):
            struct = kind != "cell"
            at = f"({place + 1})" if struct else f"{{{place + 1}}}"
            single = struct and len(elements) == 1
            yield from _of_hdf5(content[reference], content, name if single else f"{name}{at}")
    elif node.dtype.kind in "buif":
        yield name, node[()].T if kind else node[()]  # MATLAB stores columns first
