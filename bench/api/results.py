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
        notes: assumptions made about the datasets, as when no specimens are given, and about the
            number of threads where stored records decide it.
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
        """The numbers of records and failures."""
        failed = sum(record.status != "ok" for record in self.records)
        return f"<Results: {counted(len(self), 'record')}, {failed} failed>"

    def frame(self) -> pd.DataFrame:
        """Return one row for each run, failures included.

        Columns: `id`, `label` (method with options), `dataset`, `backbone`, `seed` and the other
        settings; `recipe/<field>`; `status` and `error`; each metric (overlaps in [0, 1]) and each
        cost by its name, in the units of docs/protocol.md, NaN where not measured; `env/<fact>`.

        Raises:
            UserError: there are no records.
        """
        return self._frame.drop(columns=list(NESTED))

    def failures(self) -> pd.DataFrame:
        """Return one row for each run that failed.

        Columns: `label` (method with options), `dataset`, `seed`, `fold`, `status` (failed, oom,
        diverged, timeout or unsupported) and `error`, one sentence.
        """
        columns = ["label", "dataset", "seed", "fold", "status", "error"]
        cells = [(record.cell, record) for record in self.records if record.status != "ok"]
        rows = [(c.label, c.dataset_name, c.seed, c.fold, r.status, r.error) for c, r in cells]
        return pd.DataFrame(rows, columns=columns)

    def tables(self) -> dict[str, str]:
        """Return the name of each table, with a title that says what its runs have in common.

        Runs are in the same table if dataset, protocol, number of labels, image size and training
        budget are the same. With default settings, the table has the name of the dataset; other
        settings are added to the name, as in `steel_5-labels`.

        Raises:
            UserError: there are no records.
        """
        return {comparison.slug: comparison.title for comparison in self._comparisons}

    def table(self, name: str | None = None) -> pd.DataFrame:
        """Return one row for each method, best Dice first, as in `<name>.csv` of the report.

        Text columns: `label` (method with options), `backbone`, `weights`, `prompts` (origin of
        the prompts: none, automatic or oracle; rows of different origin are never ranked together)
        and `runs`. Each metric and cost has three columns: `<key>`, the mean over seeds and folds
        in the units of the records; `<key>_sd`, the sample standard deviation, None with fewer
        than two runs; `<key>_mark`, "best", "tied" (not distinguishable from the best at the 5%
        level) or None. `attrs` holds the title and the notes.

        Args:
            name: a name in `tables()`, or a dataset that has only one table; None if there is only
                one table.

        Raises:
            UserError: no table matches, or several do; the message lists the names.
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
    """Read all records of a results folder.

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
