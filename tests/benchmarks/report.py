"""Time and memory of the tables over many synthetic records, each number in a fresh process.

python tests/benchmarks/report.py                        1,000 and 10,000 records
python tests/benchmarks/report.py --records 5000 --disk  read from a folder of files, too

A table has 100 rows of 5 runs, a run 20 test images and 30 points of training; more records are
more tables. Times are those of the CPU; explained in docs/benchmarks.md.
"""

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without an installation
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import numpy as np
from records import CLASSES, make_cell, make_record
from rich.console import Console
from rich.table import Table

from bench.report.compare.comparison import make_comparisons
from bench.report.records.frame import to_frame
from bench.report.tables.write import write_tables
from bench.run.store import Store
from bench.spec import Record

T = TypeVar("T")

SIZES = (1_000, 10_000)
IMAGES, SEEDS, METHODS, RANKS = 20, 5, 10, 10
POOL = 50  # different sets of scores; every record counts as if its own
PARTS = ("read", "frame", "comparison", "tables")


class Clock:
    """CPU seconds by part."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def of(self, part: str, work: Callable[[], T]) -> T:
        """Do it, and add its time to the part."""
        start = time.process_time()
        done = work()
        self.seconds[part] += time.process_time() - start
        return done


def synthetic(count: int) -> Iterator[Record]:
    """Records as a run would have written them, made one by one."""
    rng = np.random.default_rng(0)
    pool = [make_record(image_dice=rng.uniform(0.5, 0.9, IMAGES).tolist()) for _ in range(POOL)]
    pixels = {f"{kind}_px/{name}": 12345 for kind in ("overlap", "truth") for name in CLASSES}
    images = [tuple({**row, **pixels} for row in record.per_image) for record in pool]
    histories = [make_record(make_cell(seed=seed)).history for seed in range(POOL)]
    tables = range(1 + count // (METHODS * RANKS * SEEDS))
    asked = product(tables, range(METHODS), range(1, RANKS + 1), range(SEEDS))
    for number, (table, method, rank, seed) in enumerate(islice(asked, count)):
        cell = make_cell(
            f"method_{method}", dataset=f"images_{table}", options={"rank": rank}, seed=seed
        )
        yield dataclasses.replace(
            pool[number % POOL],
            cell=cell,
            per_image=images[rng.integers(POOL)],
            history=histories[rng.integers(POOL)],
            metrics={key: value + rng.normal(0, 0.01) for key, value in METRICS.items()},
        )


METRICS = {key: value for key, value in make_record().metrics.items() if value is not None}


def measure(count: int, disk: bool) -> dict[str, float]:
    """CPU seconds by part, and the peak of memory in MiB, of this process."""
    clock = Clock()
    with TemporaryDirectory() as place:
        folder = Path(place)
        if disk:
            (folder / "records").mkdir()
            for record in synthetic(count):  # Store.write waits for the disk each time
                text = json.dumps(record.to_dict(), indent=1)
                (folder / "records" / f"{record.cell.id}.json").write_text(text)
        source = Store(folder).stream if disk else lambda: synthetic(count)
        clock.of("read", lambda: deque(source(), maxlen=0))  # none is kept
        frame = clock.of("frame", lambda: to_frame(source()))
        clock.seconds["frame"] -= clock.seconds["read"]
        found = clock.of("comparison", lambda: make_comparisons(frame))
        clock.of("tables", lambda: write_tables(frame, folder / "tables", found))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mib = peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    return {"records": len(frame), "tables made": len(found), **clock.seconds, "MiB": mib}


def measure_apart(count: int, disk: bool) -> dict[str, Any]:
    """As `measure`, in a process of its own."""
    command = [sys.executable, __file__, "--here", "--records", str(count)]
    done = subprocess.run([*command, *["--disk"] * disk], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print a line for each number of records."""
    parser = argparse.ArgumentParser(description="Time and memory of the tables of many records.")
    parser.add_argument("--records", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--disk", action="store_true", help="write them to files, and read these")
    parser.add_argument("--here", action="store_true", help="in this process, as JSON")
    asked = parser.parse_args()
    if asked.here:
        sys.stdout.write(json.dumps(measure(asked.records[0], asked.disk)))
        return
    read = "read (s)" if asked.disk else "made (s)"
    table = Table("records", read, "frame (s)", "comparison (s)", "tables (s)", "peak (MiB)")
    for count in asked.records:
        found = measure_apart(count, asked.disk)
        parts = [f"{found[part]:.2f}" for part in PARTS]
        table.add_row(f"{found['records']:,}", *parts, f"{found['MiB']:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
