"""Costs that follow from shapes are remembered between processes."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cost import remember
from bench.cost.remember import remembered
from bench.plugins import registry
from bench.plugins.registry import get_method

IS_BUILT_IN = registry.is_built_in  # before tests/conftest.py replaces it


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.remember.cache_folder", lambda: tmp_path)
    monkeypatch.setattr(registry, "is_built_in", IS_BUILT_IN)


class Counter:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> list[int]:
        self.calls += 1
        return [self.calls]


def test_equal_settings_are_computed_once() -> None:
    compute, lora = Counter(), get_method("lora")
    assert remembered("counts", lora, ("lora", 0.1), compute) == [1]
    assert remembered("counts", lora, ("lora", 0.1), compute) == [1]
    assert remembered("counts", lora, ("lora", 0.2), compute) == [2]
    assert remembered("memory", lora, ("lora", 0.1), compute) == [3]


@pytest.mark.parametrize("changed", ["library", "source", "processor"])
def test_another_program_computes_again(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, lora = Counter(), get_method("lora")
    remembered("counts", lora, "settings", compute)
    remember._code.cache_clear()
    if changed == "library":
        monkeypatch.setattr(remember, "_LIBRARIES", (*remember._LIBRARIES, "pytest"))
    elif changed == "source":
        monkeypatch.setattr(remember, "_PACKAGE", remember._PACKAGE / "cost")
    else:
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "older")
    assert remembered("counts", lora, "settings", compute) == [2]
    remember._code.cache_clear()


def test_plugins_are_computed_each_time() -> None:
    compute, plugin = Counter(), replace(get_method("lora"), file="plugins/lora.py")
    assert remembered("counts", plugin, "settings", compute) == [1]
    assert remembered("counts", plugin, "settings", compute) == [2]


def test_errors_are_not_remembered() -> None:
    def fail() -> None:
        raise ValueError("no shape")

    lora = get_method("lora")
    for _ in range(2):
        with pytest.raises(ValueError, match="no shape"):
            remembered("counts", lora, "settings", fail)
    assert remembered("counts", lora, "settings", Counter()) == [1]
