"""No file that a user gives is executed: checkpoints and arrays are not unpickled."""

import ast
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.cli import main
from bench.errors import UserError
from bench.sam.state_dict import read_state_dict

ROOT = Path(__file__).parents[2]
RAN: list[str] = []


class Payload:
    """Runs a function when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return RAN.append, ("executed",)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    torch.save({"model": Payload()}, tmp_path / "new.pth")
    torch.save({"model": Payload()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Payload()))
    for name in ("new", "old", "plain"):
        with pytest.raises(UserError):
            read_state_dict(tmp_path / f"{name}.pth")
    assert RAN == []


def test_code_in_an_array_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    array = np.array([Payload()], dtype=object)
    np.save(tmp_path / "in" / "images.npy", array, allow_pickle=True)
    np.save(tmp_path / "in" / "masks.npy", array, allow_pickle=True)
    np.savez(tmp_path / "in" / "a.npz", image=array, label=array)
    assert main(["data", "import", str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert RAN == []


def test_nothing_is_unpickled_or_evaluated() -> None:
    """`torch.load` and `np.load` say so; `pickle.load`, `eval` and `exec` do not occur."""
    calls: list[str] = []
    for path in (ROOT / "bench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            settings = {word.arg: ast.unparse(word.value) for word in node.keywords}
            wrong = (
                name in ("eval", "exec", "os.system", "pickle.load", "pickle.loads", "yaml.load")
                or (name == "torch.load" and settings.get("weights_only") != "True")
                or (name == "np.load" and settings.get("allow_pickle") != "False")
                or settings.get("shell") == "True"
            )
            if wrong:
                calls.append(f"{path.name}: {ast.unparse(node)}")
    assert not calls
