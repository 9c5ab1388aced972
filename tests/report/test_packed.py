"""Rows kept by column read as they were written."""

import math

import numpy as np
import pytest
from records import make_record

from bench.report.records.packed import Packed, numbers_of, pack, texts_of

IMAGES = (
    {"name": "a", "group": "x", "dice": 0.5, "overlap_px": 123456789, "hd95": None},
    {"name": "b", "group": "x", "dice": 1.0, "overlap_px": 0, "hd95": 2.5},
)


def test_rows_are_what_they_were() -> None:
    packed = pack(IMAGES)
    assert isinstance(packed, Packed)
    assert tuple(packed) == IMAGES
    assert packed == IMAGES
    assert packed != IMAGES[:1]
    assert [list(row) for row in packed] == [list(row) for row in IMAGES]
    assert type(packed[0]["overlap_px"]) is int
    assert packed[-1]["name"] == "b"
    assert packed[1:] == [IMAGES[1]]
    with pytest.raises(IndexError):
        packed[2]


def test_keys_that_some_rows_lack_stay_away() -> None:
    history = make_record().history
    packed = pack(history)
    assert isinstance(packed, Packed)
    assert tuple(packed) == history
    assert {len(point) for point in packed} == {3, 4}
    validated = [point.get("val_dice", math.nan) for point in history]
    assert packed.numbers("val_dice") == pytest.approx(validated, nan_ok=True)


@pytest.mark.parametrize(
    "rows", [(), ({},), ({"a": True},), ({"a": [1]},), ({"a": math.nan},), ({"a": math.inf},)]
)
def test_what_does_not_fit_stays_as_it_is(rows: tuple[dict[str, object], ...]) -> None:
    assert pack(rows) is rows


def test_columns_are_the_same_packed_or_not() -> None:
    for rows in (IMAGES, pack(IMAGES)):
        assert texts_of(rows, "group", "name") == (("x", "x"), ("a", "b"))
        assert numbers_of(rows, "dice").tolist() == [0.5, 1.0]
        assert np.isnan(numbers_of(rows, "hd95")).tolist() == [True, False]
        assert np.isnan(numbers_of(rows, "unknown")).all()
