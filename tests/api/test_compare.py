import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.api.compare import read_options
from bench.ask.request import Request
from bench.run.schedule import RunSettings

ROOT = Path(__file__).parents[2]
FIELDS = [field.name for field in (*dataclasses.fields(Request), *dataclasses.fields(RunSettings))]


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_is_described(name: str) -> None:
    assert re.search(rf"\b{name}\b", bench.compare.__doc__ or "")


def test_python_values_mean_what_the_command_line_writes() -> None:
    request, settings = read_options(
        {
            "methods": ["lora[rank=1|4]", "adapter"],
            "datasets": Path("mine"),
            "seeds": [3],
            "labels": [1, 5, "all"],
            "lr": 1,
            "checkpoint": "weights.pth",
            "timeout": 60,
            "retry": True,
        }
    )
    assert (request.methods, request.datasets) == ("lora[rank=1|4],adapter", "mine")
    assert list(request.seed_numbers) == [3]
    assert request.label_budgets == [1, 5, None]
    assert (request.lr, request.checkpoint) == (1, Path("weights.pth"))
    assert settings == RunSettings(timeout=60, retry=True)
    several, _ = read_options({"methods": "lora", "datasets": "steel", "seeds": 3})
    assert list(several.seed_numbers) == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stepz": 2}, r"no option 'stepz'\. Did you mean 'steps'\?"),
        ({"steps": "2"}, "steps is '2': give a value of type int"),
        ({"folds": True}, "folds is True: give a value of type int"),
        ({"retry": 1}, "retry is 1: give a value of type bool"),
        ({"checkpoint": 3}, "checkpoint is 3: give a value of type"),
        ({"threads": 0}, "--threads is 0: give a whole number"),
        ({"labels": None}, "labels is None: give text, a whole number or a list"),
        ({"seeds": 1.5}, r"seeds is 1\.5: give text, a whole number or a list"),
        ({"datasets": Path("a,b")}, "datasets has the path 'a,b': give a path without a comma"),
        ({"datasets": ["steel", Path("a,b")]}, "datasets has the path 'a,b'"),
        ({"seeds": 0}, "--seeds is 0: give a whole number from 1"),
        ({"datasets": "steal"}, "no dataset 'steal'. Did you mean 'steel'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.api.compare.warm_up", lambda: None)
    arguments: dict[str, Any] = {"methods": "lora", "datasets": "steel", **options}
    with pytest.raises(bench.UserError, match=message):
        bench.compare(**arguments, out=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_the_page_on_python_runs_as_a_plain_script(tmp_path: Path) -> None:
    """In a script without `if __name__ == "__main__"`: processes of cells do not start it again."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)
    assert len(blocks) > 3
    (tmp_path / "page.py").write_text("print('script starts')\n" + "\n".join(blocks))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "reference").symlink_to(ROOT / "results" / "reference")
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("script starts") == 1
    records = bench.load_results(tmp_path / "results" / "mine").records
    assert [record.status for record in records] == ["ok"] * 3
