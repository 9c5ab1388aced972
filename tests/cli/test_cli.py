import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import make_folder
from in_process import run_cells_here
from PIL import Image
from records import make_cell, make_record
from torch import Tensor, nn

from bench import Task, UnsupportedError, cli, register_method
from bench.cli.cells import varying_columns
from bench.plugins import registry
from bench.run import schedule
from bench.run.process import ProcessDiedError
from bench.run.store import Store
from bench.sam import backbone
from bench.spec import Cell, Recipe, Record

ROOT = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]
TINY = [
    *("--weights", "random", "--image-size", "64", "--threads", "1"),
    *("--steps", "2", "--batch-size", "2", "--no-predict"),
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, a wide screen, and no process started in advance."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(schedule, "start_server", lambda *modules: None)


@pytest.fixture
def mine() -> Path:
    return make_folder(Path("mine"))


def ask(line: str, *words: str) -> int:
    """Run the command line on methods and folder `mine`, tiny."""
    return cli.main([*line.split(), "--dataset", "mine", *TINY, *words])


# Mistakes


def empty() -> None:
    Path("mine").rename("kept")
    Path("mine").mkdir()


def without_mask() -> None:
    for number in range(3, 8):
        Path(f"mine/masks/image_{number}.png").unlink()


def other_size() -> None:
    Image.new("L", (10, 10)).save("mine/masks/image_3.png")


def other_values() -> None:
    Path("mine/classes.json").write_text(json.dumps({"ground": 0, "object": 1}))


def unreadable() -> None:
    Path("mine/images/image_3.png").write_bytes(b"no image")


def garbage_checkpoint() -> None:
    Path("weights.pth").write_bytes(b"no weights")


def other_checkpoint() -> None:
    torch.save({"layer.weight": torch.zeros(2, 2)}, "weights.pth")


def no_cuda() -> None:
    assert not torch.cuda.is_available()


def file_as_results() -> None:
    Path("results").write_text("mine")


def nothing() -> None:
    pass


LORA = "--methods lora"
MISTAKES: list[tuple[str, Callable[[], None], str]] = [
    ("--methods lorra", nothing, r"no method 'lorra'\. Did you mean 'lora'\? Known: adapter, "),
    ("--methods lora[rnk=2]", nothing, r"lora has no option 'rnk'; it has rank, alpha, "),
    ("--methods lora[rank=0]", nothing, r"rank 0 is too small: give 1 or more"),
    ("--methods lora[rank=2.5]", nothing, r"option 'rank' of lora must be a whole number, not"),
    ("--methods lora[targets=xyz]", nothing, r"targets 'xyz' .* any of the letters q, k, v, o"),
    (
        "--methods lora[blocks=9-12]",
        nothing,
        r"blocks '9-12': this encoder has no block 12, only 0-3",
    ),
    ("--methods lora[rank=1", nothing, r"cannot read the method .* with every bracket closed"),
    ("--methods adapter[bottleneck=0]", nothing, r"bottleneck 0 is too small: give 1 or more"),
    (f"{LORA} --backbone sam_nanno", nothing, r"no backbone 'sam_nanno'\. Did you mean 'sam_nan"),
    (f"{LORA} --protocol foo", nothing, r"no protocol 'foo'\. Known: equal"),
    (f"{LORA} --precision fp8", nothing, r"no precision 'fp8'.* Known: bf16, fp32"),
    (f"{LORA} --weights foo", nothing, r"--weights is pretrained or random, not 'foo'; for a file"),
    (f"{LORA} --seeds x", nothing, r"--seeds is x: give a whole number from 1 to 10,000"),
    (
        f"{LORA} --seeds 0",
        nothing,
        r"--seeds is 0: give a whole number from 1 to 10,000",
    ),
    (f"{LORA} --seeds 4294967296,1", nothing, r"a seed of --seeds is 4294967296: give"),
    (f"{LORA} --labels 0", nothing, r"--labels is 0: give a whole number from 1"),
    (f"{LORA} --labels 99", nothing, r"99 labelled images .* has \d; give 1 to \d"),
    (f"{LORA} --labels ,", nothing, r"--labels is ',': give names or values"),
    (f"{LORA} --folds 99", nothing, r"'mine' has too few specimen groups .* 8 for 99 parts; add"),
    (
        f"{LORA} --folds x",
        nothing,
        r"--folds is x: give a whole number from 1 to 10,000 \(.*\); see sam-bench --help",
    ),
    (f"{LORA} --steps 0", nothing, r"--steps is 0: give a whole number from 1 to 10,000,000"),
    (f"{LORA} --batch-size 0", nothing, r"--batch-size is 0: give a whole number from 1"),
    (f"{LORA} --evaluation tile", nothing, r"no evaluation 'tile'\. Did you mean 'tiles'"),
    (f"{LORA} --augmentation flip", nothing, r"no augmentation 'flip'.* standard"),
    (f"{LORA} --lr 0", nothing, r"--lr is 0: give a number above 0"),
    (f"{LORA} --lr 1e-3|much", nothing, r"--lr is much: give a number above 0, up to 1,000"),
    (f"{LORA} --threads 0", nothing, r"--threads is 0: give a whole number from 1 to 1,024"),
    (f"{LORA} --timeout 0", nothing, r"--timeout is 0: give a number above 0, up to"),
    (f"{LORA} --timeout nan", nothing, r"--timeout is nan: give a number above 0, up to"),
    (f"{LORA} --image-size 100", nothing, r"image size 100 does not fit .* give a multiple of 8"),
    (f"{LORA} --epochs 1", nothing, r"--epochs and --steps both set the length of training: give"),
    (f"{LORA} --device gpu", nothing, r"device 'gpu' is not available: give all, cpu"),
    (f"{LORA} --device cuda", no_cuda, r"device 'cuda' is not available: give all, cpu"),
    (f"{LORA} --speed 9", nothing, r"unrecognized arguments: --speed 9; see sam-bench --help"),
    (f"{LORA} twice", nothing, r"unrecognized arguments: twice; see sam-bench --help"),
    (f"{LORA} --out", nothing, r"argument --out: expected one argument; see sam-bench --help"),
    ("", nothing, r"--methods is missing: see --list for names"),
    (LORA, empty, r"'mine' is empty; it needs a folder images/ \(or image/\)"),
    (LORA, without_mask, r"5 of 8 images have no mask, such as '.*image_3.png'; add the masks"),
    (LORA, other_size, r"image_3' is 48 x 40 pixels .* 10 x 10; make them the same size"),
    (LORA, other_values, r"mask '.*' holds 255, but only 0, 1.* are declared; correct the mask"),
    (LORA, unreadable, r"cannot read '.*image_3.png' as an image .*; replace or remove the file"),
    (LORA, file_as_results, r"cannot write to results/local .*: give --out a folder"),
    (f"{LORA} --out mine/images/image_1.png/x", nothing, r"cannot write to mine/.*: give --out a"),
]


@pytest.mark.parametrize(
    ("line", "prepare", "told"),
    MISTAKES,
    ids=[f"{line} {prepare.__name__}" for line, prepare, _ in MISTAKES],
)
def test_a_mistake_is_told_in_one_sentence_and_nothing_is_written(
    line: str, prepare: Callable[[], None], told: str, mine: Path, capsys: Captured
) -> None:
    prepare()
    before = contents()
    check_mistake([*TINY, "--dataset", "mine", *line.split()], told, capsys)
    assert contents() == before


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (LORA, r"--dataset is missing: see --list for names"),
        (f"{LORA} --dataset steal", r"no dataset 'steal'\. Did you mean 'steel'\? .* a folder"),
        (f"{LORA} --dataset ,", r"--dataset is ',': give names or values"),
        ("report", r"no records in results/local: run some methods first, or give --out FOLDER"),
        ("report --out mine", r"no records in mine: run some methods first"),
        ("report --fast", r"unrecognized arguments: --fast; see sam-bench report --help"),
    ],
)
def test_a_mistake_in_what_to_work_on(line: str, told: str, mine: Path, capsys: Captured) -> None:
    before = contents()
    check_mistake(line.split(), told, capsys)
    assert contents() == before


@pytest.mark.parametrize(
    ("prepare", "words", "told"),
    [
        (nothing, "", r"no checkpoint at weights.pth: give --checkpoint an existing"),
        (garbage_checkpoint, "", r"cannot read the checkpoint weights.pth: it is damaged, or"),
        (other_checkpoint, "", r"weights.pth does not fit sam_nano \(\d+ tensors missing"),
        (other_checkpoint, "--weights random", r"--weights random and --checkpoint exclude each"),
    ],
)
def test_a_checkpoint_that_cannot_be_used(
    prepare: Callable[[], None], words: str, told: str, mine: Path, capsys: Captured
) -> None:
    prepare()
    before = contents()
    line = f"{LORA} --dataset mine --image-size 64 --checkpoint weights.pth {words}"
    check_mistake(line.split(), told, capsys)
    assert contents() == before


def test_no_pretrained_weights(
    mine: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = replace(backbone.get_backbone("sam_nano"), name="bare", weights=None)
    monkeypatch.setitem(backbone._BACKBONES.entries, "bare", bare)
    told = r"no pretrained weights for bare here: give --checkpoint FILE, or --weights random"
    check_mistake(f"{LORA} --dataset mine --backbone bare".split(), told, capsys)


def test_a_file_that_is_no_record_stops_the_run_at_once(mine: Path, capsys: Captured) -> None:
    store = Store.open(Path("results/local"))
    (store.folder / "records" / "x.json").write_text("{")
    for words in ([*LORA.split(), "--dataset", "mine", *TINY], ["report"]):
        check_mistake(words, r"x\.json is not a record .*: move the file away", capsys)
    assert (store.folder / "records" / "x.json").read_text() == "{"


def test_conventions_need_records(capsys: Captured) -> None:
    check_mistake(["conventions", "nowhere"], "no record in nowhere: give files such as", capsys)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("preview", "the following arguments are required: name"),
        ("preview steel --out a.jpg", r"--out is 'a\.jpg': give a file that ends in \.png"),
        ("preview steel --augmentation flip", "no augmentation 'flip'"),
        ("preview steal", "no dataset 'steal'"),
    ],
)
def test_a_preview_that_cannot_be(line: str, told: str, capsys: Captured) -> None:
    check_mistake(["data", *line.split()], told, capsys)


def test_a_preview_is_a_picture(mine: Path, capsys: Captured) -> None:
    assert cli.main(["data", "preview", "mine", "--image-size", "32", "--out", "made/a.png"]) == 0
    with Image.open("made/a.png") as picture:
        assert picture.format == "PNG"
    within = "data preview mine --image-size 32 --out made/a.png/b.png"
    check_mistake(
        within.split(), "cannot write 'made/a.png/b.png' .* choose another folder", capsys
    )


def check_mistake(words: list[str], told: str, capsys: Captured) -> None:
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert err.count("\n") == 1
    assert re.match(rf"error: .*{told}", err), err


def contents() -> dict[Path, int]:
    """Every file and folder below the working folder, with its size and time of change."""
    return {path: path.stat().st_mtime_ns for path in sorted(Path().rglob("*"))}


def records() -> dict[Path, int]:
    """Every record, with its time of change."""
    return {path: when for path, when in contents().items() if path.parent.name == "records"}


# Help, lists and dry runs


def test_help_is_quick_and_does_without_torch() -> None:
    code = (
        "import resource, sys\nfrom bench.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "print([name for name in ('torch', 'pandas', 'matplotlib') if name in sys.modules])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert told[0].startswith("usage: sam-bench --methods LIST --dataset LIST")
    commands = {line.split()[0] for line in told if line.startswith("  ") and line.strip()}
    assert set(cli.COMMANDS) <= commands
    assert told[-2] == "[]"
    assert float(told[-1]) < 1.5  # seconds of CPU


def test_the_list_shows_what_there_is_and_why_something_is_not(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"sam9": "No module named 'sam9' [yet]"}
    monkeypatch.setattr(registry._METHODS, "unavailable", broken)
    assert cli.main(["--list"]) == 0
    out = capsys.readouterr().out
    for name in ("lora", "rank=4", "targets=qv", "steel", "path/to/folder", "sam_nano", "256 px"):
        assert name in out
    assert "unavailable sam9: No module named 'sam9' [yet]" in out


def test_the_list_shows_one_entry_in_full(capsys: Captured) -> None:
    assert cli.main(["--list", "lora"]) == 0
    out = capsys.readouterr().out
    for text in (
        "lora (method)", "Hu et al., 2021", "https://arxiv.org/abs/2106.09685",
        "rank=4 (int)", "learning rate         0.003", str(ROOT / "methods" / "lora.py"),
    ):  # fmt: skip
        assert text in out
    assert "med_sa" not in out
    assert cli.main(["--list", "sam_nano"]) == 0
    assert "sam_nano (backbone)" in capsys.readouterr().out
    assert cli.main(["--list", "lorra"]) == 2
    assert "no method, dataset or backbone 'lorra'. Did you mean" in capsys.readouterr().err


def test_the_list_is_printed_as_json(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry._METHODS, "unavailable", {"sam9": "a reason"})
    assert cli.main(["--list", "--json"]) == 0
    everything = json.loads(capsys.readouterr().out)
    lora = next(one for one in everything["methods"] if one["name"] == "lora")
    assert lora["options"][0] == {"name": "rank", "type": "int", "default": 4}
    assert lora["published"]["optimizer"] == "adam"
    steel = next(one for one in everything["datasets"] if one["name"] == "steel")
    assert steel["classes"] == ["matrix", "carbide network", "spheroidite"]
    assert {one["name"]: one["image_size"] for one in everything["backbones"]}["sam_nano"] == 256
    assert everything["unavailable"] == {"sam9": "a reason"}
    assert cli.main(["--list", "steel", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"datasets": [steel]}
    assert cli.main(["--json"]) == 2


def test_the_completion_script_offers_commands_options_and_names(
    capsys: Captured, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--print-completion", "bash"])
    assert stop.value.code == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    for words, expected in (
        ("da", "data"),
        ("data pre", "preview"),
        ("--dataset st", "steel"),
        ("check-method samed_", "samed_s"),
        ("suite run --back", "--backbone"),
    ):
        typed = f"COMP_WORDS=(sam-bench {words}); COMP_CWORD={len(words.split())}"
        code = f'source {script}; {typed}; _shtab_sam_bench; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
        assert (done.stdout.strip(), done.stderr) == (expected, "")
    assert cli.main(["--print-completion", "cmd"]) == 2
    assert "--print-completion cannot be 'cmd': give one of bash" in capsys.readouterr().err


def test_a_dry_run_shows_the_cells_and_writes_nothing(
    mine: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "--methods frozen_head --seeds 2"
    assert ask(line, "--dry-run") == 0
    assert "2 cells, 2 to do, in results/local" in capsys.readouterr().out
    assert ask(f"{line} --out a[/b]", "--dry-run") == 0
    assert "2 cells, 2 to do, in a[/b]" in capsys.readouterr().out
    assert not Path("results").exists()
    run_cells_here(monkeypatch, pretend([]))
    monkeypatch.setattr("bench.cli.cells.write_all", lambda store, console: None)
    assert ask("--methods frozen_head --seeds 0,") == 0
    before = contents()
    capsys.readouterr()
    assert ask(line, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "note: mine: no specimen groups" in out
    assert re.search(r"random +0 +ok ", out)
    assert re.search(r"random +1 +to do ", out)
    assert "2 cells, 1 to do, in results/local" in out
    assert contents() == before


def test_cells_in_bf16_are_told_where_the_device_emulates_it(
    mine: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "--methods frozen_head --seeds 2 --dry-run"
    for slow, words, told in (
        (True, "--precision bf16", "2 cells in bf16, which this device only emulates"),
        (True, "", "in fp32, since this device only emulates bf16"),
        (False, "--precision bf16", None),
        (False, "", None),
    ):
        monkeypatch.setattr("bench.sam.precision.computes_bf16", lambda device, slow=slow: not slow)
        assert ask(line, *words.split()) == 0
        out = capsys.readouterr().out
        assert ("emulates" in out) == (told is not None)
        assert told is None or f"note: {told}" in out


def test_a_dry_run_shows_what_sets_cells_apart(
    mine: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask("--methods frozen_head --seeds 0, --labels 2,all --folds 3", "--dry-run") == 0
    out = capsys.readouterr().out
    assert re.search(r"0 +2/3 +all +to do", out)
    monkeypatch.setenv("COLUMNS", "60")
    assert ask("--methods adapter[bottleneck=8|16] --labels 2,all --folds 3", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.rstrip().endswith("to do") for line in lines) == 12, "never cut off"
    cells = [make_cell("lora"), make_cell("full", recipe=Recipe(lr=0.1))]
    assert varying_columns(cells) == {}, "the rates of two methods are their own"
    cells.append(make_cell("lora", recipe=Recipe(lr=0.1)))
    assert varying_columns(cells) == {"Lr": ["0.001", "0.1", "0.1"]}


# Runs, with cells that cost nothing


def pretend(ran: list[str], outcome: Callable[[Cell], Record] = make_record) -> Callable[..., None]:
    """In place of `isolate`: writes the outcome of a cell, and remembers that it ran."""

    def instead(work: Any, cell: Cell, device: str, threads: int, store: Store, **how: Any) -> None:
        ran.append(cell.id)
        store.write(outcome(cell))

    return instead


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells that ran, in order; each comes out well at once."""
    ids: list[str] = []
    run_cells_here(monkeypatch, pretend(ids))
    monkeypatch.setattr("bench.cli.cells.write_all", lambda store, console: None)
    return ids


def test_a_second_run_does_nothing_and_says_so(
    mine: Path, ran: list[str], capsys: Captured
) -> None:
    assert ask("--methods frozen_head --seeds 2") == 0
    assert len(ran) == 2
    assert "done before" not in capsys.readouterr().out
    before = records()
    assert ask("--methods frozen_head --seeds 2") == 0
    assert len(ran) == 2
    assert capsys.readouterr().out.count("done before") == 2
    assert records() == before
    assert ask("--methods frozen_head --seeds 3") == 0  # a larger grid fills the gap only
    assert len(ran) == len(set(ran)) == 3


@pytest.mark.parametrize(
    ("error", "status", "again"),
    [
        (TimeoutError("not done after 5 s"), "timeout", False),
        (ProcessDiedError(-9), "failed", True),
    ],
)
def test_a_cell_that_dies_is_recorded_and_the_others_go_on(
    mine: Path,
    ran: list[str],
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: str,
    again: bool,
) -> None:
    well = pretend(ran)

    def first_dies(work: Any, cell: Cell, *args: Any, **how: Any) -> None:
        if cell.seed == 0:
            ran.append(cell.id)
            raise error
        well(work, cell, *args, **how)

    run_cells_here(monkeypatch, first_dies)
    assert ask("--methods frozen_head --seeds 2") == 1
    assert f"{status} frozen_head: {error}" in capsys.readouterr().out
    records = Store(Path("results/local")).read_all()
    assert sorted((record.status, record.error) for record in records) == sorted(
        [("ok", None), (status, str(error))]
    )
    assert len(ran) == 2
    ask("--methods frozen_head --seeds 2")
    assert len(ran) == 2 + again
    ask("--methods frozen_head --seeds 2", "--retry")
    assert len(ran) == 3 + again


def test_ctrl_c_keeps_what_is_done(
    mine: Path, ran: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    well = pretend(ran)

    def stop_at_second(work: Any, cell: Cell, *args: Any, **how: Any) -> None:
        if cell.seed == 1:
            raise KeyboardInterrupt
        well(work, cell, *args, **how)

    with monkeypatch.context() as patch:
        run_cells_here(patch, stop_at_second)
        assert ask("--methods frozen_head --seeds 3") == 130
    told = "stopped; what is done is kept: run the same command again to go on\n"
    assert capsys.readouterr().err == told
    assert len(Store(Path("results/local")).read_all()) == 1
    assert ask("--methods frozen_head --seeds 3") == 0
    assert len(ran) == len(set(ran)) == 3


def test_a_cell_that_another_run_holds_is_awaited(
    mine: Path, ran: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask("--methods frozen_head --seeds 0,") == 0
    store = Store(Path("results/local"))
    (record,) = store.read_all()
    store.path(record.cell).unlink()
    claim = store.claim(record.cell)
    assert claim.__enter__()

    def other_run_ends(seconds: float) -> None:
        store.write(record)
        claim.__exit__(None, None, None)

    monkeypatch.setattr(time, "sleep", other_run_ends)
    assert ask("--methods frozen_head --seeds 2") == 0
    assert len(ran) == len(set(ran)) == 2
    out = capsys.readouterr().out
    assert out.index("seed 1") < out.rindex("seed 0")
    assert out.count("done before") == 1


# Methods that fail, run in this process


class Constant(nn.Module):
    """Logits of one learned value everywhere, times a factor."""

    def __init__(self, num_classes: int, factor: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1, num_classes, 1, 1))
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, K, S, S)."""
        return (self.value * self.factor + images[:, :1] * 0).float()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that fail in their own ways."""

    def run_here(work: Callable[..., None], *args: Any, on_event: Any, limit_s: Any) -> None:
        work(*args, on_event)

    def fails(error: Exception) -> Callable[[Task], nn.Module]:
        def build(task: Task) -> nn.Module:
            raise error

        return build

    registry._METHODS.names()  # imports the files now, so that none is forgotten with the rest
    monkeypatch.setattr(registry._METHODS, "entries", dict(registry._METHODS.entries))
    run_cells_here(monkeypatch, run_here)
    monkeypatch.setattr("bench.cli.cells.write_all", lambda store, console: None)
    for name, build in {
        "buggy": fails(ZeroDivisionError("division by zero\nsecond line")),
        "greedy": fails(MemoryError()),
        "allocating": fails(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")),
        "flat": fails(UnsupportedError("flat cannot do 2 classes")),
        "wild": lambda task: Constant(task.num_classes, float("nan")),
    }.items():
        register_method(name, paper="", lr=1e-3)(build)


def test_methods_that_fail_are_recorded_each_with_its_reason(
    mine: Path, failing: None, capsys: Captured
) -> None:
    assert ask("--methods buggy,greedy,allocating,flat,wild") == 1
    told = {
        "buggy": ("failed", "ZeroDivisionError: division by zero"),
        "greedy": ("oom", "out of memory"),
        "allocating": (
            "oom",
            "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried",
        ),
        "flat": ("unsupported", "flat cannot do 2 classes"),
        "wild": ("diverged", "the loss became nan at step 1: try a lower learning rate"),
    }
    records = {record.cell.method: record for record in Store(Path("results/local")).read_all()}
    assert {name: (one.status, one.error) for name, one in records.items()} == told
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    for name, (status, error) in told.items():
        assert f"{status} {name}: {error[:30]}" in out
    for record in records.values():
        assert record.env["device"] == "cpu"
        assert record.metrics == {}
        assert record.cost is None
