import ast
import importlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import bench

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "bench").rglob("*.py"))
PLUGINS = sorted([*(ROOT / "methods").glob("*.py"), *(ROOT / "datasets").glob("*.py")])
# Below cli, above the rest.
TOP = ("bench.runner", "bench.isolate", "bench.report", "bench.store", "bench.verify")
SHARED = ("bench.data.texture", "bench.data.nifti")  # public as a whole, for datasets
PRINTERS = ("bench/cli/", "bench/sam/pretrain.py", "bench/sam/evaluate.py")


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _offences(paths: list[Path], forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{_name(path)} imports {name}"
        for path in paths
        for name in _imports(path)
        if _inside(name, forbidden)
    ]


def test_the_script_only_starts_the_command_line() -> None:
    assert list(_imports(ROOT / "run_bench.py")) == ["bench.cli.main"]


def test_nothing_imports_the_command_line() -> None:
    rest = [path for path in CORE if not _inside(_name(path), ("bench.cli",))]
    assert not _offences([*rest, *PLUGINS], ("bench.cli", "run_bench"))


def test_the_rest_knows_nothing_of_what_drives_it() -> None:
    rest = [path for path in CORE if not _inside(_name(path), ("bench.cli", *TOP))]
    assert not _offences(rest, TOP)


def test_measures_know_neither_registry_nor_store() -> None:
    measures = [path for path in CORE if _inside(_name(path), ("bench.metrics", "bench.cost"))]
    assert measures
    assert not _offences(measures, ("bench.registry", "bench.store"))


def test_the_core_names_no_plugin() -> None:
    assert not _offences(CORE, ("bench.methods", "bench.datasets", "methods", "datasets"))
    names = {path.stem for path in PLUGINS}
    named = [
        f"{_name(path)}:{node.lineno} '{node.value}'"
        for path in CORE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not named


@pytest.mark.parametrize("path", PLUGINS, ids=_name)
def test_plugins_import_public_names_only(path: Path) -> None:
    ours = [name for name in _imports(path) if _inside(name, ("bench",))]
    public = {f"bench.{name}" for name in bench.__all__}
    assert not [name for name in ours if name not in public and not _inside(name, SHARED)]
    others = tuple(other.stem for other in PLUGINS)
    assert not _offences([path], ("methods", "datasets", *others))


def test_plugin_folders_are_no_packages_and_names_are_unique() -> None:
    stems = [path.stem for path in PLUGINS]
    assert "__init__" not in stems
    assert len(stems) == len(set(stems))
    taken = set(sys.stdlib_module_names) | set(metadata.packages_distributions())
    assert not set(stems) & taken, "a type checker would take one for the other"


def test_no_drawer_for_odds_and_ends() -> None:
    odd = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert not [path for path in [*CORE, *PLUGINS] if path.stem in odd]


def test_only_the_command_line_prints() -> None:
    printing = {
        str(path.relative_to(ROOT))
        for path in [*CORE, *PLUGINS]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in ("print", "pprint")
    }
    assert all(path.startswith(PRINTERS) for path in printing), printing


def test_public_names_are_where_the_type_checker_sees_them() -> None:
    tree = ast.parse((ROOT / "bench" / "__init__.py").read_text())
    seen = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen == bench._HOME
    for name, module in bench._HOME.items():
        assert getattr(bench, name) is getattr(importlib.import_module(module), name)
    assert set(bench.__all__) <= set(dir(bench))
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'nothing'"):
        bench.nothing  # noqa: B018


def test_starting_up_does_not_import_torch() -> None:
    names = ["", ".spec", ".errors", ".data.items", ".registry", ".store", ".cli"]
    light = [f"bench{name}" for name in names if f"bench{name}" in map(_name, CORE)]
    code = f"import sys, {', '.join(light)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_the_reference_report_links_to_files_that_are_here() -> None:
    folder = ROOT / "results" / "reference"
    links = re.findall(r"\]\(([^)]+)\)", (folder / "index.md").read_text())
    assert links
    assert [link for link in links if not (folder / link).is_file()] == []


def test_tests_stay_on_this_machine() -> None:
    refused = pytest.raises(RuntimeError, match="without the mark `network` tried to reach")
    with socket.socket() as line, refused:
        line.connect(("192.0.2.1", 80))  # an address kept for documentation
