"""The state of a training run: checkpoints that outlive a kill, and a compact form to commit."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.errors import UserError
from bench.files import atomic_path, parse_json, write_atomic

CHECKPOINT = "checkpoint.pt"
COMPACT = Path(__file__).parents[3] / "results" / "pretraining"
RAW, AVERAGE, RECORD = "raw.safetensors", "average.safetensors", "state.json"
SAVE_EVERY, KEEP_EVERY = 250, 5000  # steps
PATIENCE = 20  # s, within which the helper process of a killed run lets go of its lock

# step: steps done; size: side in px (absent before the first); model, average: state dicts;
# optimizers: their state dicts, or None; restart: step at which they last started without; curve:
# rows of evaluation; legs: commit and plan from each start on.
State = dict[str, Any]


def default_folder() -> Path:
    """Where the state of a run is kept: in $XDG_STATE_HOME, else ~/.local/state; not created.

    As XDG requires, $XDG_STATE_HOME counts only if it is absolute.
    """
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():
        base = Path.home() / ".local" / "state"
    return base / "sam-adapt-bench" / "sam_nano"


def fresh_state() -> State:
    """The state before the first step: it has no weights, so that they are drawn at random."""
    return {"step": 0, "restart": 0, "optimizers": None, "curve": [], "legs": []}


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock a folder during the block, so that no other run trains in it.

    Args:
        folder: is created if needed.

    Raises:
        UserError: another run holds the lock, also after `PATIENCE` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        last = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > last:
                    raise UserError(
                        f"another run trains in {folder}: let it end, or give another --folder"
                    ) from None
                time.sleep(0.5)
        yield


def newest_kept(folder: Path) -> Path:
    """The path of the kept checkpoint (every `KEEP_EVERY` steps) with the most steps.

    Args:
        folder: of the checkpoints.

    Raises:
        UserError: none is kept yet.
    """
    kept = sorted(folder.glob("step_*.pt"))
    if not kept:
        raise UserError(f"no checkpoint is kept in {folder} yet: train past step {KEEP_EVERY}")
    return kept[-1]


def load_state(folder: Path, compact: Path | None) -> tuple[State, str]:
    """Load the stored state with the most steps.

    From a checkpoint the training continues exactly. The compact form is used if there is no
    checkpoint or one with fewer steps; the optimisers then start without state. Without both, the
    state is that of `fresh_state`. A file that is damaged raises the error of its reader.

    Args:
        folder: of the checkpoint.
        compact: folder of the compact form; None to leave it out.

    Returns:
        The state, and where it comes from: a path, or "noise".
    """
    state, origin = fresh_state(), "noise"
    if (folder / CHECKPOINT).exists():
        state = torch.load(folder / CHECKPOINT, weights_only=True)
        origin = f"{folder / CHECKPOINT}"
    if compact is not None and (compact / RECORD).exists():
        committed = import_state(compact)
        if committed["step"] > state["step"]:
            return committed, f"{compact}"
    return state, origin


def save_state(state: State, folder: Path) -> None:
    """Replace the checkpoint in a folder in one step, and keep that of every `KEEP_EVERY` steps.

    The kept one is named step_<number>.pt; one of the same number is replaced.

    Args:
        state: of `Trainer.state`.
        folder: of the checkpoints.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_path(folder / CHECKPOINT, durable=True) as temporary:
        torch.save(state, temporary)
        if state["step"] % KEEP_EVERY == 0:
            kept = folder / f"step_{state['step']:06d}.pt"
            kept.unlink(missing_ok=True)
            kept.hardlink_to(temporary)


def export_state(folder: Path, compact: Path) -> State:
    """Write the checkpoint as raw and averaged weights in half precision, and a file of the rest.

    The three files have about 4.5 MB instead of 14, small enough to commit; the state of the
    optimisers is left out.

    Args:
        folder: of the checkpoint.
        compact: folder for the files, which are replaced.

    Returns:
        The state in the checkpoint.

    Raises:
        UserError: there is no checkpoint, or a file cannot be written.
    """
    if not (folder / CHECKPOINT).exists():
        raise UserError(f"no checkpoint in {folder}: give the --folder of a training run")
    state: State = torch.load(folder / CHECKPOINT, weights_only=True)
    for part, name in (("model", RAW), ("average", AVERAGE)):
        with atomic_path(compact / name) as temporary:
            save_file(_halved(state[part]), temporary)
    record = {key: state[key] for key in ("step", "size", "restart", "curve", "legs")}
    write_atomic(compact / RECORD, json.dumps(record, indent=1) + "\n")
    return state


def import_state(compact: Path) -> State:
    """Read the state that `export_state` wrote.

    Args:
        compact: folder of its files.

    Returns:
        The state, with weights in fp32. It has no state of optimisers: "optimizers" is None, and
        "restart" is its step.

    Raises:
        OSError: a file is missing. A damaged one raises the error of its reader.
    """
    record = parse_json((compact / RECORD).read_text())
    weights = {
        "model": {name: tensor.float() for name, tensor in load_file(compact / RAW).items()},
        "average": {name: tensor.float() for name, tensor in load_file(compact / AVERAGE).items()},
    }
    return record | weights | {"optimizers": None, "restart": record["step"]}


def _halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.contiguous().half() if tensor.is_floating_point() else tensor.contiguous()
        for name, tensor in weights.items()
    }
