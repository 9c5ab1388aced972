"""Train the embedded `sam_nano` as a promptable segmenter: `python -m bench.sam.nano.pretrain`.

SAM's own recipe (Kirillov et al., 2023, https://arxiv.org/abs/2304.02643, appendix A) at small
scale: points and boxes, best of three masks for a single click, an IoU head, and a corrective
click fed back together with the first mask. docs/sam_nano.md states where it departs, and why.
Linear layers learn by Muon (Jordan et al., 2024), which reached a box IoU of 0.29 after 500 steps
where AdamW stood at 0.02.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from torch import Tensor
from torch.utils.data import DataLoader

from bench.errors import UserError
from bench.files import atomic_path, write_atomic
from bench.sam.build import build_sam, load_tensors
from bench.sam.nano.evaluate import watch_scenes, watched_iou
from bench.sam.nano.objective import step_loss
from bench.sam.nano.plan import Phase, Plan, anneal_plan, learning_rate
from bench.sam.nano.samples import Batches
from bench.sam.nano.state import (
    CHECKPOINT,
    COMPACT,
    SAVE_EVERY,
    State,
    alone,
    default_folder,
    export_state,
    load_state,
    newest_kept,
    save_state,
)

PRINT_EVERY, EVALUATE_EVERY = 250, 2500  # steps


def make_optimizers(sam: Sam) -> list[torch.optim.Optimizer]:
    """Return Muon for the weights of linear layers and AdamW for all other parameters of a model.

    Both get the same learning rate, which `Trainer` sets before each step.
    """
    matrices = [layer.weight for layer in sam.modules() if isinstance(layer, torch.nn.Linear)]
    taken = {id(weight) for weight in matrices}
    rest = [parameter for parameter in sam.parameters() if id(parameter) not in taken]
    return [
        torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.01),
    ]


class Trainer:
    """Model, its average and optimizers at one step of one phase, on the CPU.

    Making one sets the seed of torch. The lists "curve" and "legs" of `state` are not copied.

    Args:
        plan: the recipe.
        phase: the phase to be in.
        state: where to go on from. Without weights, they are drawn at random. If its weights are
            of another side, the average with its positions resized becomes the model, and the
            optimizers start anew; so they do for a state without optimizers.

    Raises:
        UserError: the weights do not fit the model.
    """

    def __init__(self, plan: Plan, phase: Phase, state: State) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.phase = plan, phase
        self.step, self.restart = state["step"], state["restart"]
        self.curve, self.legs = state["curve"], state["legs"]
        self.sam = build_sam("sam_nano", phase.side)
        if "model" in state:
            # A change of side begins with the average: what follows is to refine it.
            source = state["model"] if state["size"] == phase.side else state["average"]
            load_tensors(self.sam, source, "the state of the training", "sam_nano")
        self.average = torch.optim.swa_utils.AveragedModel(
            self.sam, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(plan.ema)
        )
        if "average" in state:
            average = state["average"]
            load_tensors(self.average.module, average, "the state's average", "sam_nano")
            self.average.n_averaged.fill_(1)
        self.optimizers = make_optimizers(self.sam)
        if state["optimizers"] is not None and state["size"] == phase.side:
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)

    def advance(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Take one step, and return the figures of `step_loss` for its batch."""
        rate = learning_rate(self.plan, self.step, self.restart)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        correct = self.step >= self.plan.correct_from and self.step % 4 == 3
        random = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + self.step)
        loss, report = step_loss(self.sam, batch, self.plan, correct, random)
        self.sam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.sam.parameters(), self.plan.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update_parameters(self.sam)
        self.step += 1
        return report

    def state(self) -> State:
        """All that is needed to go on exactly from here; its tensors are not copied."""
        return {
            "size": self.phase.side,
            "step": self.step,
            "restart": self.restart,
            "model": self.sam.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "curve": self.curve,
            "legs": self.legs,
        }


def train(
    plan: Plan,
    folder: Path,
    until: int | None = None,
    compact: Path | None = None,
    watch: tuple[Path, ...] = (),
) -> State:
    """Train `sam_nano` from the stored state with the most steps up to the step `until`.

    Checkpoints are written and progress is printed. Take the lock of `alone` before.

    Args:
        plan: the recipe.
        folder: of the checkpoints.
        until: absolute step to stop before; None for the end of the plan. If the stored state has
            as many steps, none is taken.
        compact: folder of the compact form, which is used if it has more steps than the checkpoint.
        watch: labelled folders to evaluate on during the training.

    Returns:
        The state after the last step; see `State` for its keys.

    Raises:
        UserError: a checkpoint cannot be written, a stored state does not fit, or a folder of
            `watch` cannot be read.
    """
    torch.set_flush_denormal(True)  # vanishing gradients would slow the CPU down
    folder.mkdir(parents=True, exist_ok=True)
    until = plan.steps if until is None else min(until, plan.steps)
    state, origin = load_state(folder, compact)
    print(f"from step {state['step']} of {plan.steps}: {origin}", flush=True)
    leg = {"from_step": state["step"], "commit": head_commit(), "plan": asdict(plan)}
    state["legs"] = [leg for leg in state["legs"] if leg["from_step"] < state["step"]] + [leg]
    while state["step"] < until:
        phase = plan.phase_at(state["step"])
        state = run_phase(plan, phase, state, min(until, phase.stop), folder, watch)
    return state


def run_phase(
    plan: Plan, phase: Phase, state: State, stop: int, folder: Path, watch: tuple[Path, ...]
) -> State:
    """Take the steps of one phase; print, save and evaluate at regular intervals.

    It also saves after the last step, and evaluates if that is the end of the plan.

    Args:
        plan: the recipe.
        phase: the phase of the first step.
        state: state to start from.
        stop: absolute number of the step to stop before, at most `phase.stop`.
        folder: of the checkpoints.
        watch: labelled folders to evaluate on, with the procedural scenes.

    Returns:
        The state after the last step.

    Raises:
        UserError: as `train`.
    """
    trainer = Trainer(plan, phase, state)
    batches = Batches(plan, trainer.step, stop)
    began, sums, taken = time.perf_counter(), dict[str, float](), 0
    for batch in DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=8):
        report = trainer.advance(batch)
        taken += 1
        for key in ("box_iou", "click_iou", "leak"):
            sums[key] = sums.get(key, 0.0) + report[key]
        step = trainer.step
        if step % PRINT_EVERY == 0 or step == stop:
            row = {
                "step": step,
                "side": phase.side,
                "rate": round(learning_rate(plan, step - 1, trainer.restart), 6),
                "images_per_s": round(taken * plan.images / (time.perf_counter() - began), 1),
            }
            row |= {f"training_{key}": round(value / taken, 4) for key, value in sums.items()}
            if step % EVALUATE_EVERY == 0 or step == plan.steps:
                scenes = watch_scenes(phase.side, watch)
                row |= watched_iou(trainer.average.module, scenes)
                trainer.curve.append(row)
            print(json.dumps(row), flush=True)
            began, sums, taken = time.perf_counter(), {}, 0
        if step % SAVE_EVERY == 0 or step == stop:
            save_state(trainer.state(), folder)
    return trainer.state()


def start_anneal(plan: Plan, folder: Path, steps: int) -> tuple[Plan, Path]:
    """Prepare a trial: end the training early, from the newest kept checkpoint.

    It trains as in the last phase of the plan (side of the images, prompts, rate): after a warm-up
    the learning rate falls.

    The run itself is not changed: the trial has its own folder inside `folder`, which gets a copy
    of the checkpoint, unless it has one from an earlier part of the same trial.

    Args:
        plan: the recipe of the run.
        folder: of the checkpoints of the run.
        steps: number of steps of the trial, with its warm-up.

    Returns:
        Plan and folder of the trial.

    Raises:
        UserError: no checkpoint is kept yet.
    """
    kept = newest_kept(folder)
    trial = folder / f"{kept.stem}_anneal_{steps}"
    trial.mkdir(exist_ok=True)
    if not (trial / CHECKPOINT).exists():
        shutil.copy(kept, trial / CHECKPOINT)
    return anneal_plan(plan, int(kept.stem.removeprefix("step_")), steps), trial


def head_commit() -> str:
    """Hash of the commit of the checkout that this file is in; "" outside a checkout.

    Raises:
        FileNotFoundError: git is not installed.
    """
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def describe(plan: Plan, state: State) -> dict[str, Any]:
    """The facts about the training that are stored next to the weights.

    Args:
        plan: the recipe.
        state: the state after the last step.

    Returns:
        Values for JSON: "model", "corpus", "legs" (uninterrupted parts of the training),
        "images_seen", "prompts_seen", "hardware" and "torch" (of this process), and "curve".
    """
    return {
        "model": "sam_nano",
        "corpus": "procedural scenes of this package; no photograph was used",
        "legs": state["legs"],
        "images_seen": state["step"] * plan.images,
        "prompts_seen": plan.prompts_until(state["step"]),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads, bf16 autocast",
        "torch": torch.__version__,
        "curve": state["curve"],
    }


def write_weights(plan: Plan, state: State, path: Path) -> None:
    """Write the averaged weights, and the result of `describe` next to them.

    Args:
        plan: the recipe.
        state: the state after the last step, at least one.
        path: file of the weights (.safetensors); the other file has the ending .json.

    Raises:
        UserError: a file cannot be written.
    """
    weights = {name: tensor.contiguous() for name, tensor in state["average"].items()}
    with atomic_path(path) as temporary:
        save_file(weights, temporary)
    write_atomic(path.with_suffix(".json"), json.dumps(describe(plan, state), indent=1))


def main(arguments: list[str] | None = None) -> int:
    """Train, or export the stored state.

    Args:
        arguments: words of the command line; None for those of this process.

    Returns:
        The exit code: 0, or 2 for a mistake of the user, after a message on stderr.

    Raises:
        SystemExit: the words are not options of this command, or ask for help.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--until", type=int, help="step to stop before; the schedule stays")
    parser.add_argument("--folder", type=Path, default=default_folder(), help="of the checkpoints")
    parser.add_argument("--watch", nargs="*", type=Path, default=[], help="folders with instances/")
    parser.add_argument("--compact", type=Path, default=COMPACT, help="committed state to resume")
    parser.add_argument("--export", type=Path, help="write the compact form there; train nothing")
    parser.add_argument(
        "--anneal", type=int, metavar="STEPS", help="a trial: end the newest kept step by so many"
    )
    parser.add_argument("--weights", type=Path, help="write the averaged weights there at the end")
    options = parser.parse_args(arguments)
    plan, folder, compact = Plan(), options.folder, options.compact
    try:
        if options.export:
            state = export_state(folder, options.export)
            print(f"step {state['step']} of {plan.steps} written to {options.export}")
            return 0
        if options.anneal:
            (plan, folder), compact = start_anneal(plan, folder, options.anneal), None
        with alone(folder):
            state = train(plan, folder, options.until, compact, tuple(options.watch))
        if options.weights:
            write_weights(plan, state, options.weights)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
