"""Pairs of predicted and true objects."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from bench.metrics.overlap import Labels

Indices = npt.NDArray[np.int64]

_LARGEST = 2**24  # counting by number stays small in memory
_TIE = 1e-9  # difference of two sums of IoU below which they are equal


@dataclass(frozen=True, eq=False)
class Pairs:
    """Every pair of a true and a predicted object that share a pixel, N in all.

    Attributes:
        truth: (N,) number of the true object.
        predicted: (N,) number of the predicted object.
        overlap: (N,) shared pixels.
        truth_areas: pixels of each true object, those in no pair included, by its number; 0 for
            number 0 and for gaps.
        predicted_areas: likewise of the predicted objects.
    """

    truth: Indices
    predicted: Indices
    overlap: Indices
    truth_areas: Indices
    predicted_areas: Indices

    @property
    def union(self) -> Indices:
        """(N,) pixels of either object."""
        return self.truth_areas[self.truth] + self.predicted_areas[self.predicted] - self.overlap

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """(N,) intersection over union, in (0, 1]."""
        return np.asarray(self.overlap / self.union)

    def best_of_each_truth(self) -> Indices:
        """Positions of the pairs with the largest IoU of each true object that is in a pair.

        Several may have the same predicted object. Ties: lowest number of the predicted object.
        """
        order = np.lexsort((self.predicted, -self.iou, self.truth))
        return order[np.unique(self.truth[order], return_index=True)[1]]

    def assignment(self) -> Indices:
        """Sorted positions of the pairs, no object in two, whose IoU has the largest sum.

        Ties: of sums that are equal within 1e-9 the one with the most shared pixels. This decides
        AJI+, so that it does not depend on the numbers of the objects.
        """
        partners = np.bincount(self.truth), np.bincount(self.predicted)
        lone = (partners[0][self.truth] == 1) & (partners[1][self.predicted] == 1)
        shared = np.flatnonzero(~lone)  # the solver's time grows faster than their number
        # The largest possible bonus of all pairs together is the width of a tie.
        bonus = _TIE * self.overlap[shared] / max(int(self.overlap[shared].sum()), 1)
        chosen = shared[
            _assign(self.truth[shared], self.predicted[shared], self.iou[shared] + bonus)
        ]
        return np.sort(np.concatenate([np.flatnonzero(lone), chosen]))

    def most_matches(self, allowed: npt.NDArray[np.bool_]) -> int:
        """Largest number of pairs, no object in two, of those with True in `allowed` (N,) bool."""
        if not allowed.any():
            return 0
        graph = _graph(np.ones(allowed.sum()), self.truth[allowed], self.predicted[allowed])
        partners = csgraph.maximum_bipartite_matching(graph.tocsr(), perm_type="column")
        return int(np.count_nonzero(partners >= 0))

    def aggregated_union(self, chosen: Indices) -> int:
        """Sum of the pixels of the unions of the chosen pairs and of all objects in none of them.

        Args:
            chosen: positions of pairs; an object in several of them counts in each.
        """
        truth, predicted = self.truth_areas.copy(), self.predicted_areas.copy()
        truth[self.truth[chosen]] = predicted[self.predicted[chosen]] = 0
        return int(self.union[chosen].sum() + truth.sum() + predicted.sum())


def pair_up(prediction: Labels, truth: Labels) -> Pairs:
    """Find all pairs of objects that share a pixel.

    Args:
        prediction: (H, W) integer numbers of objects, 0 where there is none, gaps allowed.
        truth: (H, W) likewise.

    Raises:
        ValueError: shapes differ or are not (H, W), a type is not integer, or a number is outside
            0..2^24 - 1.
    """
    if prediction.shape != truth.shape or truth.ndim != 2:
        raise ValueError(
            f"prediction {prediction.shape} and truth {truth.shape} must have one shape (H, W)"
        )
    areas = [_areas(prediction, "prediction"), _areas(truth, "truth")]
    both = (prediction > 0) & (truth > 0)
    places = (truth[both].astype(np.int64), prediction[both].astype(np.int64))
    shape = (len(areas[1]), len(areas[0]))
    counts = sparse.coo_array((np.ones(len(places[0]), np.int64), places), shape=shape)
    counts.sum_duplicates()
    rows, columns = (place.astype(np.int64) for place in counts.coords)
    return Pairs(rows, columns, counts.data, truth_areas=areas[1], predicted_areas=areas[0])


def _areas(numbers: Labels, kind: str) -> Indices:
    if not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"the {kind} must hold integer object numbers, not {numbers.dtype}")
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < _LARGEST:
        raise ValueError(
            f"the {kind} holds object numbers {numbers.min()}..{numbers.max()}; "
            f"allowed are 0..{_LARGEST - 1}"
        )
    areas = np.bincount(numbers.ravel(), minlength=1).astype(np.int64)
    areas[0] = 0
    return areas


def _assign(truth: Indices, predicted: Indices, gains: npt.NDArray[np.float64]) -> Indices:
    """Places of the pairs (N,), no object in two, whose gains in (0, 2) have the largest sum."""
    if not len(gains):
        return np.array([], np.int64)
    rows = np.unique(truth, return_inverse=True)[1]
    columns = np.unique(predicted, return_inverse=True)[1]
    # Each true object may also take a partner of its own that is worth nothing. Every complete
    # matching then has one edge per true object, so adding 2 to all costs, which a sparse matrix
    # needs to be above 0, changes no comparison.
    nobody = sparse.diags_array(np.full(rows.max() + 1, 2.0))
    costs = sparse.hstack([_graph(2 - gains, rows, columns), nobody]).tocsr()
    _, partner = csgraph.min_weight_full_bipartite_matching(costs)
    return np.flatnonzero(partner[rows] == columns)


def _graph(values: npt.NDArray[np.float64], rows: Indices, columns: Indices) -> Any:
    return sparse.coo_array((values, (rows, columns)))
