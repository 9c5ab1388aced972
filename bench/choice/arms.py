"""The methods of a race, each with its cells in the order in which they run, and their scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bench.choice.criterion import DICE, Criterion
from bench.spec import Cell, PromptSource, Record
from bench.stats.paired import Floats

Family = Literal["from scratch", "few parameters", "most parameters"]
MOST = 0.5  # share of trainable parameters from which a method counts as "most parameters"


@dataclass(frozen=True)
class Arm:
    """One method with its options and settings.

    Attributes:
        name: unique in a race: method with options, and what else differs between the arms.
        cells: its runs in order: run 0 of all arms is compared first, then run 1, and so on.
        prompts: origin of its prompts at evaluation.
        position: place in the request.
    """

    name: str
    cells: tuple[Cell, ...]
    prompts: PromptSource = "none"
    position: int = 0


@dataclass(frozen=True)
class RunScore:
    """The scores of one successful run.

    Attributes:
        selection: merit by which methods are compared in the race; None if there is none.
        outer: merit of the test part; None where it is not defined.
        specimens: mean merit of the images of each test specimen.
        sums: numerators and denominators of each test specimen, see `Criterion.sums`.
        record: the record.
    """

    selection: float | None
    outer: float | None
    specimens: Mapping[str, float]
    sums: Mapping[str, Floats] = field(compare=False, repr=False)
    record: Record


@dataclass(frozen=True)
class Evidence:
    """What the records say about one arm.

    Attributes:
        arm: the arm.
        runs: number of the run to its scores; successful runs only.
        failures: number of the run to status and reason.
    """

    arm: Arm
    runs: Mapping[int, RunScore]
    failures: Mapping[int, str]

    @property
    def name(self) -> str:
        """The name of the arm."""
        return self.arm.name

    def done(self, run: int) -> bool:
        """Whether there is a record of this run, whatever its status."""
        return run in self.runs or run in self.failures

    def first(self) -> RunScore | None:
        """The first successful run; None if there is none."""
        return self.runs[min(self.runs)] if self.runs else None

    @property
    def family(self) -> Family | None:
        """The kind of method, from its parameters; None without a successful run."""
        first = self.first()
        return None if first is None else family_of(first.record)

    @property
    def costs(self) -> tuple[float, ...]:
        """Deterministic costs in the order in which they break ties; lower is better.

        Operations of the training and of inference, trainable and total parameters.
        """
        first = self.first()
        if first is None or first.record.cost is None:
            return ()
        cost, recipe = first.record.cost, first.record.cell.recipe
        return (
            float((cost.train_step_flops or 0) * recipe.steps),
            float(cost.forward_flops or 0),
            float(cost.trainable_params),
            float(cost.total_params),
        )


def family_of(record: Record) -> Family:
    """The kind of a method: from scratch, or by the share of trainable parameters.

    Args:
        record: with a cost.
    """
    if record.cell.task.backbone == "none":
        return "from scratch"
    cost = record.cost
    share = 0.0 if cost is None else cost.trainable_params / max(1, cost.total_params)
    return "most parameters" if share >= MOST else "few parameters"


def make_arms(
    cells: Iterable[Cell], prompts: Mapping[str, PromptSource] | None = None
) -> list[Arm]:
    """Group cells that differ in seed and fold only, in the order in which they first occur.

    Args:
        cells: of one dataset and one label budget.
        prompts: id of a cell to the origin of its prompts; "none" for cells that it lacks.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(replace(cell, seed=0, fold=0).id, []).append(cell)
    parts = [sorted(part, key=lambda cell: (cell.seed, cell.fold)) for part in groups.values()]
    names = _names([part[0] for part in parts])
    return [
        Arm(name, tuple(part), (prompts or {}).get(part[0].id, "none"), position)
        for position, (name, part) in enumerate(zip(names, parts, strict=True))
    ]


def _names(cells: Sequence[Cell]) -> list[str]:
    """Labels; backbone, learning rate and steps are added where arms would have one name."""
    extras = (
        lambda cell: cell.task.backbone,
        lambda cell: f"lr={cell.recipe.lr:g}",
        lambda cell: f"steps={cell.recipe.steps}",
        lambda cell: cell.id[-10:],
    )
    names = [cell.label for cell in cells]
    for extra in extras:
        repeated = {name for name in names if names.count(name) > 1}
        for name in repeated:
            places = [place for place, other in enumerate(names) if other == name]
            if len({extra(cells[place]) for place in places}) > 1:
                for place in places:
                    names[place] = f"{name} {extra(cells[place])}"
    return names


def uses_validation(arm: Arm, criterion: Criterion) -> bool:
    """Whether the race compares the Dice of the validation part.

    It does for one split of the images, so that the test part decides nothing. With folds the
    held-out parts of the folds are compared.
    """
    return criterion.name == DICE.name and arm.cells[0].folds == 1


def gather(arms: Sequence[Arm], records: Iterable[Record], criterion: Criterion) -> list[Evidence]:
    """Collect the scores of each arm; records of other cells are ignored."""
    by_id = {record.cell.id: record for record in records}
    evidence = []
    for arm in arms:
        runs: dict[int, RunScore] = {}
        failures: dict[int, str] = {}
        for number, cell in enumerate(arm.cells):
            record = by_id.get(cell.id)
            if record is None:
                continue
            if record.status == "ok":
                runs[number] = _score(record, criterion, uses_validation(arm, criterion))
            else:
                failures[number] = f"{record.status}: {record.error or 'no reason recorded'}"
        evidence.append(Evidence(arm, runs, failures))
    return evidence


def _score(record: Record, criterion: Criterion, validation: bool) -> RunScore:
    outer = criterion.of_set(record)
    selection = validation_dice(record) if validation else outer
    specimens, sums = criterion.by_specimen(record), criterion.sums(record)
    return RunScore(selection, outer, specimens, sums, record)


def validation_dice(record: Record) -> float | None:
    """The Dice of the validation part after the last step, in percent; None if there is none."""
    value = record.history[-1].get("val_dice") if record.history else None
    return None if value is None else 100.0 * value
