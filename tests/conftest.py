import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Set before torch is imported anywhere: one thread gives the same sums on every machine.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to leave this machine, except in tests marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _local_only(getattr(socket.socket, name)))


@pytest.fixture(autouse=True)
def own_results_about_files(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Remember results about files in a temporary folder, not in the cache of the user."""
    from bench.data import remember

    if "SAM_BENCH_CACHE" not in os.environ:
        folder = tmp_path_factory.getbasetemp() / "remembered"
        monkeypatch.setattr(remember, "cache_folder", lambda: folder)


@pytest.fixture(autouse=True)
def costs_computed_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not remember counts and predictions, which tests replace by others."""
    from bench.plugins import registry

    monkeypatch.setattr(registry, "is_built_in", lambda method: False)


@pytest.fixture(autouse=True)
def subnormal_numbers() -> Iterator[None]:
    """Keep numbers next to zero for the next test: a cell makes its process flush them to zero."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real labelled images, which are not part of the repository."""
    folder = Path(os.environ.get("SAM_BENCH_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real images: set SAM_BENCH_DATA to their folder")
    return folder


def _local_only(original: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        local = self.family == socket.AF_UNIX or address[0] in ("localhost", "127.0.0.1", "::1")
        if not local:
            raise RuntimeError(f"a test without the mark `network` tried to reach {address}")
        return original(self, address)

    return guarded
