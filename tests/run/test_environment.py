"""The description of the machine in a record."""

import pytest
import torch

from bench.run.environment import environment


def test_the_gpu_is_the_one_that_runs_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"cuda": "first", "cuda:0": "first", "cuda:1": "second"}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device="cuda": names[device])
    assert [environment(device)["gpu"] for device in (*names, "cpu")] == [*names.values(), None]
