import json
import re
from pathlib import Path

import numpy as np
import pytest

from bench import Task, UserError, cli
from bench.contract.datasets import check_dataset
from bench.contract.methods import check_method
from bench.guard.fingerprint import fingerprint
from bench.guard.measure import count_all, methods_of
from bench.plugins import registry

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the templates after each test."""
    monkeypatch.setattr(registry._METHODS, "entries", dict(registry._METHODS.entries))
    monkeypatch.setattr(registry._DATASETS, "entries", dict(registry._DATASETS.entries))


def _template(folder: str) -> str:
    text = (ROOT / folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    return str(code)


def _run_template(folder: str) -> None:
    exec(compile(_template(folder), f"{folder}/README.md", "exec"), {"__name__": "template"})


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin folder with both templates, as a user would write them."""
    monkeypatch.setenv("SAM_BENCH_PLUGINS", "")  # what --plugins adds is forgotten afterwards
    folder = tmp_path / "mine"
    for kind, name in (("methods", "mlp_scale"), ("datasets", "discs")):
        (folder / kind).mkdir(parents=True)
        (folder / kind / f"{name}.py").write_text(_template(kind))
    return folder


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


def test_the_template_adds_one_factor_for_each_channel_of_each_block(
    plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--plugins", str(plugins), "--methods", "mlp_scale", "--image-size", "64", "--json"]
    assert cli.main(["cost", *words]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert card["added_params"] == 4 * 96  # blocks and channels of sam_nano
    assert card["added_params"] < card["trainable_params"]


def test_the_templates_are_listed_and_have_a_fingerprint(
    plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("mlp_scale", "discs"):
        assert cli.main(["--plugins", str(plugins), "--list", name]) == 0
        assert name in capsys.readouterr().out
    assert methods_of("plugins") == ["mlp_scale"]
    counts, failures = count_all(["mlp_scale"])
    assert not failures
    assert counts["mlp_scale"]["encoder: trainable parameters"] == 4 * 96
    print_ = fingerprint(registry.get_method("mlp_scale"))
    assert print_.gradients["encoder: Scaled"][0] > 0


@pytest.mark.slow
def test_the_templates_go_through_every_command(
    plugins: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, out = ["--plugins", str(plugins)], ["--out", str(tmp_path / "out")]
    baseline = tmp_path / "mine.json"
    assert cli.main(["check-method", "mlp_scale", *mine]) == 0
    assert cli.main(["check-dataset", "discs", *mine]) == 0
    short = ["--image-size", "64", "--steps", "2", "--batch-size", "2", "--device", "cpu"]
    grid = ["--methods", "mlp_scale,decoder_only", "--dataset", "discs", "--seeds", "1", *short]
    assert cli.main([*grid, *mine, *out]) == 0
    assert cli.main(["report", *mine, *out]) == 0
    assert "mlp_scale" in next((tmp_path / "out").rglob("discs*.md")).read_text()
    assert cli.main(["guard", "--write", str(baseline), *mine]) == 0
    assert cli.main(["guard", "--baseline", str(baseline), *mine]) == 0
    assert "1 method compared, 0 trained, all as in" in capsys.readouterr().out
