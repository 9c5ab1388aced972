"""Results as data frames. This module does not import torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from bench.errors import UserError, no_such
from bench.report.compare.comparison import Comparison, make_comparisons
from bench.report.records.frame import NESTED, to_frame
from bench.report.tables.write import unrounded
from bench.run.store import Store
from bench.spec import Record
from bench.wording import counted


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """The records of some runs.

    Attributes:
        records: one for each run: its settings, status, scores, costs and environment.
        notes: of `compare`, on assumptions about datasets, as when no specimens are given, and on
            overlapping images, files of weights, published recipes, and the number of threads where
            stored records decide it; empty from `load_results`.
    """

    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of records."""
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        """The records."""
        return iter(self.records)

    def __repr__(self) -> str:
        """The numbers of records and of those whose status is not "ok"."""
        failed = sum(record.status != "ok" for record in self.records)
        return f"<Results: {counted(len(self), 'record')}, {failed} failed>"

    def frame(self) -> pd.DataFrame:
        """Return one row for each run, failures included.

        Columns: `id`, `label` (method with options), `method`, `dataset`, `backbone`, `weights`,
        `image_size` (pixels), `protocol`, `labels` (NA for all), `fold`, `seed`; `test_dataset` and
        `split` where a run has them; `recipe/<field>`; `prompts`, `status` and `error`; each metric
        (overlaps in [0, 1]) and each cost by its name, in the units of docs/protocol.md, NaN or
        None where not measured; `env/<fact>`; `predicted/<field>` where a run was predicted.

        Raises:
            UserError: there are no records.
        """
        return self._frame.drop(columns=list(NESTED))

    def failures(self) -> pd.DataFrame:
        """Return one row for each run whose status is not "ok"; no rows if there is none.

        Columns: `label` (method with options), `dataset`, `seed`, `fold`, `status` (failed, oom,
        diverged, timeout or unsupported) and `error`, one sentence.
        """
        columns = ["label", "dataset", "seed", "fold", "status", "error"]
        cells = [(record.cell, record) for record in self.records if record.status != "ok"]
        rows = [(c.label, c.dataset_name, c.seed, c.fold, r.status, r.error) for c, r in cells]
        return pd.DataFrame(rows, columns=columns)

    def tables(self) -> dict[str, str]:
        """Return the name of each table, with a title that says what its runs have in common.

        Runs are in the same table if they agree in dataset, split, folds, number of labels, image
        size, depth, classes and protocol; under `equal` also in the recipe except the learning
        rate. With default settings, the table has the name of the dataset; other settings are added
        to the name, as in `steel_5-labels`.

        Raises:
            UserError: there are no records.
        """
        return {comparison.slug: comparison.title for comparison in self._comparisons}

    def table(self, name: str | None = None) -> pd.DataFrame:
        """Return one row for each method with options, backbone and weights, as in `<name>.csv`.

        Rows are in blocks by `prompts`: none, automatic, oracle; in each block best Dice first.
        Text columns: `label` (method with options), `backbone`, `weights`, `prompts` (origin of
        the prompts; rows of different origin are never ranked together) and `runs` (the number of
        each status, as "2 ok, 1 oom"). Each metric and cost has three columns: `<key>`, the mean
        over the successful seeds and folds (of speeds the best) in the units of the records;
        `<key>_sd`, the sample standard deviation; `<key>_mark`, "best", "tied" (not
        distinguishable from the best at the 5% level), "worse" or "untestable" (too few specimens);
        for Dice, `<key>_within` is the largest amount by which a tied row may be worse. A value
        that is not there, as `_sd` of one run or a mark of a cost, is None or NaN: test it with
        `isna`. Some metrics have no
        columns if no row has a value. With two to eight foreground classes, the last columns are
        the Dice of each, `dice/<class>` and `dice/<class>_sd`; they have no marks. `attrs` holds
        "title" and "notes".

        Args:
            name: a name in `tables()`, or a dataset that has only one table; None if there is only
                one table.

        Raises:
            UserError: there are no records, or no table matches, or several do; then the message
                lists the names.
        """
        comparison = self._find(name)
        table = pd.DataFrame(unrounded(comparison))
        table.attrs = {"title": comparison.title, "notes": list(comparison.notes)}
        return table

    def _find(self, name: str | None) -> Comparison:
        comparisons = {comparison.slug: comparison for comparison in self._comparisons}
        if name in comparisons:
            return comparisons[name]
        matches = [one for one in comparisons.values() if name in (None, one.dataset)]
        if not matches:
            raise no_such("table", str(name), comparisons)
        if len(matches) > 1:
            of = f" of '{name}'" if name else ""
            names = ", ".join(one.slug for one in matches)
            raise UserError(f"there are {len(matches)} tables{of}: give one of {names}")
        return matches[0]

    @cached_property
    def _frame(self) -> pd.DataFrame:
        return to_frame(self.records)

    @cached_property
    def _comparisons(self) -> list[Comparison]:
        return make_comparisons(self._frame)


def load_results(folder: str | Path) -> Results:
    """Read all records of a results folder, failures included, sorted by id.

    Args:
        folder: the results folder, `out` of `compare` or `--out` of the command line.

    Raises:
        UserError: the folder has no records, or contains a file that is not a record.

    Example:
        >>> bench.load_results("results/reference").table("steel")
    """
    records = Store(Path(folder)).read_all()
    if not records:
        raise UserError(f"no records in {folder}: give a results folder, which has records/*.json")
    return Results(tuple(records))
