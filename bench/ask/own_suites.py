"""Suites whose grids are not published tables, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.ask import object_rules, proxy, reference
from bench.ask.grid import LoadedDataset
from bench.ask.suites import SuiteChoice
from bench.spec import Cell


@dataclass(frozen=True)
class OwnSuite:
    """One of them. It is run alone, on one dataset or several.

    Attributes:
        title: the question that it answers.
        default_datasets: gives the datasets that are run by default, separated by commas.
        expand: from the user's choice, and the datasets if they were loaded before, to the cells
            and notes.
        folds: largest number of folds of its cells.
    """

    title: str
    default_datasets: Callable[[], str]
    expand: Callable[
        [SuiteChoice, Mapping[str, LoadedDataset] | None], tuple[list[Cell], list[str]]
    ]
    folds: int = 1


OWN_SUITES = {
    proxy.NAME: OwnSuite(proxy.TITLE, proxy.default_datasets, proxy.expand_proxy),
    object_rules.NAME: OwnSuite(
        object_rules.TITLE, object_rules.default_datasets, object_rules.expand_objects
    ),
    reference.NAME: OwnSuite(
        reference.TITLE, reference.default_datasets, reference.expand_reference, reference.FOLDS
    ),
}
