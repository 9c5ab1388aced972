"""The commands of README and tutorial run one after the other, as a reader would type them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import make_folder
from PIL import Image
from scipy import ndimage

ROOT = Path(__file__).parents[2]

# Options that make a training take seconds; the last of two equal options counts.
TINY = ["--steps", "2", "--image-size", "64"]
SMALLER = {
    "run": TINY,
    "train": TINY,
    "choose": [*TINY, "--methods", "frozen_head,lora", "--seeds", "1"],
    "suite run": ["--dry-run"],
}
# What this machine may lack, and the words of a command that needs it.
NEEDED = {
    "a network": ["weights", "fetch"],
    "a GPU": ["--device", "cuda"],
    "downloaded weights": ["--backbone", "sam_vit_b", "--out"],
}


def _commands(page: str) -> list[list[str]]:
    """The words after `run_bench.py` of each command in the code blocks of a page, in order."""
    text = "\n".join(re.findall(r"^```\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M))
    lines = text.replace("\\\n", " ").splitlines()
    matches = [re.search(r"\brun_bench\.py (.*)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in matches if match]


def _lacks(words: list[str]) -> list[str]:
    """What a command needs besides this machine."""
    return [what for what, needed in NEEDED.items() if all(word in words for word in needed)]


def _name(words: list[str]) -> str:
    """The name of a command, as in `SMALLER`."""
    plain = [word for word in words[:2] if not word.startswith("-") and "/" not in word]
    if words[0].startswith("-"):
        return "run"
    return " ".join(plain) if words[0] == "suite" else words[0]


def _make_inputs(folder: Path) -> None:
    """The folders that the pages name."""
    for seed, name in enumerate(("my_images", "other_microscope", "path/to/folder")):
        made = make_folder(folder / name, count=12, seed=seed)
        (made / "instances").mkdir()
        for mask in (made / "masks").iterdir():
            numbers, _ = ndimage.label(np.asarray(Image.open(mask)) > 0)
            Image.fromarray(numbers.astype(np.uint8)).save(made / "instances" / mask.name)
    for name in ("new_images", "path/to/images"):
        shutil.copytree(folder / "my_images" / "images", folder / name)
    for kind, name in (("methods", "mlp_scale"), ("datasets", "my_dataset")):
        (folder / "my_plugins" / kind).mkdir(parents=True)
        (code,) = re.findall(r"```python\n(.*?)```", (ROOT / kind / "README.md").read_text(), re.S)
        (folder / "my_plugins" / kind / f"{name}.py").write_text(code.replace("discs", name))
    (folder / "results").mkdir()
    (folder / "results" / "reference").symlink_to(ROOT / "results" / "reference")


def _copy_results(folder: Path, words: list[str]) -> None:
    """Make the results folders that a command reads, as copies of those of an earlier one."""
    out = words[words.index("--out") + 1] if "--out" in words else None
    for word in words:
        if word.startswith("results/") and word != out and not (folder / word).exists():
            mine = folder / "results" / "mine"
            shutil.copytree(mine if mine.exists() else folder / "results" / "local", folder / word)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_commands_of_a_page_run_in_order(page: str, tmp_path: Path) -> None:
    _make_inputs(tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SAM_BENCH_CACHE": str(tmp_path / "cache")}
    failures, left_out = [], []
    for words in _commands(page):
        if lacks := _lacks(words):
            left_out.append(lacks)
            continue
        _copy_results(tmp_path, words)
        smaller = [] if "--dry-run" in words else SMALLER.get(_name(words), [])
        done = subprocess.run(
            [sys.executable, str(ROOT / "run_bench.py"), *words, *smaller],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            failures.append((" ".join(words), done.returncode, done.stdout[-600:] + done.stderr))
    assert not failures, "\n\n".join(map(str, failures))
    assert len(left_out) == 2
