"""Choose a method: what the command `choose` and `bench.choose` have in common."""

from dataclasses import dataclass
from pathlib import Path

from bench.ask.request import Request
from bench.choice.comebacks import load_comebacks, quantiles
from bench.choice.commands import next_commands
from bench.choice.criterion import Criterion
from bench.choice.forecast import outlook
from bench.choice.limits import LeftOut, Limits
from bench.choice.live import Clock, hold
from bench.choice.setup import Setup, shorten, training_speed
from bench.choice.verdict import Verdict
from bench.choice.words import Paragraph, describe
from bench.cost.predict.gpus import find_gpu
from bench.run.schedule import Emit, RunSettings
from bench.run.store import Store
from bench.run.threads import choose_threads
from bench.wording import program_name

NONE = Limits()


@dataclass(frozen=True)
class Choice:
    """The result of `choose`.

    Attributes:
        verdict: the recommended method, what cannot be told from it, and the race.
        left_out: methods that did not run because of a limit, with the reasons.
        notes: sentences on datasets.
        conditions: sentences on how the methods were compared.
        request: what was asked; `conditions` say if the runs were shortened.
        out: the results folder with the records.
        limits: of the user.
        outlook: sentences on what more labels and more steps would bring.
    """

    verdict: Verdict
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    conditions: tuple[str, ...]
    request: Request
    out: Path
    limits: Limits = NONE
    outlook: tuple[str, ...] = ()

    @property
    def limits_by_column(self) -> dict[str, float]:
        """Key of a cost to its limit, in the unit of records."""
        limits: dict[str, float | None] = {
            "infer_images_per_s": self.limits.min_speed,
            "total_params": self.limits.max_params,
        }
        if self.limits.max_memory is not None:
            limits["train_peak_bytes"] = find_gpu(self.limits.max_memory).memory_bytes
        return {key: value for key, value in limits.items() if value is not None}

    @property
    def recommended(self) -> str | None:
        """The recommended method with its options; None if no method could be compared."""
        best = self.verdict.recommended
        return None if best is None else best.name

    @property
    def tied(self) -> tuple[str, ...]:
        """The methods that are not distinguishable from it, itself included, cheapest first."""
        return tuple(member.name for member in self.verdict.set)

    @property
    def stopped(self) -> dict[str, str]:
        """The methods that have not all runs, or none, each with the reason.

        One that was stopped early may still be in `tied`.
        """
        stopped = {one.name: one.reason for one in self.left_out}
        stopped |= {one.evidence.name: one.reason for one in self.verdict.race.dropped}
        return stopped | dict.fromkeys(self.verdict.not_run, "not run, the time was up")

    def paragraphs(self) -> list[Paragraph]:
        """The report in words."""
        commands: list[str] = []
        if self.verdict.recommended is not None:
            commands = next_commands(self.verdict, self.request, program_name(), self.out)
        return describe(self.verdict, self.left_out, self.conditions, self.outlook, commands)

    def __str__(self) -> str:
        """The report as text."""
        parts = (f"{part.title}\n" + "\n".join(part.lines) for part in self.paragraphs())
        return "\n\n".join(parts)


def hold_choice(
    setup: Setup,
    request: Request,
    criterion: Criterion,
    limits: Limits,
    settings: RunSettings,
    store: Store,
    clock: Clock,
    emit: Emit,
) -> Choice:
    """Hold the race of a setup.

    Args:
        setup: of `bench.choice.setup.set_up`.
        request: what was set up; the comebacks of its own dataset do not count.
        criterion: what methods are compared by.
        limits: of the user.
        settings: how cells run.
        store: an open results folder.
        clock: with the time of the command.
        emit: called with each event.

    Raises:
        UserError: as `bench.run.schedule.run_cells`, or the comebacks cannot be read.
    """
    if limits.max_seconds is not None and request.protocol == "equal":  # published steps are kept
        cells = [cell for arm in setup.arms for cell in arm.cells]
        threads, _ = choose_threads(settings.threads, cells, store.stream())
        speed = training_speed(settings.find_device(), request.precision or "bf16", threads)
        setup = shorten(setup, limits.max_seconds, speed, store.folder, clock.elapsed)
    clock.operations = setup.operations
    name = Path(request.dataset_names[0]).name
    prior = quantiles(load_comebacks(), without=name)
    decision = hold(setup.arms, store, settings, prior, criterion, limits.measured, clock, emit)
    best = decision.verdict.recommended
    return Choice(
        decision.verdict,
        setup.left_out,
        setup.notes,
        setup.conditions,
        request,
        store.folder,
        limits,
        tuple(outlook(best, store.stream(), criterion)) if best is not None else (),
    )
