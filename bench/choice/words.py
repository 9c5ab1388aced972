"""A verdict in words: the verdict first, then the race, then what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.choice.arms import Evidence, uses_validation
from bench.choice.criterion import Criterion
from bench.choice.limits import LeftOut
from bench.choice.margins import FEWEST_SPECIMENS, LOOKS
from bench.choice.race import Dropped, Race
from bench.choice.verdict import Verdict
from bench.stats.paired import SIGNIFICANCE
from bench.wording import counted

_STOPPED = ("test", "margin")  # causes of an early stop


@dataclass(frozen=True)
class Paragraph:
    """One part of a report.

    Attributes:
        title: heading.
        lines: sentences, or commands.
        commands: whether the lines are commands.
        sources: ids of the records that each line is from; lines at the end may have none.
    """

    title: str
    lines: tuple[str, ...]
    commands: bool = False
    sources: tuple[tuple[str, ...], ...] = ()

    @property
    def sourced(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each line with the ids of its records."""
        missing = len(self.lines) - len(self.sources)
        return list(zip(self.lines, (*self.sources, *[()] * missing), strict=True))


def describe(
    verdict: Verdict,
    left_out: Sequence[LeftOut],
    conditions: Sequence[str],
    outlook: Sequence[str],
    commands: Sequence[str],
) -> list[Paragraph]:
    """The report on a verdict.

    Args:
        verdict: what was decided.
        left_out: methods that did not run because of a limit.
        conditions: sentences on how the methods were compared, such as shorter runs.
        outlook: sentences on more labels and more time.
        commands: what to do next.
    """
    best = verdict.recommended
    if best is None:
        why = "no method has a run that can be compared yet"
        parts = [Paragraph("Verdict", (f"No recommendation: {why}.", *conditions))]
    else:
        parts = [
            Paragraph("Verdict", (*_verdict(verdict, best), *conditions), sources=(_ids(best),)),
            Paragraph("Costs", (_costs(best),), sources=(_ids(best),)),
        ]
    given_up = [f"{one.name}: {one.reason}." for one in left_out]
    given_up += [f"{one.evidence.name}: {one.reason}." for one in verdict.given_up]
    given_up += [f"{name}: not run, the time was up." for name in verdict.not_run]
    if given_up:
        parts.append(Paragraph("Given up by the limits", tuple(given_up)))
    ordered = (*verdict.race.alive, *(one.evidence for one in verdict.race.dropped))
    sources = ((), *(_ids(one) for one in ordered))
    parts.append(Paragraph("Race", tuple(_race(verdict)), sources=sources))
    if outlook:
        parts.append(Paragraph("More labels, more time", tuple(outlook)))
    if commands:
        parts.append(Paragraph("Next", tuple(commands), commands=True))
    return parts


def _verdict(verdict: Verdict, best: Evidence) -> list[str]:
    criterion = verdict.race.criterion
    lines = [f"Use {best.name}."]
    if not verdict.finished:
        lines.append("The race is not finished: more time may change this.")
    lines.append(_accuracy(verdict, criterion))
    others = [member for member in verdict.set if member.evidence is not best]
    stopped = {one.evidence.name for one in verdict.race.dropped if one.cause in _STOPPED}
    for tested, reason in (
        (True, "no difference was found in a test over specimens"),
        (False, f"fewer than {FEWEST_SPECIMENS} specimens or too few for a test, close by margin"),
    ):
        names = ", ".join(
            member.name + (" (stopped early)" if member.name in stopped else "")
            for member in others
            if member.tested is tested
        )
        if names:
            lines.append(f"Not distinguishable from it ({reason}), cheapest first: {names}.")
    if not others:
        lines.append("No other method that ran is as good as far as the records can tell.")
    elif verdict.loss is not None:
        loss = verdict.loss
        lines.append(
            f"Expected loss to the best of them: {loss.expected:.1f} {criterion.unit}; with 95 %"
            f" probability at most {loss.at_most:.1f} ({counted(loss.specimens, 'specimen')})."
        )
    else:
        lines.append(f"No bound of the loss: it needs {FEWEST_SPECIMENS} test specimens or more.")
    return lines


def _accuracy(verdict: Verdict, criterion: Criterion) -> str:
    accuracy = verdict.accuracy
    if accuracy is None:
        return (
            "No accuracy can be stated: all images that were scored took part in the choice; it"
            " needs a second fold, and no --test-dataset."
        )
    unit = "%" if criterion.unit == "points" else criterion.unit
    between = ""
    if accuracy.interval is not None:
        low, high = sorted((abs(accuracy.interval.low), abs(accuracy.interval.high)))
        between = f" (95 % interval {low:.1f} to {high:.1f})"
    return (
        f"Expect {criterion.title} {abs(accuracy.value):.1f} {unit}{between} on"
        f" {counted(accuracy.specimens, 'specimen')}: {accuracy.source}."
    )


def _costs(best: Evidence) -> str:
    first = best.first()
    cost = None if first is None else first.record.cost
    if cost is None:
        return "not measured"
    parts = [
        f"{cost.trainable_params / 1e6:.3g} M of {cost.total_params / 1e6:.3g} M parameters trained"
    ]
    if cost.train_peak_bytes is not None:
        parts.append(f"{cost.train_peak_bytes / 2**20:.0f} MiB in training")
    if cost.train_wall_s is not None:
        parts.append(f"{cost.train_wall_s:.0f} s of training per run")
    if cost.infer_images_per_s is not None:
        parts.append(f"{cost.infer_images_per_s:.3g} images/s in inference")
    return ", ".join(parts) + "."


def _race(verdict: Verdict) -> list[str]:
    """What was compared, the methods with all runs, and which were stopped early when and why.

    Each line also says whether the scores can tell the method from the recommended one.
    """
    race, best = verdict.race, verdict.recommended
    lines = [
        f"{counted(len(race.evidence), 'method')}, {counted(race.rounds, 'complete round')},"
        f" compared by {_compared(race)}."
        " Stopped early, so not measured further: behind by more than the margin and, where"
        f" {FEWEST_SPECIMENS} or more specimens allow it, significantly ({LOOKS} looks,"
        f" {SIGNIFICANCE:.0%} in all). Whether a method is worse is another question, for all"
        " scores that there are."
    ]
    members = {member.name for member in verdict.set}

    def judged(one: Evidence) -> str:
        if best is None or one is best or not set(one.runs) & set(best.runs):
            return "; recommended" if one is best else ""
        return "; not distinguishable" if one.name in members else "; worse"

    lines += [f"{one.name}: {_scores(one)}{judged(one)}." for one in race.alive]
    lines += [
        f"{one.evidence.name}: {_when(one)}{one.reason}"
        f"{judged(one.evidence) if one.cause in _STOPPED else ''}."
        for one in race.dropped
    ]
    return lines


def _compared(race: Race) -> str:
    if race.evidence and uses_validation(race.evidence[0].arm, race.criterion):
        return "the Dice of the validation part"
    return f"the {race.criterion.title} of the held-out parts"


def _scores(one: Evidence) -> str:
    known = [run.selection for run in one.runs.values() if run.selection is not None]
    if not known:
        return "no score yet"
    return f"{sum(known) / len(known):.1f} over {counted(len(known), 'run')}"


def _when(one: Dropped) -> str:
    if one.cause in _STOPPED:
        return "stopped early, "
    return "left out, "


def _ids(one: Evidence) -> tuple[str, ...]:
    return tuple(run.record.cell.id for run in one.runs.values())
