"""The recipe of `sam_nano`: phases in absolute steps, and what each step is made of."""

from dataclasses import dataclass, replace

SIZE = 256  # px, side of the images that the shipped weights are for


@dataclass(frozen=True)
class Phase:
    """Steps `first` to `stop` (exclusive) on scenes of one side.

    Attributes:
        side: side of the scenes in px.
        first: absolute number of the first step.
        stop: absolute number of the step after the last.
        prompts: prompts a step, half of them boxes, half clicks.
        rate: learning rate.
        falls: whether the rate falls linearly from `rate` to zero over the phase.
    """

    side: int
    first: int
    stop: int
    prompts: int
    rate: float = 2e-3
    falls: bool = False


# 98,000 images of 128 px, where a CPU second buys 4.5 times more prompts, then 20,000 of 256 px.
PHASES = (Phase(SIZE // 2, 0, 24_500, 64), Phase(SIZE, 24_500, 29_500, 32, falls=True))


@dataclass(frozen=True)
class Plan:
    """The recipe of the training of `sam_nano`. It does not depend on when a run stops.

    Attributes:
        phases: in order, each beginning where the one before it stops.
        images: scenes a step.
        domain_share: share of the scenes that resemble micrographs; the others are of any kind.
        crowding: prompts of a scene are in proportion to its number of objects to this power: 0
            gives every scene as many, 1 gives every object as many.
        exact_boxes: share of the boxes that are tight; the others are off by SAM's noise.
        inner_clicks: share of the clicks at the innermost pixel; the others lie anywhere inside.
        surroundings: the pixel term of a boxed object is averaged over its box enlarged by this
            share of its sides; None averages it over the whole image, as for a click, which must
            learn where its object ends.
        leak_weight: weight of the share of a boxed mask that lies outside its box.
        order_weight: weight of the loss on the order of the three masks of a click.
        warmup: steps over which the rate rises, at the start of each phase and after a restart
            without optimizer state.
        correct_from: step from which on every fourth step adds a corrective click.
        ema: decay of the averaged weights.
        clip: largest norm of the gradient.
        seed: of weights, scenes and prompts.

    Raises:
        ValueError: a phase does not begin where the one before it stops.
    """

    phases: tuple[Phase, ...] = PHASES
    images: int = 4
    domain_share: float = 0.5
    crowding: float = 0.5
    exact_boxes: float = 0.5
    inner_clicks: float = 0.5
    surroundings: float | None = 0.5
    leak_weight: float = 0.5
    order_weight: float = 0.1
    warmup: int = 100
    correct_from: int = 3000
    ema: float = 0.999
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse phases with gaps."""
        starts = [phase.first for phase in self.phases]
        if starts != [0, *(phase.stop for phase in self.phases[:-1])]:
            raise ValueError(f"phases must follow one another from step 0, not start at {starts}")

    @property
    def steps(self) -> int:
        """Number of steps of all phases."""
        return self.phases[-1].stop

    def phase_at(self, step: int) -> Phase:
        """The phase that a step belongs to; StopIteration from step `steps` on."""
        return next(phase for phase in self.phases if step < phase.stop)

    def prompts_until(self, step: int) -> int:
        """Prompts of all steps before `step`."""
        return sum(
            phase.prompts * max(0, min(step, phase.stop) - phase.first) for phase in self.phases
        )


def anneal_plan(plan: Plan, step: int, steps: int) -> Plan:
    """The plan of a trial: it leaves the recipe at a step and takes some last steps of its own.

    In these the learning rate rises over `warmup` steps and falls to zero, if that of the last
    phase falls.

    Args:
        plan: the whole recipe.
        step: absolute number of the step at which the trial leaves it.
        steps: number of last steps, in the settings of the last phase.
    """
    begun = [replace(phase, stop=min(phase.stop, step)) for phase in plan.phases]
    begun = [phase for phase in begun if phase.first < step]
    end = replace(plan.phases[-1], first=step, stop=step + steps)
    return replace(plan, phases=(*begun, end))


def learning_rate(plan: Plan, step: int, restart: int = 0) -> float:
    """The learning rate of one step.

    Args:
        plan: the recipe.
        step: absolute number of the step.
        restart: the last step at which the optimizers started without their state.

    Raises:
        StopIteration: the plan has no such step.
    """
    phase = plan.phase_at(step)
    rise = min(1.0, (step - max(phase.first, restart) + 1) / plan.warmup)
    fall = (phase.stop - step) / (phase.stop - phase.first) if phase.falls else 1.0
    return phase.rate * min(rise, fall)
