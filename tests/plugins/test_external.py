"""Methods and datasets from plugin folders and from entry points of other packages."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bench import UserError, add_plugin_folder
from bench.plugins import discover, registry
from bench.plugins.discover import Plugins
from bench.plugins.folders import VARIABLE, plugin_folders
from bench.run.process import isolate

METHOD = '''
from bench import register_method


@register_method("{name}", paper="https://example.org", lr=1e-3)
def build(task):
    """{summary}"""
    return task
'''
DATASET = '''
from bench import register_dataset


@register_dataset("dots", classes=("ground", "dot"), source="drawn here", licence="CC0-1.0")
def dots():
    """Dots."""
    return []
'''


@pytest.fixture(autouse=True)
def registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two built-in methods in a temporary folder, and no plugins."""
    before = set(sys.modules)
    built_in = tmp_path / "built_in"
    write(built_in / "lora.py", "lora", "Built in.")
    write(built_in / "far_bridge.py", "far", "Built in.")
    package = ModuleType("built_in_methods")
    package.__path__ = [str(built_in)]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setattr(registry, "_METHODS", Plugins("method", package.__name__))
    monkeypatch.setattr(registry, "_DATASETS", Plugins("dataset", "bench.datasets"))
    monkeypatch.setenv(VARIABLE, "")
    discover._entry_points.cache_clear()
    yield
    discover._entry_points.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith(("built_in_methods.", "_sam_bench_plugins_", "made_distribution")):
            del sys.modules[name]


def write(path: Path, name: str, summary: str = "A method.") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(METHOD.format(name=name, summary=summary))
    return path


def names() -> list[str]:
    return [method.name for method in registry.list_methods()]


def test_a_plugin_folder_adds_methods_and_datasets(tmp_path: Path) -> None:
    file = write(tmp_path / "mine" / "methods" / "any_file.py", "scale", "Scales.")
    (tmp_path / "mine" / "datasets").mkdir()
    (tmp_path / "mine" / "datasets" / "dots.py").write_text(DATASET)
    add_plugin_folder(tmp_path / "mine")
    method = registry.get_method("scale")
    assert (method.summary, method.file) == ("Scales.", str(file))
    assert registry.load_collection("dots").classes == ("ground", "dot")
    assert names() == ["far", "lora", "scale"]
    assert [m.name for m in registry.list_methods(built_in_only=True)] == ["far", "lora"]


def test_several_folders_are_searched_in_order_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "methods" / f"{folder}.py", folder)
        write(tmp_path / folder / "methods" / "same.py", "same", f"From {folder}.")
    monkeypatch.setenv(VARIABLE, os.pathsep.join(map(str, (tmp_path / "a", tmp_path / "b"))))
    add_plugin_folder(tmp_path / "b")
    assert plugin_folders() == [tmp_path / "a", tmp_path / "b"]
    assert registry.get_method("same").summary == "From a."
    assert names() == ["a", "b", "far", "lora", "same"]
    (reason,) = registry.unavailable_methods().values()
    assert f"method 'same' is registered twice, in {tmp_path}/a/methods/same.py and in" in reason


@pytest.mark.parametrize("taken", ["lora", "far"])
def test_a_name_that_is_built_in_is_refused_and_both_places_are_named(
    tmp_path: Path, taken: str
) -> None:
    file = write(tmp_path / "mine" / "methods" / "aaa.py", taken, "Mine.")
    other = write(tmp_path / "mine" / "methods" / "other.py", "other")
    add_plugin_folder(other.parents[1])
    assert registry.get_method("other").name == "other"
    assert registry.get_method(taken).summary == "Built in."
    (reason,) = registry.unavailable_methods().values()
    assert f"'{taken}' is registered twice, in {tmp_path}/built_in/" in reason
    assert f"and in {file}: choose another name" in reason


def test_a_name_is_refused_though_the_built_in_file_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "built_in" / "lora.py").write_text("import not_installed")
    write(tmp_path / "mine" / "methods" / "mine.py", "lora")
    add_plugin_folder(tmp_path / "mine")
    assert names() == ["far"]
    assert "registered twice" in registry.unavailable_methods()["mine"]
    with pytest.raises(UserError, match="method 'lora' cannot be used here: No module named"):
        registry.get_method("lora")


def test_a_broken_plugin_is_listed_with_its_reason_and_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "methods"
    write(folder / "good.py", "good")
    (folder / "broken.py").write_text("import not_installed")
    (folder / "empty.py").write_text("")
    (folder / "_shared.py").write_text("1 / 0")
    add_plugin_folder(tmp_path / "mine")
    assert names() == ["far", "good", "lora"]
    assert registry.unavailable_methods() == {
        "broken": f"No module named 'not_installed' ({folder}/broken.py)",
        "empty": f"it registers no method ({folder}/empty.py)",
    }
    with pytest.raises(UserError, match="method 'broken' cannot be used here: No module"):
        registry.get_method("broken")


@pytest.mark.parametrize(
    ("make", "message"),
    [(False, "does not exist"), (True, "contains none of methods/, datasets/ and backbones/")],
)
def test_a_folder_without_plugins_is_refused(tmp_path: Path, make: bool, message: str) -> None:
    folder = tmp_path / "mine"
    if make:
        folder.mkdir()
    with pytest.raises(UserError, match=f"the plugin folder '.*mine' {message}: give --plugins "):
        add_plugin_folder(folder)


def test_processes_of_cells_find_the_folders(tmp_path: Path) -> None:
    isolate(report_folders, on_event=lambda event: None)  # the server runs from here on
    write(tmp_path / "mine" / "methods" / "scale.py", "scale")
    add_plugin_folder(tmp_path / "mine")
    events: list[list[str]] = []
    isolate(report_folders, on_event=events.append)
    assert events == [[str(tmp_path / "mine")]]


def report_folders(send: object) -> None:
    assert callable(send)
    send([str(folder) for folder in plugin_folders()])


def test_an_entry_point_adds_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "site" / "made_distribution.py", "bonus")
    info = tmp_path / "site" / "made_distribution-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-distribution\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sam_adapt_bench.methods]\nbonus = made_distribution\ngone = made_distribution_2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert registry.get_method("bonus").file == str(tmp_path / "site" / "made_distribution.py")
    assert names() == ["bonus", "far", "lora"]
    assert registry.unavailable_methods() == {
        "gone": "No module named 'made_distribution_2' (entry point gone = made_distribution_2)"
    }


def test_the_command_line_takes_plugin_folders_on_every_command(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "methods" / "scale.py", "scale")
    for words in (["cost", "--methods", "scales"], ["--methods", "scales", "--dataset", "steel"]):
        command = [sys.executable, "-m", "bench", *words, "--plugins", str(tmp_path / "mine")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert "no method 'scales'. Did you mean 'scale'?" in done.stderr
