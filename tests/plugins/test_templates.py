import re
from pathlib import Path

import numpy as np
import pytest

from bench import Task, UserError
from bench.contract.datasets import check_dataset
from bench.contract.methods import check_method
from bench.plugins import registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the templates after each test."""
    monkeypatch.setattr(registry._METHODS, "entries", dict(registry._METHODS.entries))
    monkeypatch.setattr(registry._DATASETS, "entries", dict(registry._DATASETS.entries))


def _run_template(folder: str) -> None:
    text = (ROOT / folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(code, f"{folder}/README.md", "exec"), {"__name__": "template"})


def test_the_method_of_the_readme_keeps_the_contract() -> None:
    _run_template("methods")
    method = registry.get_method("mlp_scale")
    assert method.options == {"start": 1.0, "blocks": "all"}
    task = Task(num_classes=3, image_size=64, weights="random")
    assert [outcome for outcome in check_method(method, task) if outcome.failure] == []
    model = method.build(task)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    scales = {name for name in trainable if name.endswith("mlp.scale")}
    assert len(scales) > 1
    assert all(name.startswith("head.") for name in trainable - scales)
    with pytest.raises(UserError, match="start must be above 0, not -1"):
        method.build(task, start=-1.0)


def test_the_dataset_of_the_readme_keeps_the_contract() -> None:
    _run_template("datasets")
    collection = registry.load_collection("discs")
    assert [one for one in check_dataset(registry.get_dataset("discs")) if one.failure] == []
    assert len({item.name for item in collection.items}) == 12
    assert len({item.group for item in collection.items}) == 4
    for item in collection.items:
        assert np.asarray(item.image).dtype == np.uint8
        assert set(np.unique(np.asarray(item.mask))) == {0, 1}
