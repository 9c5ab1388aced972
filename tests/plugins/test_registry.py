import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench import Item, UserError, register_dataset, register_method
from bench.plugins import registry
from bench.plugins.discover import Plugins
from bench.spec import Task

LORA = '''
from bench import Task, register_method


@register_method("lora", paper="https://arxiv.org/abs/2106.09685", lr=1e-3)
def lora(task: Task, *, rank: int = 4, alpha: float = 4.0, targets: str = "qv", bias: bool = False):
    """Low-rank updates.

    More about it.
    """
    return task, rank, alpha, targets, bias
'''

ZERO_SHOT = """
from bench import register_method


@register_method("zero_shot", paper="https://arxiv.org/abs/2304.02643", lr=None, prompts="oracle")
def zero_shot(task):
    return task
"""

SQUARES = '''
import numpy as np
from bench import Item, register_dataset


@register_dataset("squares", classes=("ground", "square"), source="drawn here", licence="CC0-1.0")
def squares():
    """Two white squares."""
    return [Item(str(i), np.zeros((8, 8), "uint8"), np.eye(8, dtype="uint8"), "a") for i in (0, 1)]
'''


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Plugin packages in a temporary folder, in place of the project's own."""
    for kind, attribute in (("method", "_METHODS"), ("dataset", "_DATASETS")):
        package = ModuleType(f"made_{kind}s")
        package.__path__ = [str(tmp_path / f"{kind}s")]
        (tmp_path / f"{kind}s").mkdir()
        monkeypatch.setitem(sys.modules, package.__name__, package)
        monkeypatch.setattr(registry, attribute, Plugins(kind, package.__name__))
    (tmp_path / "methods" / "lora.py").write_text(LORA)
    (tmp_path / "methods" / "zero_shot.py").write_text(ZERO_SHOT)
    (tmp_path / "datasets" / "squares.py").write_text(SQUARES)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("made_methods.", "made_data"))]:
        del sys.modules[name]


def test_a_method_is_found_with_what_its_file_says() -> None:
    method = registry.get_method("lora")
    assert (method.lr, method.prompts) == (1e-3, "none")
    assert method.paper == "https://arxiv.org/abs/2106.09685"
    assert method.summary == "Low-rank updates."
    assert method.options == {"rank": 4, "alpha": 4.0, "targets": "qv", "bias": False}
    built: Any = method.build(Task(2), rank=8)
    assert built == (Task(2), 8, 4.0, "qv", False)


def test_only_the_method_asked_for_is_imported() -> None:
    registry.get_method("lora")
    assert "made_methods.lora" in sys.modules
    assert "made_methods.zero_shot" not in sys.modules


def test_methods_are_listed_by_name() -> None:
    assert [method.name for method in registry.list_methods()] == ["lora", "zero_shot"]
    assert registry.get_method("zero_shot").lr is None


def test_a_name_is_registered_once() -> None:
    register = register_method("lora", paper="", lr=None)

    def build(task: Any) -> Any:
        return task

    assert register(build) is build
    with pytest.raises(ValueError, match="method 'lora' is registered twice"):
        register(build)


def test_an_option_needs_a_default_to_take_its_type_from() -> None:
    def build(task: Any, *, rank: int) -> Any:
        return task, rank

    with pytest.raises(ValueError, match="option 'rank' of method 'x' needs a default"):
        register_method("x", paper="", lr=None)(build)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import not_installed", "No module named 'not_installed'"),
        (f"{LORA}\n1 / 0", "ZeroDivisionError: division by zero"),
        ("import this is no python", "SyntaxError: invalid syntax"),
    ],
)
def test_a_broken_plugin_is_told_and_leaves_the_others_alone(
    folders: Path, body: str, reason: str
) -> None:
    (folders / "methods" / "broken.py").write_text(body)
    assert [method.name for method in registry.list_methods()] == ["lora", "zero_shot"]
    told = registry.unavailable_methods()
    assert list(told) == ["broken"]
    assert told["broken"].startswith(reason)
    with pytest.raises(UserError, match=f"method 'broken' cannot be used here: {reason}"):
        registry.get_method("broken")


def test_a_broken_dataset_is_told(folders: Path) -> None:
    (folders / "datasets" / "broken.py").write_text("import not_installed")
    assert [dataset.name for dataset in registry.list_datasets()] == ["squares"]
    assert registry.unavailable_datasets() == {"broken": "No module named 'not_installed'"}
    with pytest.raises(UserError, match="dataset 'broken' cannot be used here"):
        registry.load_collection("broken")


def test_a_registered_dataset_becomes_a_collection() -> None:
    collection = registry.load_collection("squares")
    assert collection.name == "squares"
    assert collection.classes == ("ground", "square")
    assert collection.licence == "CC0-1.0"
    assert not collection.images_may_be_shown
    assert [item.name for item in collection.items] == ["0", "1"]
    assert np.asarray(collection.items[0].mask).shape == (8, 8)


def test_a_dataset_is_registered_once() -> None:
    register = register_dataset("x", classes=("a", "b"), source="", licence="")

    def load() -> list[Item]:
        return []

    assert register(load) is load
    with pytest.raises(ValueError, match="dataset 'x' is registered twice"):
        register(load)


def test_neither_dataset_nor_folder() -> None:
    message = r"no dataset 'sqares'. Did you mean 'squares'\? Known: squares; or give the path"
    with pytest.raises(UserError, match=message):
        registry.load_collection("sqares")


def test_a_method_in_a_broken_file_with_a_longer_name_tells_why(folders: Path) -> None:
    (folders / "methods" / "far_bridge.py").write_text("import not_installed")
    with pytest.raises(UserError, match="method 'far' cannot be used here: No module named"):
        registry.get_method("far")
