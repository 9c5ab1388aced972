"""Sections of the page, in their order.

A further section is one more function in `SECTIONS` with a template in `assets`; one that draws
also gets a function in `assets/charts.js`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench.report.compare.across_datasets import Standing, find_standings
from bench.report.compare.comparison import Comparison
from bench.report.compare.label_budgets import find_budgets
from bench.report.page.charts import budgets_of, charts_of, failures_of, ranks_of
from bench.report.page.choices import LIMITS, choices_of
from bench.report.page.families import families_of, rank_order, shown_standings
from bench.report.page.ledgers import Ledger, entry_texts, sum_up, unit_of
from bench.report.page.packing import pack
from bench.report.page.pairs import Pairs, find_pairs, pairs_of
from bench.report.page.pictures import gallery_of
from bench.report.page.provenance import provenance_of
from bench.report.page.references import references_of
from bench.report.page.tables import (
    classes_table,
    figures_table,
    folds_lines,
    overview_table,
    readings_lines,
    section_of,
)
from bench.report.plots.gallery import Lookup
from bench.report.plots.style import Series, assign
from bench.report.published.differences import differences_table, group_differences
from bench.report.records.columns import DICE, column_names
from bench.report.records.image_facts import image_facts_of
from bench.report.records.prediction_error import prediction_error
from bench.report.records.rows import Row
from bench.report.tables.against import NOTE as PAIRS_NOTE
from bench.report.tables.ranks import ranks_table
from bench.report.tables.readings import HEADERS, NOTE
from bench.spec import Record


@dataclass(frozen=True, eq=False)
class Report:
    """Contents of the page.

    Attributes:
        records: all records of the results folder.
        frame: of `to_frame`.
        comparisons: of the frame.
        ledgers: of suites whose cells have records.
        images: name of the dataset of the test images to a function from item name to image and
            mask; only datasets whose pictures may be shown.
        predictions: folder of `<cell id>/<item name>.png`; it need not exist.
    """

    records: Sequence[Record]
    frame: pd.DataFrame
    comparisons: Sequence[Comparison]
    ledgers: Sequence[Ledger] = ()
    images: Mapping[str, Lookup] = field(default_factory=dict)
    predictions: Path = Path("predictions")

    @cached_property
    def looks(self) -> Mapping[Row, Series]:
        """The look of every row, as in the plots: rows with the same name have the same."""
        return assign(self.frame, [row for one in self.comparisons for row in one.rows])

    @cached_property
    def pairs(self) -> Mapping[Comparison, Pairs]:
        """The differences of the rows of every comparison from each other."""
        return {one: find_pairs(one) for one in self.comparisons}

    @cached_property
    def choices(self) -> Sequence[Mapping[str, Any]]:
        """Of every comparison: needs of its rows, and which are worse than which."""
        return choices_of(self.comparisons, self.looks, self.pairs)

    @cached_property
    def standings(self) -> Sequence[Standing]:
        """The ranks of methods over datasets."""
        return find_standings(self.comparisons)

    @cached_property
    def by_id(self) -> Mapping[str, Record]:
        """The records by the id of their cell."""
        return {record.cell.id: record for record in self.records}


@dataclass(frozen=True)
class Section:
    """One section of the page, with its own entry in the table of contents.

    Attributes:
        id: id of its HTML element. If it contains the name of a dataset or suite, a word and a
            hyphen come before the name, so that no other element has the same id.
        title: in the table of contents.
        group: heading above the title there.
        template: file in `assets`.
        facts: variables of the template.
        data: name to the packed data of its plots and records.
    """

    id: str
    title: str
    group: str
    template: str
    facts: Mapping[str, Any]
    data: Mapping[str, str] = field(default_factory=dict)


def _overview(report: Report) -> Iterator[Section]:
    # Label budgets have a section of their own; a lone row compares nothing.
    whole = [one for one in report.comparisons if one.rows[0].cells[0].labels is None]
    compared = {one.dataset for one in whole if len(one.rows) > 1}
    shown = [one for one in whole if len(one.rows) > 1 or one.dataset not in compared]
    shown = shown or list(report.comparisons)
    ids = {section_of(one) for one in shown}
    choices = [one for one in report.choices if one["id"] in ids]
    standings = shown_standings(report.standings)
    ranks = rank_order(standings, {row: look.name for row, look in report.looks.items()})
    models = {look.name: f"{row.backbone}, {row.weights}" for row, look in report.looks.items()}
    facts = {
        "families": families_of(choices, models, ranks, len(standings)),
        "standings": standings,
        "limits": LIMITS,
        "verdicts": [(section_of(one), one.short_title, one.verdicts) for one in shown],
        "parts": overview_table(shown, report.looks, ranks),
        "column": DICE,
        "heads": [(one.slug, one.title) for one in shown],
        "images": image_facts_of(report.frame),
        "prediction_error": prediction_error(report.frame),
    }
    methods = (row["method"] for one in report.choices for row in one["rows"])
    data = {
        "choices": pack({"shown": sorted(ids), "comparisons": report.choices}),
        "references": pack(references_of(methods)),
    }
    yield Section("overview", "Which method?", "", "overview.html.j2", facts, data)


_NAMES = {column.key: name for name, column in column_names().items()}  # in the page's address


def _comparisons(report: Report) -> Iterator[Section]:
    for one in report.comparisons:
        charts = charts_of(one, report.looks)
        dataset, _, standing = one.title.partition(": ")
        classes, class_parts = classes_table(one)
        fold_heads, fold_parts = folds_lines(one)
        facts = {
            "dataset": dataset,
            "standing": standing,
            "columns": one.columns,
            "names": _NAMES,
            "parts": figures_table(one),
            "verdicts": one.verdicts,
            "notes": one.notes[len(one.verdicts) :],
            "charts": charts,
            "classes": classes,
            "class_parts": class_parts,
            "fold_heads": fold_heads,
            "fold_parts": fold_parts,
            "reading_heads": HEADERS,
            "reading_parts": readings_lines(one),
            "reading_note": NOTE,
            "pairs": any(report.pairs[one].values()),
            "pairs_note": PAIRS_NOTE,
            "gallery": gallery_of(one, report.looks, report.predictions, report.images),
        }
        data = {
            "charts": pack(charts),
            "pairs": pack(pairs_of(one, report.pairs[one])),
            "records": pack(provenance_of(one, report.by_id)),
        }
        title, template = one.short_title, "comparison.html.j2"
        yield Section(section_of(one), title, "Comparisons", template, facts, data)


def _ranks(report: Report) -> Iterator[Section]:
    for one in report.standings:
        cliques = [(one.methods[first], one.methods[last]) for first, last in one.cliques]
        lines = list(zip(one.methods, ranks_table(one), strict=True))
        facts = {"standing": one, "lines": lines, "cliques": cliques}
        title = one.slug.replace("_", " ").replace("-", " ")
        data = {"ranks": pack(ranks_of(one, report.looks))}
        yield Section(f"ranks-{one.slug}", title, "Ranks", "ranks.html.j2", facts, data)


def _budgets(report: Report) -> Iterator[Section]:
    for budgets in find_budgets(report.comparisons):
        data = {"budgets": pack(budgets_of(budgets, report.looks))}
        name = f"labels-{budgets.slug}"
        facts = {"title": budgets.title, "numbers": budgets.numbers}
        yield Section(name, budgets.slug, "Label budgets", "budgets.html.j2", facts, data)


_PUBLISHED = "Published next to ours"


def _ledgers(report: Report) -> Iterator[Section]:
    names: dict[str, int] = {}
    sections, lines = [], []
    for one in report.ledgers:
        names[one.suite.name] = names.get(one.suite.name, 0) + 1
        number = "" if names[one.suite.name] == 1 else f"-{names[one.suite.name]}"
        summary = sum_up(one)
        facts = {"suite": one.suite, "pages": one.pages, "texts": entry_texts, "unit": unit_of}
        facts["differences"] = differences_table(
            group_differences([(p.heading, p.order) for p in one.pages])
        )
        title = f"{one.suite.name}{number}"
        sections.append(
            Section(
                f"ledger-{title}",
                title,
                _PUBLISHED,
                "ledger.html.j2",
                {**facts, "summary": summary},
            )
        )
        lines.append((f"ledger-{title}", one.suite.title, summary))
    if lines:
        yield Section("ledgers", "Summary", _PUBLISHED, "ledgers.html.j2", {"lines": lines})
    yield from sections


def _failures(report: Report) -> Iterator[Section]:
    failures = failures_of(report.frame)
    title = f"Failures ({len(failures)})"
    yield Section("failures", title, "Runs", "failures.html.j2", {"failures": failures})


SECTIONS: tuple[Callable[[Report], Iterator[Section]], ...] = (
    _overview,
    _comparisons,
    _ranks,
    _budgets,
    _ledgers,
    _failures,
)
