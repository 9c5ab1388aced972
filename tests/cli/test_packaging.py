import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from bench.plugins.registry import list_datasets, list_methods

ROOT = Path(__file__).parents[2]

# Hugging Face's `datasets` shares its name with a folder of ours. `-S` hides site-packages, so
# that its absence, and a stand-in for it, can be tested wherever the real one is installed.
WHERE = """
import importlib.util
import multiprocessing
import bench

def where():
    spec = importlib.util.find_spec("datasets")
    return None if spec is None else spec.origin

if __name__ == "__main__":
    try:
        import datasets
        print(datasets.__file__)
    except ModuleNotFoundError as error:
        print(error)
    print(where())
    for start in ("spawn", "forkserver"):
        with multiprocessing.get_context(start).Pool(1) as pool:
            print(pool.apply(where))
    print(importlib.util.find_spec("methods"))
    print([list(importlib.import_module(f"bench.{n}").__path__) for n in ("methods", "datasets")])
"""
FOLDERS = str([[str(ROOT / "methods")], [str(ROOT / "datasets")]])


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["run_bench.py"], "run_bench.py"),
        (["-m", "bench"], "python -m bench"),
        (["-c", "from bench.cli import main; main()"], "sam-bench"),
    ],
)
def test_help_and_errors_name_the_program_that_was_called(command: list[str], name: str) -> None:
    shown = _run([sys.executable, *command, "cost", "--help"])
    assert shown.startswith(f"usage: {name} cost [-h]")
    done = subprocess.run(
        [sys.executable, *command, "data", "list", "--speed"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == f"error: unrecognized arguments: --speed; see {name} data --help\n"


def test_the_version_is_that_of_the_project() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert _run([sys.executable, "-m", "bench", "--version"]) == f"sam-adapt-bench {declared}"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script" / "where.py"
    path.parent.mkdir()
    path.write_text(WHERE)
    return path


def test_every_package_is_in_the_wheel() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "bench").rglob("*.py")}
    expected = {".".join(folder.parts) for folder in folders}
    assert set(declared["packages"]) == expected | {"bench.methods", "bench.datasets"}


@pytest.mark.parametrize("link", [False, True], ids=["checkout", "link to the checkout"])
def test_our_folder_is_not_taken_for_an_absent_library(
    script: Path, tmp_path: Path, link: bool
) -> None:
    root = ROOT
    if link:
        root = tmp_path / "linked"
        root.symlink_to(ROOT)
    told = _run([sys.executable, "-S", str(script)], path=[root]).splitlines()
    assert told == ["No module named 'datasets'", "None", "None", "None", "None", FOLDERS]


@pytest.mark.parametrize("first", ["checkout", "library"])
def test_our_folder_does_not_hide_a_library(script: Path, tmp_path: Path, first: str) -> None:
    library = tmp_path / "site" / "datasets" / "__init__.py"
    library.parent.mkdir(parents=True)
    library.touch()
    path = [ROOT, tmp_path / "site"]
    told = _run(
        [sys.executable, "-S", str(script)], path=path if first == "checkout" else path[::-1]
    ).splitlines()
    assert told == [str(library)] * 4 + ["None", FOLDERS]


@pytest.mark.slow
@pytest.mark.parametrize("installed", [True, False], ids=["present", "absent"])
def test_hugging_face_from_the_checkout(tmp_path: Path, installed: bool) -> None:
    for name in ("peft", "transformers", "datasets"):
        pytest.importorskip(name)
    site = tmp_path / "site"
    site.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if installed or not entry.name.startswith("datasets"):
            (site / entry.name).symlink_to(entry)
    code = (
        "import bench, peft, transformers.trainer, importlib.util as util\n"
        "spec = util.find_spec('datasets')\n"
        "print(spec and spec.origin, transformers.utils.is_datasets_available())"
    )
    told = _run([sys.executable, "-S", "-c", code], path=[ROOT, site]).splitlines()[-1]
    expected = f"{site / 'datasets' / '__init__.py'} True" if installed else "None False"
    assert told == expected


@pytest.mark.slow
def test_the_wheel_holds_the_plugins_and_no_top_level_datasets(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "results", "tests"),
    )
    pip = [sys.executable, "-m", "pip"]
    _run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)])
    (wheel,) = tmp_path.glob("*.whl")
    _run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)])
    assert {path.name for path in site.iterdir() if "-" not in path.name} == {"bench", "bin"}
    listed = _run(
        [
            sys.executable,
            "-c",
            "import bench, bench.methods, bench.datasets\n"
            "from bench.plugins.registry import *\n"
            "print(bench.__file__)\n"
            "print([m.name for m in list_methods()], [d.name for d in list_datasets()])\n"
            "print(unavailable_methods(), unavailable_datasets())\n",
        ],
        path=[site],
        cwd=Path("/"),
    ).splitlines()
    assert listed[0] == str(site / "bench" / "__init__.py")
    names = [[m.name for m in list_methods()], [d.name for d in list_datasets()]]
    assert listed[1:] == [f"{names[0]} {names[1]}", "{} {}"]


def _run(command: list[str], *, path: list[Path] | None = None, cwd: Path = ROOT) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path or []))}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
