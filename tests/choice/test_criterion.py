"""What methods are compared by is the same quantity in the race and in the loss."""

from pathlib import Path

import numpy as np
import pytest

import bench
from bench.choice.criterion import CRITERIA, PERCENT

OBJECTS = Path(__file__).parents[2] / "results" / "objects"


@pytest.mark.parametrize("name", CRITERIA)
def test_the_sums_of_all_specimens_give_the_merit_of_the_set(name: str) -> None:
    criterion, seen = CRITERIA[name], 0
    for record in bench.load_results(OBJECTS).records[:6]:
        merit = criterion.of_set(record)
        if merit is None:
            continue
        numerators, denominators = np.sum(list(criterion.sums(record).values()), axis=0).T
        assert np.mean(numerators / denominators) == pytest.approx(merit, abs=PERCENT * 1e-6)
        seen += 1
    assert seen
