"""The page: sections in a fixed order, their data, and everything that shows them, in one file.

A further section is one more function in `SECTIONS` with a template beside the others; one that
draws also gets a function in `assets/charts.js`.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.report.budgets import find_budgets
from bench.report.columns import DICE
from bench.report.compare import Comparison
from bench.report.files import replace
from bench.report.gallery import Lookup
from bench.report.page.charts import budgets_of, charts_of, failures_of
from bench.report.page.ledgers import Ledger, entry_texts, unit_of
from bench.report.page.packing import pack
from bench.report.page.pictures import gallery_of
from bench.report.page.provenance import provenance_of
from bench.report.page.tables import classes_table, figures_table, folds_lines, overview_table
from bench.report.rows import Row
from bench.report.style import Series, assign
from bench.spec import Record

LIBRARIES = ("d3.min.js", "plot.umd.min.js")
SCRIPTS = ("data.js", "table.js", "record.js", "marks.js", "charts.js", "page.js")


@dataclass(frozen=True, eq=False)
class Report:
    """All that the page is made of.

    Attributes:
        records: all of them.
        frame: of `to_frame`.
        comparisons: of the frame.
        ledgers: of suites whose cells have records.
        images: dataset name to a function from item name to image and mask; only datasets whose
            pictures may be shown.
        predictions: folder of `<cell id>/<item name>.png`.
    """

    records: Sequence[Record]
    frame: pd.DataFrame
    comparisons: Sequence[Comparison]
    ledgers: Sequence[Ledger] = ()
    images: Mapping[str, Lookup] = field(default_factory=dict)
    predictions: Path = Path("predictions")

    @cached_property
    def looks(self) -> Mapping[Row, Series]:
        """One look for every name, as in the plots."""
        return assign(self.frame, [row for one in self.comparisons for row in one.rows])

    @cached_property
    def by_id(self) -> Mapping[str, Record]:
        """The records by the id of their cell."""
        return {record.cell.id: record for record in self.records}


@dataclass(frozen=True)
class Section:
    """One view of the page.

    Attributes:
        id: its address within the page.
        title: in the table of contents.
        group: heading above it there.
        template: file in `assets`.
        facts: what the template shows.
        data: what its plots and records show, packed; by name.
    """

    id: str
    title: str
    group: str
    template: str
    facts: Mapping[str, Any]
    data: Mapping[str, str] = field(default_factory=dict)


def write_page(report: Report, path: Path) -> Path:
    """Write the page in one step."""
    return replace(path, build_page(report))


def build_page(report: Report) -> str:
    """The page as HTML, the same for the same report; it asks nothing of anywhere."""
    sections = [section for find in SECTIONS for section in find(report)]
    scripts = [_asset("vendor", name).strip() for name in LIBRARIES]
    scripts.append("\n".join(_asset("assets", name) for name in SCRIPTS))
    settings = Environment(
        loader=PackageLoader("bench.report.page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return settings.get_template("page.html.j2").render(
        sections=sections,
        summary=_summary(report),
        style=_asset("assets", "page.css"),
        scripts=[f"\n{script}\n" for script in scripts],
        hashes=[_hash(f"\n{script}\n") for script in scripts],
    )


def _overview(report: Report) -> Iterator[Section]:
    facts = {"parts": overview_table(report.comparisons, report.looks), "column": DICE}
    heads = [(one.slug, one.title) for one in report.comparisons]
    yield Section("overview", "Overview", "", "overview.html.j2", {**facts, "heads": heads})


def _comparisons(report: Report) -> Iterator[Section]:
    for one in report.comparisons:
        charts = charts_of(one, report.looks)
        lookup = report.images.get(one.dataset)
        dataset, _, standing = one.title.partition(": ")
        classes, class_parts = classes_table(one)
        fold_heads, fold_lines = folds_lines(one)
        facts = {
            "dataset": dataset,
            "standing": standing,
            "columns": one.columns,
            "parts": figures_table(one),
            "notes": one.notes,
            "charts": charts,
            "classes": classes,
            "class_parts": class_parts,
            "fold_heads": fold_heads,
            "fold_lines": fold_lines,
            "gallery": lookup and gallery_of(one, report.looks, report.predictions, lookup),
        }
        data = {"charts": pack(charts), "records": pack(provenance_of(one, report.by_id))}
        yield Section(one.slug, one.slug, "Comparisons", "comparison.html.j2", facts, data)


def _budgets(report: Report) -> Iterator[Section]:
    for budgets in find_budgets(report.comparisons):
        data = {"budgets": pack(budgets_of(budgets, report.looks))}
        name = f"{budgets.slug}-labels"
        facts = {"title": budgets.title, "steps": budgets.steps}
        yield Section(name, budgets.slug, "Label budgets", "budgets.html.j2", facts, data)


def _ledgers(report: Report) -> Iterator[Section]:
    names: dict[str, int] = {}
    for one in report.ledgers:
        names[one.suite.name] = names.get(one.suite.name, 0) + 1
        number = "" if names[one.suite.name] == 1 else f"-{names[one.suite.name]}"
        facts = {"suite": one.suite, "pages": one.pages, "texts": entry_texts, "unit": unit_of}
        title = f"{one.suite.name}{number}"
        yield Section(f"ledger-{title}", title, "Published beside ours", "ledger.html.j2", facts)


def _failures(report: Report) -> Iterator[Section]:
    failures = failures_of(report.frame)
    title = f"Failures ({len(failures)})"
    yield Section("failures", title, "Runs", "failures.html.j2", {"failures": failures})


SECTIONS: tuple[Callable[[Report], Iterator[Section]], ...] = (
    _overview,
    _comparisons,
    _budgets,
    _ledgers,
    _failures,
)


def _summary(report: Report) -> Mapping[str, Any]:
    frame = report.frame
    return {
        "records": len(frame),
        "ok": int((frame["status"] == "ok").sum()),
        "methods": frame["label"].nunique(),
        "datasets": frame["dataset"].nunique(),
        "backbones": sorted(set(frame["backbone"]) - {"none"}),
    }


def _asset(folder: str, name: str) -> str:
    return resources.files("bench.report.page").joinpath(folder, name).read_text("utf-8")


def _hash(script: str) -> str:
    """What lets a browser run this script and no other."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
