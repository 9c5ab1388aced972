"""Published differences between lines, by what our runs say of them."""

from bench.report.published.differences import (
    NO_DIFFERENCES,
    SHOWN,
    Order,
    PublishedDifference,
    differences_markdown,
    differences_table,
    group_differences,
)


def test_each_verdict_names_its_differences() -> None:
    dice = Order(
        8, (PublishedDifference("b", "a", True, True), PublishedDifference("c", "a", False, True))
    )
    distance = Order(8, (PublishedDifference("b", "a", True, False),))
    time = Order(None, (PublishedDifference("c", "a", True, None),))
    assert group_differences([("Dice", dice), ("HD95", distance), ("hours", time)]) == {
        "holds": ["Dice: b > a"],
        "reversed": ["Dice: c > a"],
        "not distinguishable": ["HD95: b > a"],
        "not testable": ["hours: c > a"],
    }


def test_a_long_list_of_differences_is_cut_but_counted() -> None:
    differences = tuple(
        PublishedDifference(f"line {n}", "first", True, True) for n in range(SHOWN + 3)
    )
    ((_, number, which),) = differences_table(group_differences([("Dice", Order(8, differences))]))
    assert number == str(SHOWN + 3)
    assert which.endswith("; and 3 more")
    assert which.count(">") == SHOWN


def test_no_differences_are_one_sentence() -> None:
    assert differences_markdown(group_differences([("Dice", Order(0, ()))])) == NO_DIFFERENCES
