"""Connected components of a mask: the definition of an object without instance labels."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage


def label_components(mask: npt.NDArray[Any], *, diagonal: bool = False) -> npt.NDArray[np.int64]:
    """Number the connected components of a mask from 1, in the order of their first pixels.

    Args:
        mask: (H, W); pixels that are not zero are inside, whatever their value.
        diagonal: pixels that touch at a corner are connected too (8-neighbourhood); otherwise only
            pixels that share an edge (4-neighbourhood).

    Returns:
        (H, W) numbers of the components, 0 outside.
    """
    structure = ndimage.generate_binary_structure(2, 2 if diagonal else 1)
    return np.asarray(ndimage.label(mask, structure)[0], np.int64)
