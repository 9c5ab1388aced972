"""`report --datasets` and `--methods`: the tables and rows of figures and tables for a paper."""

import itertools
import re
from typing import TYPE_CHECKING

from bench.errors import no_such

if TYPE_CHECKING:
    from bench.report.compare.comparison import Comparison
    from bench.report.records.rows import Row


def choose_datasets(comparisons: "list[Comparison]", text: str | None) -> "list[Comparison]":
    """Return the tables with one of these names, in the order of the names.

    Args:
        comparisons: of a report.
        text: names between commas: of the file of a table, such as "steel" or "steel_5-labels", or,
            if no table has this name, of a dataset that was trained or tested on. None: all.

    Raises:
        UserError: there is no such table and no record of such a dataset.
    """
    if text is None:
        return comparisons
    of_dataset: dict[str, list[Comparison]] = {}
    for one in comparisons:
        for name in {one.rows[0].cells[0].dataset_name, one.test_images}:
            of_dataset.setdefault(name, []).append(one)
    known = of_dataset | {one.slug: [one] for one in comparisons}
    names = [text] if text in known else split(text)  # the name of a folder may have a comma
    for name in names:
        if name not in known:
            raise no_such("dataset in these records", name, sorted(known))
    return list(dict.fromkeys(one for name in names for one in known[name]))


def choose_methods(comparisons: "list[Comparison]", text: str | None) -> "list[Comparison]":
    """Return the tables with only these rows, as if there were no other records, in their order.

    Args:
        comparisons: tables of one frame.
        text: names between commas: labels such as "lora[rank=4]", also as "lora[rank=1|4]", full
            names of rows, or, if no row has this label, names of methods. None: all.

    Raises:
        UserError: no row has one of these names.
    """
    if text is None or not comparisons:
        return comparisons
    from bench.report.compare.comparison import make_comparisons

    rows = [row for one in comparisons for row in one.rows]
    places = {
        place
        for word in re.split(r",(?![^\[(]*[\])])", text)  # commas outside brackets
        for name in _expand(word.strip())
        for row in _named(name, rows)
        for place in row.places
    }
    order = [one.slug for one in comparisons]
    chosen = make_comparisons(rows[0].runs.frame.iloc[sorted(places)])
    return sorted(chosen, key=lambda one: order.index(one.slug) if one.slug in order else -1)


def split(text: str) -> list[str]:
    """Words between commas, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",")))


def _named(name: str, rows: "list[Row]") -> "list[Row]":
    chosen = [row for row in rows if name == row.name or _parts(name) == _parts(row.label)]
    chosen = chosen or [row for row in rows if name == row.cells[0].method]
    if not chosen:
        raise no_such("method in these tables", name, sorted({row.label for row in rows}))
    return chosen


def _expand(word: str) -> list[str]:
    """Text such as "lora[rank=1|4]" as "lora[rank=1]" and "lora[rank=4]"."""
    name, bracket, options = word.partition("[")
    if not bracket or not options.endswith("]"):
        return [word]
    choices = [
        [f"{key}{equals}{value}" for value in values.split("|")]
        for key, equals, values in (one.partition("=") for one in options[:-1].split(","))
    ]
    return [f"{name}[{','.join(values)}]" for values in itertools.product(*choices)]


def _parts(label: str) -> tuple[str, frozenset[str]]:
    """Method and options of a label, in any order."""
    name, _, options = label.partition("[")
    return name, frozenset(one.strip() for one in options.removesuffix("]").split(","))
