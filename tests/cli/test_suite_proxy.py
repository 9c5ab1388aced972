"""`suite run proxy` and `suite ledger proxy` from the command line, on records that are given."""

from dataclasses import replace
from pathlib import Path

import pytest
from records import make_record

from bench.ask import proxy
from bench.ask.suites import SuiteChoice
from bench.cli import main
from bench.run.store import Store
from bench.spec import Record

REQUEST = {
    "backbones": "mobile_sam",
    "weights": "random",
    "image_size": 128,
    "steps": 2,
    "precision": "fp32",
}
WORDS = (
    "--dataset steel --seeds 1 --backbone mobile_sam --weights random --image-size 128 --steps 2"
    " --precision fp32"
)
OPTIONS = WORDS.split()


def _record(cell_number: int, base: Record) -> Record:
    dice = 0.9 - 0.01 * cell_number
    images = [
        {**row, **{f"overlap_px/{name}": dice for name in base.classes}}
        | {f"{part}_px/{name}": 1.0 for name in base.classes for part in ("truth", "predicted")}
        for row in base.per_image
    ]
    return replace(base, per_image=tuple(images))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    cells, _ = proxy.expand_proxy(SuiteChoice("steel", "1", REQUEST))
    for number, cell in enumerate(cells):
        Store(tmp_path).write(_record(number % 10, make_record(cell)))
    return tmp_path


def test_the_ledger_is_made_from_records_and_verified(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suite", "ledger", "proxy", *OPTIONS, "--out", str(results)]) == 0
    (path,) = results.glob("ledger/*.md")
    text = path.read_text()
    assert path.name == "proxy_steel_mobile_sam.md"
    assert "Mean tau over 1 dataset: **1.00 [1.00, 1.00]**" in text
    assert "The rankings of sam_nano and mobile_sam agree better than by chance" in text
    capsys.readouterr()
    main(["verify", "--results", str(results)])
    assert path.name not in capsys.readouterr().out
    path.write_text(text.replace("1.00", "0.90"))
    assert main(["verify", "--results", str(results)]) == 1
    assert path.name in capsys.readouterr().out


def test_the_suite_is_listed_and_runs_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["suite", "list"]) == 0
    assert "proxy" in capsys.readouterr().out
    assert main(["suite", "run", "proxy", "samed-rank", "--out", str(tmp_path)]) == 2
    assert "run the suite proxy alone" in capsys.readouterr().err
    assert main(["suite", "ledger", "proxy", *OPTIONS, "--out", str(tmp_path)]) == 0
    assert "Not known" in capsys.readouterr().out
