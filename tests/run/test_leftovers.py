"""Temporary files: those of killed processes are removed, those of others are not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from records import make_cell, make_record

from bench.files import (
    FOREIGN_S,
    atomic_path,
    boot_id,
    new_folder,
    remove_leftovers,
    remove_leftovers_of,
    write_atomic,
)
from bench.run.store import Store

ROOT = Path(__file__).parents[2]
WRITER = """
import os, sys
from pathlib import Path
from bench.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of it")
    print(temporary, flush=True)
    input()
"""


def start_writer(path: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A process within `atomic_path`, and its temporary file."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    return writer, Path(writer.stdout.readline().strip())


def test_only_the_file_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    (alive, living), (dead, left) = (
        start_writer(tmp_path / folder / "x.json") for folder in ("records", "plots")
    )
    dead.kill()
    dead.communicate()
    remove_leftovers(tmp_path)
    assert not left.exists()
    assert living.exists()
    alive.communicate("\n")
    assert alive.returncode == 0
    assert (tmp_path / "records" / "x.json").read_text() == "half of it"


def test_of_other_machines_only_old_files_are_removed(tmp_path: Path) -> None:
    name = ".x.json.{}.abcd_123"
    assert name.format(boot_id()[:8]) != name.format("0badcafe")
    new, old = tmp_path / name.format("0badcafe"), tmp_path / name.format("0badbeef")
    others = [tmp_path / name for name in (".hidden", "x.json", ".x.json.abc", "a.0badbeef.abcd_1")]
    past = time.time() - FOREIGN_S - 60
    for path in (new, old, *others):
        path.write_text("mine")
        os.utime(path, (past, past))
    new.touch()
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([new, *others])


def test_subfolders_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "claims" / f".x.{boot_id()[:8]}.abcd1234"
    write_atomic(path, "")
    remove_leftovers(tmp_path, without=("claims",))
    assert path.exists()
    remove_leftovers(tmp_path)
    assert not path.exists()
    remove_leftovers(tmp_path / "nowhere")


def test_what_killed_writers_of_one_path_left_is_removed(tmp_path: Path) -> None:
    out, boot = tmp_path / "m.pt", boot_id()[:8]
    left, folder = tmp_path / f".m.pt.{boot}.abcd1234", tmp_path / f".m.pt.{boot}.abcd1235"
    others = [tmp_path / name for name in (f".n.pt.{boot}.abcd1234", "m.pt", ".m.pt.x")]
    for path in (left, *others):
        path.write_text("mine")
    folder.mkdir()
    (folder / "part").touch()
    os.mkfifo(tmp_path / f".m.pt.{boot}.abcd1236")
    with new_folder(tmp_path / "m.pt.folder") as new:
        (new / "part").touch()
        remove_leftovers_of(out)
        remove_leftovers_of(tmp_path / "m.pt.folder")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "m.pt.folder", *others])
    remove_leftovers_of(tmp_path / "nowhere" / "m.pt")


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        temporary.write_text({"half": "of it"}["rest"])
    assert list(tmp_path.iterdir()) == []


def test_a_store_removes_what_a_kill_left(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    record = make_record(make_cell())
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom records import make_record\n"
        "from bench.run.store import Store\n"
        "os.fsync = lambda file: os.kill(os.getpid(), 9)\n"
        "Store.open(Path(sys.argv[1])).write(make_record())\n"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": paths}
    )
    assert killed.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "records").iterdir()
    assert left.name.startswith(f".{record.cell.id}.json.")
    store.remove_leftovers()
    assert list((tmp_path / "records").iterdir()) == []
