"""Bootstrap intervals: worked by hand, against scipy, and their coverage by simulation."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.stats.bootstrap import (
    ScoreSums,
    mean_score,
    percentile_interval,
    pooled_overlap,
    resample,
)

Rows = list[dict[str, object]]


def rows(**groups: Sequence[float | None]) -> Rows:
    return [{"group": name, "dice": x} for name, values in groups.items() for x in values]


def test_the_mean_leaves_out_undefined_scores() -> None:
    sample = mean_score([rows(a=[0.2, 0.4], b=[None]), rows(a=[0.6, None], b=[0.8])], "dice")
    assert sample.value == pytest.approx(0.5)
    assert sample.sums.shape == (2, 2, 1, 2)


def test_a_score_is_the_mean_over_seeds() -> None:
    runs = [rows(a=[0.2], b=[0.4]), rows(a=[0.6, 0.9], b=[0.9])]
    assert mean_score(runs, "dice").value == pytest.approx((0.3 + 0.8) / 2)


def test_the_mean_of_organs_is_over_their_own_volumes() -> None:
    run = [
        {"group": "a", "dice/x": 0.2, "dice/y": 0.5},
        {"group": "b", "dice/x": 0.4, "dice/y": None},
    ]
    assert mean_score([run], "dice/x", "dice/y").value == pytest.approx((0.3 + 0.5) / 2)


def test_overlap_is_pooled_over_the_pixels_of_all_images() -> None:
    def row(group: str, overlap: int, truth: int, predicted: int) -> dict[str, object]:
        counts = {"overlap_px/x": overlap, "truth_px/x": truth, "predicted_px/x": predicted}
        return {"group": group, **counts, **{key.replace("/x", "/y"): 0 for key in counts}}

    run = [row("a", 10, 10, 10), row("b", 0, 20, 10)]
    classes = ("rest", "x", "y")  # y is nowhere, and left out
    assert pooled_overlap([run], classes).value == pytest.approx(20 / 50)
    assert pooled_overlap([run], classes, iou=True).value == pytest.approx(10 / 40)


def test_with_one_seed_it_is_the_plain_bootstrap_over_specimens() -> None:
    values = np.random.default_rng(1).normal(0.7, 0.1, 12)
    sample = mean_score([rows(**{f"g{n:02}": [float(x)] for n, x in enumerate(values)})], "dice")
    interval = percentile_interval(resample([sample], 20_000)[0])
    expected = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=0.003)


def test_specimens_count_not_images() -> None:
    few = mean_score([rows(a=[0.5] * 50, b=[0.9] * 50)], "dice")
    interval = percentile_interval(resample([few])[0])
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.5, 0.9))


def test_paired_scores_share_their_resamples() -> None:
    hard = {f"g{n}": [x] for n, x in enumerate(np.linspace(0.2, 0.9, 8))}
    easier = {name: [x + 0.05] for name, (x,) in hard.items()}
    samples = [mean_score([rows(**part)], "dice") for part in (hard, easier)]
    drawn = resample(samples)
    difference = percentile_interval(drawn[1] - drawn[0])
    assert difference is not None
    assert difference.low == pytest.approx(0.05)
    alone = percentile_interval(drawn[0])
    assert alone is not None
    assert alone.high - alone.low > 0.2


def test_a_score_that_is_mostly_undefined_has_no_interval() -> None:
    sample = ScoreSums(np.zeros((1, 1, 1, 2)))
    assert percentile_interval(resample([sample])[0]) is None


def test_scores_on_different_specimens_are_refused() -> None:
    samples = [mean_score([rows(a=[0.5])], "dice"), mean_score([rows(a=[0.5], b=[0.1])], "dice")]
    with pytest.raises(ValueError, match="must have the same numbers of both"):
        resample(samples)


@pytest.mark.parametrize(("specimens", "least"), [(20, 0.90), (6, 0.80)])
def test_coverage(specimens: int, least: float) -> None:
    """With three seeds: near its level with many specimens, too narrow with few; never worse."""
    rng = np.random.default_rng(7)
    hits = 0
    for trial in range(300):
        by_specimen = rng.normal(0.7, 0.1, specimens)
        by_seed = rng.normal(0, 0.02, 3)
        runs = [
            rows(
                **{
                    f"g{n}": list(rng.normal(base + shift, 0.03, 2))
                    for n, base in enumerate(by_specimen)
                }
            )
            for shift in by_seed
        ]
        interval = percentile_interval(resample([mean_score(runs, "dice")], 400, seed=trial)[0])
        hits += interval is not None and 0.7 in interval
    assert least <= hits / 300 <= 0.99
