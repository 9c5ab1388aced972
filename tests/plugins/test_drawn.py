from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.ask.independence import check_independence
from bench.ask.request import Request
from bench.data.fingerprint import fingerprint
from bench.data.items import Item
from bench.data.leakage import pairs
from bench.plugins import drawn
from bench.plugins.registry import _drawn, get_dataset, load_collection


def test_images_are_drawn_once_in_a_process() -> None:
    first, again = load_collection("steel"), load_collection("steel")
    assert first.items[0].image is again.items[0].image
    drawn.forget_drawn("steel")
    other = load_collection("steel")
    assert other.items[0].image is not first.items[0].image
    assert fingerprint(other) == fingerprint(first)


def test_a_process_takes_over_what_another_has_drawn() -> None:
    collection = load_collection("steel")
    sent = drawn.drawn_so_far(["steel", "a folder", ""])
    assert [*sent] == ["steel"]
    drawn.forget_drawn("steel")
    drawn.keep_drawn(sent)
    assert load_collection("steel").items[0] is collection.items[0]


def test_images_of_plugins_are_drawn_each_time() -> None:
    """They may depend on anything, such as files that change while a notebook is open."""
    dataset = replace(get_dataset("steel"), file="plugins/steel.py")
    assert _drawn(dataset).items[0].image is not load_collection("steel").items[0].image


def test_only_images_that_this_project_draws_are_not_searched_for_overlaps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[int] = []

    def find_pairs(items: Sequence[Item]) -> list[pairs.Pair]:
        searched.append(len(items))
        return []

    monkeypatch.setattr(pairs, "find_pairs", find_pairs)
    check_independence(Request("lora", "steel"), load_collection("steel"), None)
    assert searched == []
    plugin = replace(get_dataset("steel"), file="plugins/steel.py")
    check_independence(Request("lora", "steel"), _drawn(plugin), None)
    assert searched == [47]
