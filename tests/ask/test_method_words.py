import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench import UserError, register_method
from bench.ask.method_words import parse_methods
from bench.plugins import registry
from bench.plugins.discover import Plugins


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two methods, in place of the project's own."""
    folder = ModuleType("no_methods")
    folder.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "no_methods", folder)
    monkeypatch.setattr(registry, "_METHODS", Plugins("method", "no_methods"))

    def lora(
        task: Any, *, rank: int = 4, alpha: float = 4.0, targets: str = "qv", bias: bool = False
    ) -> Any:
        return task

    def zero_shot(task: Any) -> Any:
        return task

    for build in (lora, zero_shot):
        register_method(build.__name__, paper="", lr=None)(build)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lora", [("lora", {})]),
        (" lora , zero_shot ", [("lora", {}), ("zero_shot", {})]),
        ("lora[rank=8]", [("lora", {"rank": 8})]),
        ("lora[rank=4]", [("lora", {"rank": 4})]),
        ("lora[rank=4],lora,lora[rank=4|4]", [("lora", {"rank": 4}), ("lora", {})]),
        ("lora[]", [("lora", {})]),
        ("lora[bias=True,alpha=1e1]", [("lora", {"bias": True, "alpha": 10.0})]),
        (
            "lora[rank=1|4,targets=qv|qkvo],zero_shot",
            [
                ("lora", {"rank": 1, "targets": "qv"}),
                ("lora", {"rank": 1, "targets": "qkvo"}),
                ("lora", {"rank": 4, "targets": "qv"}),
                ("lora", {"rank": 4, "targets": "qkvo"}),
                ("zero_shot", {}),
            ],
        ),
    ],
)
def test_method_texts_expand(text: str, expected: list[tuple[str, dict[str, Any]]]) -> None:
    points = parse_methods(text)
    assert [(method.name, options) for method, options in points] == expected
    for method, options in points:
        assert all(type(value) is type(method.options[key]) for key, value in options.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lorra", r"no method 'lorra'. Did you mean 'lora'\? Known: lora, zero_shot"),
        ("lora[rnk=2]", "lora has no option 'rnk'; it has rank, alpha, targets, bias"),
        ("zero_shot[rank=2]", "zero_shot has no option 'rank'; it has none"),
        ("lora[rank=four]", "option 'rank' of lora must be a whole number, not 'four'"),
        ("lora[rank=1.5]", "option 'rank' of lora must be a whole number, not '1.5'"),
        ("lora[rank=]", "option 'rank' of lora must be a whole number, not ''"),
        ("lora[alpha=nan]", "option 'alpha' of lora is nan: give a number from"),
        ("lora[bias=2]", "option 'bias' of lora must be true or false, not '2'"),
        ("lora[rank]", "give option 'rank' of lora once"),
        ("lora[rank=1,rank=2]", "give option 'rank' of lora once"),
        ("lora[rank=1,zero_shot", r"cannot read the method 'lora\[rank=1'.*every bracket closed"),
        ("lora[rank=1,lora[rank=2]", r"cannot read the method 'lora\[rank=1'"),
        ("lora,", "cannot read the method ''"),
        ("", "cannot read the method ''"),
    ],
)
def test_method_texts_with_a_mistake(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_methods(text)
