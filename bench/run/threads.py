"""The number of CPU threads of each cell.

The number changes the order of sums and with it the results, but it is not part of a cell's
identity. So it has one default on all machines, and a results folder keeps the number that its
records have.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.spec import Cell, Record
from bench.wording import counted

DEFAULT_THREADS = 1  # the number that every machine has


def choose_threads(
    requested: int | None, cells: Sequence[Cell], records: Iterable[Record]
) -> tuple[int, str]:
    """The number of threads of each cell of a run, and a note where stored records matter.

    Without a requested number, the cells get that of the stored successful records: of the
    records of the grid or, if it has none yet, of all records in the folder; where these differ,
    the most frequent number.

    Args:
        requested: the user's number, which is taken as it is; None if there is none.
        cells: the grid.
        records: those in the results folder; all are read.

    Returns:
        The number, and a sentence for the user if records of the grid have another number than the
        requested one, or without a request if stored records have another than `DEFAULT_THREADS`;
        otherwise "".
    """
    ids = {cell.id for cell in cells}
    of_grid: Counter[int] = Counter()
    of_folder: Counter[int] = Counter()
    for record in records:
        number = record.env.get("threads")
        if record.status == "ok" and isinstance(number, int):
            of_folder[number] += 1
            of_grid[number] += record.cell.id in ids
    of_grid = +of_grid  # without the numbers that no record of the grid has
    if requested is not None:
        others = of_grid - Counter({requested: of_grid[requested]})
        return requested, _warning(requested, others) if others else ""
    stored = of_grid or of_folder
    if not stored:
        return DEFAULT_THREADS, ""
    kept = stored.most_common(1)[0][0]
    if stored.keys() == {DEFAULT_THREADS}:
        return kept, ""
    return kept, (
        f"each cell runs with {counted(kept, 'thread')}, as the stored records do "
        f"({_describe(stored)}); --threads sets another number"
    )


def _warning(requested: int, others: Counter[int]) -> str:
    return (
        f"each cell runs with {counted(requested, 'thread')} as requested, but records of this "
        f"grid exist ({_describe(others)}): the number changes results, so tables name each row "
        "that mixes numbers"
    )


def _describe(stored: Counter[int]) -> str:
    """Such as `3 records with 1 thread, 1 record with 2 threads`."""
    parts = sorted(stored.items())
    return ", ".join(f"{counted(n, 'record')} with {counted(k, 'thread')}" for k, n in parts)


def usable_cores() -> int:
    """The number of CPU cores that this process may use: its affinity and its group's limit."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")
    if limit.exists():
        quota, period = limit.read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores
