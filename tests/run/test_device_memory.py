"""Free memory, and what fits into it."""

import os
import resource
from pathlib import Path

import pytest

from bench.cost.predict.gpus import judge
from bench.run import device_memory
from bench.run.device_memory import available_bytes, largest_run_peak, verdict_of

GIB = 2**30


def test_the_free_memory_is_that_of_the_machine_or_less() -> None:
    total = resource.getpagesize() * os.sysconf("SC_PHYS_PAGES")
    available = available_bytes("cpu")
    assert available is not None
    assert 0 < available <= total


def test_a_limit_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (used + 100 * 2**20, -1))
    available = available_bytes("cpu")
    assert available is not None
    assert available == pytest.approx(100 * 2**20, abs=8 * 2**20)


@pytest.mark.parametrize("version", [1, 2])
def test_the_smallest_limit_of_a_control_group_counts(tmp_path: Path, version: int) -> None:
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    base = tmp_path / "memory" if version == 1 else tmp_path
    unlimited = str(2**63 - 4096) if version == 1 else "max"
    for path, limit, used in (("", unlimited, 9), ("jobs", "1000", 400), ("jobs/mine", "900", 100)):
        folder = base / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\n{names[2]} 50\n")
    own = tmp_path / "own"
    own.write_text("4:memory:/jobs/mine\n3:cpu:/\n" if version == 1 else "0::/jobs/mine\n")
    left = sorted(device_memory._of_groups(tmp_path, own))
    assert left[:2] == [1000 - 400 + 50, 900 - 100 + 50]
    own.write_text("4:memory:/elsewhere\n0::/elsewhere\n")  # the path of the host in a container
    assert len(list(device_memory._of_groups(tmp_path, own))) == (version == 1)


def test_margins_decide_what_fits() -> None:
    for device in ("cpu", "cuda:0"):
        most = largest_run_peak(device, 8 * GIB, "largest")
        least = largest_run_peak(device, 8 * GIB, "smallest")
        assert most < least <= 8 * GIB
        verdicts = [
            verdict_of(device, peak, 8 * GIB) for peak in (most, most + 1, least, least + 1)
        ]
        assert verdicts == ["fits", "probably", "probably", "no"]


def test_the_context_of_cuda_is_not_subtracted_twice() -> None:
    """Free memory is measured next to the context, `judge` expects the whole memory."""
    whole, context = 24 * GIB, int(0.6 * GIB)
    peak = largest_run_peak("cuda", whole - context, "largest")
    assert [judge(peak, whole), judge(peak + 1, whole)] == ["fits", "probably"]
