import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import make_folder

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
    assert set(declared["packages"]) == expected | set(declared["package-dir"])


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


METHOD = """
from torch import Tensor, nn

from bench import Task, register_method


@register_method("{name}", paper="https://example.org", lr=1e-3, from_scratch=True)
def build(task: Task) -> nn.Module:
    \"\"\"A convolution from another package.\"\"\"
    return nn.Conv2d(3, task.num_classes, 3, padding=1)
"""
TINY = "--weights random --image-size 64 --steps 2 --batch-size 2 --threads 1 --device cpu"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel, and nothing else of this project."""
    folder = tmp_path_factory.mktemp("wheel")
    source, site = folder / "source", folder / "site"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "tests")
    )
    pip = [sys.executable, "-m", "pip"]
    _run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)])
    (wheel,) = folder.glob("*.whl")
    _run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)])
    shutil.rmtree(source)
    return site


@pytest.fixture
def installed(site: Path, tmp_path: Path) -> Callable[..., str]:
    """Run the installed `sam-bench` in an empty folder and return what it prints."""

    def run(line: str, *others: Path) -> str:
        command = [sys.executable, str(site / "bin" / "sam-bench"), *line.split()]
        return _run(command, path=[site, *others], cwd=tmp_path)

    return run


@pytest.mark.slow
def test_the_wheel_holds_the_plugins_and_no_top_level_datasets(site: Path) -> None:
    assert {path.name for path in site.iterdir() if "-" not in path.name} == {"bench", "bin"}
    assert (site / "bench" / "py.typed").is_file()
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


@pytest.mark.slow
def test_the_wheel_lists_methods_and_suites_and_has_the_baseline(
    installed: Callable[..., str], site: Path
) -> None:
    listed = json.loads(installed("--list --json"))
    lora = next(method for method in listed["methods"] if method["name"] == "lora")
    assert lora["file"] == str(site / "bench" / "methods" / "lora.py")
    assert "samed-rank" in installed("suite list")
    shipped = site / "bench" / "results" / "reference" / "guard.json"
    assert shipped.read_bytes() == (ROOT / "results" / "reference" / "guard.json").read_bytes()
    code = "from bench.cli.guard import _default_baseline; print(_default_baseline())"
    assert _run([sys.executable, "-c", code], path=[site], cwd=Path("/")) == str(shipped)


@pytest.mark.slow
def test_the_wheel_runs_methods_of_its_own_of_a_package_and_of_a_folder(
    installed: Callable[..., str], tmp_path: Path
) -> None:
    make_folder(tmp_path / "mine")
    folder = tmp_path / "plugins" / "methods"
    folder.mkdir(parents=True)
    (folder / "anything.py").write_text(METHOD.format(name="from_folder"))
    other = tmp_path / "other_site"
    information = other / "other-1.0.dist-info"
    information.mkdir(parents=True)
    (other / "other_package.py").write_text(METHOD.format(name="from_package"))
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[sam_adapt_bench.methods]\nfrom_package = other_package\n"
    )
    names = "frozen_head,from_package,from_folder"
    installed(f"--methods {names} --dataset mine {TINY} --plugins plugins", other)
    records = (tmp_path / "results" / "local" / "records").glob("*.json")
    statuses = {}
    for record in map(json.loads, (path.read_text() for path in records)):
        statuses[record["cell"]["method"]] = record["status"]
    assert statuses == dict.fromkeys(names.split(","), "ok")
    checked = installed("check-method from_folder --plugins plugins").splitlines()
    assert len(checked) > 8
    assert all(line.startswith("ok ") for line in checked)


def _run(command: list[str], *, path: list[Path] | None = None, cwd: Path = ROOT) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path or []))}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
