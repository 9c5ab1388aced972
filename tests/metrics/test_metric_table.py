"""Every metric in every case against an independent value: the table of metrics, as tests."""

import pytest
from metric_cases import KINDS
from metric_references import DEFINITION, REFERENCES, Line, Reference, lines

BY_LIBRARIES_ALONE = {"s_alpha", "weighted_f"}  # defined by their authors' code


def named(references: list[Reference]) -> list[object]:
    return [pytest.param(r, id=f"{r.kind} {r.source}") for r in references]


@pytest.mark.parametrize("reference", named([r for r in REFERENCES if r.source == DEFINITION]))
def test_every_metric_is_what_its_definition_says(reference: Reference) -> None:
    table = list(lines(reference))
    assert [line for line in table if not line.agrees] == []
    cases, score = KINDS[reference.kind]
    wanted = {(name, case.name) for case in cases for name in score(case.pairs)}
    missing = wanted - {(line.metric, line.case) for line in table}
    assert {name for name, _ in missing} <= BY_LIBRARIES_ALONE


@pytest.mark.slow  # imports torch and more
@pytest.mark.parametrize("reference", named([r for r in REFERENCES if r.module is not None]))
def test_every_metric_is_what_libraries_say(reference: Reference) -> None:
    pytest.importorskip(reference.module or "")
    table = list(lines(reference))
    assert table
    assert [line for line in table if not line.agrees] == []


def test_cases_reach_what_they_are_named_after() -> None:
    """Each kind holds values that are undefined, wrong, and right."""
    for kind, (cases, score) in KINDS.items():
        values = {value for case in cases for value in score(case.pairs).values()}
        assert {None, 0.0} < values, kind
        assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize(
    ("ours", "other", "agrees"),
    [
        (None, None, True),
        (None, 0.0, False),
        (1.0, None, False),
        (0.5, 0.5 + 2e-6, False),
        (50.0, 50.0 + 2e-6, True),
    ],
)
def test_a_line_tells_what_differs(ours: float | None, other: float | None, agrees: bool) -> None:
    assert Line("class maps", "dice", "blobs", "library", ours, other).agrees is agrees
