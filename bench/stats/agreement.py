"""Agreement of two rankings of the same methods: Kendall's tau-b.

Kendall (1945), "The treatment of ties in ranking problems", Biometrika 33.
"""

import numpy as np

from bench.stats.paired import Floats


def kendall_tau(one: Floats, other: Floats) -> Floats:
    """Return Kendall's tau-b of pairs of score vectors; NaN where all scores of a vector are equal.

    1 means the same order of the methods, -1 the reverse order, and 0 is expected by chance.

    Args:
        one: (..., K) scores of K methods, without NaN.
        other: (..., K) other scores of the same methods.

    Returns:
        Values (...) in -1..1.
    """
    first, second = np.triu_indices(one.shape[-1], 1)
    signs = [np.sign(scores[..., first] - scores[..., second]) for scores in (one, other)]
    untied = np.sqrt(np.prod([(sign**2).sum(-1) for sign in signs], axis=0))
    agreement = (signs[0] * signs[1]).sum(-1)
    return np.divide(agreement, untied, out=np.full(untied.shape, np.nan), where=untied > 0)
