import errno
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from records import make_cell, make_failure, make_record

from bench.errors import UserError
from bench.run.store import Store
from bench.spec import SCHEMA

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "results")


def other_process(code: str, folder: Path) -> "subprocess.Popen[str]":
    """Another Python that has `store` on `folder` and `record`, and runs `code`."""
    begin = (
        "import os, sys\nfrom pathlib import Path\nfrom records import make_record\n"
        "from bench.run.store import Store\n"
        "store, record = Store.open(Path(sys.argv[1])), make_record(dice=0.5)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", begin + code, str(folder)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")]),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_written_record_can_be_read(store: Store) -> None:
    cell = make_cell(options={"rank": 8, "targets": "qkvo"}, labels=5, folds=3, fold=2, seed=7)
    record = make_record(cell, dice=0.75, hd95_pooled_px=None)
    assert store.read(cell) is None
    store.write(record)
    assert store.read(cell) == record
    assert store.read_all() == [record]
    assert [path.name for path in (store.folder / "records").iterdir()] == [f"{cell.id}.json"]


def test_a_later_record_replaces_an_earlier_one(store: Store) -> None:
    store.write(make_failure(make_cell()))
    store.write(make_record(make_cell()))
    assert [record.status for record in store.read_all()] == ["ok"]


def test_records_are_read_in_the_order_of_their_ids(store: Store) -> None:
    for seed in (10, 2, 1):
        store.write(make_record(make_cell(seed=seed)))
    ids = [record.cell.id for record in store.read_all()]
    assert len(ids) == 3
    assert ids == sorted(ids)


def test_a_score_of_nan_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(make_record(dice_dataset=float("nan")))
    assert list((store.folder / "records").iterdir()) == []


@pytest.mark.parametrize(("calls", "dice"), [(1, 0.9), (2, 0.5)], ids=["file", "folder"])
def test_a_kill_leaves_the_old_record_or_the_new_one(store: Store, calls: int, dice: float) -> None:
    store.write(make_record(dice=0.9))
    killed = other_process(
        f"calls = 0\n"
        f"def fsync(file):\n"
        f"    global calls\n"
        f"    calls += 1\n"
        f"    if calls == {calls}:\n"
        f"        os.kill(os.getpid(), 9)\n"
        f"os.fsync = fsync\n"
        f"store.write(record)\n",
        store.folder,
    )
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    (record,) = store.read_all()
    assert record.metrics["dice_dataset"] == dice
    store.write(make_record(dice=0.7))
    assert [record.metrics["dice_dataset"] for record in store.read_all()] == [0.7]


def test_a_partial_temporary_file_is_not_read(store: Store) -> None:
    record = make_record()
    store.write(record)
    path = store.path(record.cell)
    path.with_name(f".{path.name}.123").write_text(path.read_text()[:200])
    assert store.read_all() == [record]


def test_a_full_disk_keeps_the_old_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    old = make_record(dice=0.9)
    store.write(old)

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot write '.*\.json' \(No space left on device\)"):
            store.write(make_record(dice=0.5))
    assert store.read_all() == [old]
    assert [path.name for path in (store.folder / "records").iterdir()] == [f"{old.cell.id}.json"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "JSONDecodeError"),
        ('{"schema": 1, "cell', "JSONDecodeError"),
        ("[1, 2]", "TypeError"),
        ('{"id": "x"}', "KeyError: 'schema'"),
        (f'{{"schema": {SCHEMA}}}', "KeyError"),
        (f'{{"schema": {SCHEMA}, "cell": {{"method": "lora"}}}}', "KeyError"),
    ],
)
def test_a_file_that_is_not_a_record_is_named(store: Store, text: str, reason: str) -> None:
    path = store.path(make_cell())
    path.write_text(text)
    for read in (store.read_all, lambda: store.read(make_cell())):
        with pytest.raises(UserError) as error:
            read()
        assert str(error.value).startswith(f"{path} is not a record ({reason}")
        assert str(error.value).endswith(": move the file away")
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("metrics", None, "TypeError: metrics is None, expected dict"),
        (
            "metrics",
            {"dice_dataset": "x"},
            "TypeError: dice_dataset is 'x', expected a number or nothing",
        ),
        ("env", None, "TypeError: env is None, expected dict"),
        ("per_image", [None], "TypeError: per_image is None, expected dict"),
        ("history", [1], "TypeError: history is 1, expected dict"),
        ("status", "weird", "ValueError: status is 'weird', expected one of ok, failed"),
        ("cell/dataset", None, "TypeError: dataset is None, expected str"),
        ("cell/options", [], r"TypeError: options is [], expected dict"),
        ("cell/task", 3, "TypeError: task is 3, expected dict"),
        ("cell/seed", "0", "TypeError: seed is '0', expected int"),
        ("cell/task/weights", None, "TypeError: weights is None, expected str"),
        ("cell/recipe/steps", 1.5, "TypeError: steps is 1.5, expected int"),
        (
            "cost",
            {"trainable_params": "many"},
            "TypeError: trainable_params is 'many', expected int",
        ),
    ],
)
def test_a_damaged_record_is_named(store: Store, place: str, value: object, reason: str) -> None:
    record = make_record()
    store.write(record)
    path = store.path(record.cell)
    values = json.loads(path.read_text())
    *parts, name = place.split("/")
    functools.reduce(dict.__getitem__, parts, values)[name] = value
    path.write_text(json.dumps(values))
    with pytest.raises(UserError) as error:
        store.read_all()
    assert str(error.value).startswith(f"{path} is not a record ({reason}")


def test_a_folder_is_not_a_record(store: Store) -> None:
    (store.folder / "records" / "x.json").mkdir()
    with pytest.raises(UserError, match=r"x\.json is not a record \(a folder"):
        store.read_all()


def test_bytes_that_are_not_text_are_not_a_record(store: Store) -> None:
    path = store.path(make_cell())
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not a record"):
        store.read_all()


def test_a_record_of_another_schema_is_refused(store: Store) -> None:
    record = make_record()
    store.write(record)
    path = store.path(record.cell)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": SCHEMA + 1}))
    with pytest.raises(UserError) as error:
        store.read(record.cell)
    assert f"{path} has record schema {SCHEMA + 1}, this version reads {SCHEMA}" in str(error.value)


@pytest.mark.parametrize("below", [".", "results/mine"])
def test_a_file_with_the_name_of_the_folder_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot write to .*: give --out a folder"):
        Store.open(tmp_path / "file" / below)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot write to .* \(Permission denied\)"):
        Store.open(tmp_path / "results")


def test_opening_again_keeps_the_records(store: Store) -> None:
    store.write(make_record())
    assert Store.open(store.folder).read_all() == [make_record()]
