"""Published differences between lines, by what our runs say of them."""

from bench.report.published.claims import (
    NO_CLAIMS,
    SHOWN,
    Claim,
    Order,
    claims_markdown,
    claims_table,
    group_claims,
)


def test_each_verdict_names_its_claims() -> None:
    dice = Order(8, (Claim("b", "a", True, True), Claim("c", "a", False, True)))
    distance = Order(8, (Claim("b", "a", True, False),))
    time = Order(None, (Claim("c", "a", True, None),))
    assert group_claims([("Dice", dice), ("HD95", distance), ("hours", time)]) == {
        "holds": ["Dice: b > a"],
        "reversed": ["Dice: c > a"],
        "not distinguishable": ["HD95: b > a"],
        "not testable": ["hours: c > a"],
    }


def test_a_long_list_of_claims_is_cut_but_counted() -> None:
    claims = tuple(Claim(f"line {n}", "first", True, True) for n in range(SHOWN + 3))
    ((_, number, which),) = claims_table(group_claims([("Dice", Order(8, claims))]))
    assert number == str(SHOWN + 3)
    assert which.endswith("; and 3 more")
    assert which.count(">") == SHOWN


def test_no_claims_are_one_sentence() -> None:
    assert claims_markdown(group_claims([("Dice", Order(0, ()))])) == NO_CLAIMS
