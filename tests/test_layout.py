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
# Rooms of bench/ from top to bottom, each with the rooms it may import: only rooms further down.
# The modules that lie directly in bench/ are open to all of them.
ROOMS = {
    "cli": "choice "
    "contract verify report report.page report.conventions report.published report.tables"
    " report.plots report.compare report.records guard export predict run keep ask cost plugins sam"
    " data data.layouts data.public data.leakage",
    "api": "choice report.tables report.compare report.records run ask cost sam",
    "verify": "choice report report.page report.published report.compare report.records run ask"
    " evaluate metrics objects data stats",
    "choice": "report.plots report.records run ask cost plugins data stats",
    "report": "report.tables report.plots report.compare report.records",
    "report.page": "report.published report.tables report.plots report.compare report.records"
    " ask data",
    "report.conventions": "report.compare report.records run metrics data",
    "report.published": "report.tables report.compare report.records ask cost stats",
    "report.tables": "report.compare report.records stats",
    "report.plots": "report.compare report.records data",
    "report.compare": "report.records stats",
    "report.records": "",
    "contract": "run keep cost learn plugins sam data",
    "guard": "run ask cost learn plugins data stats",
    "export": "predict cost sam data",
    "predict": "run keep evaluate learn metrics objects sam data",
    "run": "ask keep cost evaluate learn plugins objects sam data",
    "ask": "evaluate learn plugins objects sam data data.leakage",
    "keep": "cost plugins objects sam data",
    "cost": "learn plugins objects sam data",
    "evaluate": "learn sam metrics data",
    "learn": "objects sam data",
    "nets": "sam",
    "sam.nano": "sam data data.folder draw",
    "sam.backbones": "sam data.public",
    "sam": "plugins data data.public",
    "plugins": "data data.layouts data.public data.folder",
    "metrics": "data",
    "objects": "data",
    "data.leakage": "data",
    "data.public": "data.folder data",
    "data.layouts": "data.folder data",
    "data.folder": "data",
    "data": "",
    "stats": "",
    "draw": "",
}
SHARED = ("bench.draw", "bench.data.nifti")  # public as a whole, for datasets
_DEEPEST = sorted(ROOMS, key=len, reverse=True)
# Names of parameters that do not say what they hold.
VAGUE = {"asked", "data", "found", "given", "info", "seen", "stuff", "thing", "things", "told"}
PRINTERS = ("bench/cli/", "bench/sam/nano/pretrain.py", "bench/sam/nano/evaluate.py")


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


def _room(name: str) -> str:
    """The room of a module or of a name in it; empty outside the rooms."""
    inside = name.removeprefix("bench.") if name.startswith("bench.") else ""
    return next((room for room in _DEEPEST if _inside(inside, (room,))), "")


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


def test_rooms_import_only_rooms_that_the_table_allows() -> None:
    rooms = {_room(_name(path)) for path in CORE if path.parent != ROOT / "bench"}
    assert rooms == set(ROOMS), "every room has its line in the table"
    offences = [
        f"{_name(path)} imports {name}"
        for path in CORE
        for name in _imports(path)
        if (room := _room(_name(path))) and (other := _room(name)) not in ("", room)
        if other not in ROOMS[room].split()
    ]
    assert not offences


def test_the_table_of_rooms_has_no_arrow_upwards() -> None:
    order = list(ROOMS)
    upwards = [
        (room, other)
        for room, allowed in ROOMS.items()
        for other in allowed.split()
        if order.index(other) <= order.index(room)
    ]
    assert not upwards


def test_no_room_is_allowed_an_import_that_it_does_not_make() -> None:
    made = {(_room(_name(path)), _room(name)) for path in CORE for name in _imports(path)}
    assert not [
        (room, other)
        for room, allowed in ROOMS.items()
        for other in allowed.split()
        if (room, other) not in made
    ]


def test_few_modules_lie_outside_the_rooms() -> None:
    assert len(list((ROOT / "bench").glob("*.py"))) <= 7


def test_plugins_do_not_import_what_drives_them() -> None:
    assert not _offences(PLUGINS, ("bench.cli", "bench.run", "run_bench"))


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


def test_module_names_say_what_is_inside() -> None:
    vague = "card critical everything kept likeness pace places present questions similarity"
    assert not [path for path in [*CORE, *PLUGINS] if path.stem in vague.split()]


def test_parameter_names_say_what_they_hold() -> None:
    vague = [
        f"{_name(path)}:{node.lineno} {node.arg}"
        for path in [*CORE, *PLUGINS]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.arg) and node.arg in VAGUE
    ]
    assert not vague, "name the value, as in comparison, request, records, notes"


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
    names = ["", ".spec", ".errors", ".data.items", ".plugins.registry", ".run.store", ".cli"]
    light = [f"bench{name}" for name in names]
    assert set(light) <= {*map(_name, CORE)}
    code = f"import sys, {', '.join(light)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_the_reference_report_links_to_files_that_are_here() -> None:
    folder = ROOT / "results" / "reference"
    links = re.findall(r"\]\(([^)]+)\)", (folder / "index.md").read_text())
    assert links
    assert [link for link in links if not (folder / link).exists()] == []


def test_tests_stay_on_this_machine() -> None:
    refused = pytest.raises(RuntimeError, match="without the mark `network` tried to reach")
    with socket.socket() as line, refused:
        line.connect(("192.0.2.1", 80))  # an address kept for documentation
