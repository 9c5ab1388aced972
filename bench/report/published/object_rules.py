"""The table of the suite `objects`: datasets and methods under every rule for objects."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

from bench.ask.object_rules import TITLE, missing_datasets
from bench.report.records.columns import MISSING
from bench.report.tables.markdown import markdown_code, markdown_table
from bench.spec import Cell, Record
from bench.wording import plain_markdown

PROMPTED = "prompts"  # the rule of a cell with a proposer, as it is shown
_SCORES = (  # metric of the set, its title
    *(("pq_dataset", "PQ"), ("sq_dataset", "SQ"), ("dq_dataset", "DQ")),
    *(("ap50_dataset", "AP50"), ("aji_dataset", "AJI")),
)
_COUNT, _D50 = "particles_relative_error", "d50_error"  # each with the name of a class
_NOTE = (
    "Means over the seeds, of PQ with their standard deviation. PQ, SQ, DQ, AP50 and AJI of all"
    " test images together, in %. Objects: error of their number in all test images, in % of the"
    " truth; D50: error of the median diameter of all objects, in pixels; both prediction - truth,"
    " mean over the classes. Rule `prompts`: pretrained SAM, prompted with boxes of the objects"
    " that the method found with learned distances. Scores: docs/protocol/metrics.md; rules:"
    " docs/objects.md."
)


def rules_markdown(cells: Sequence[Cell], records: Mapping[str, Record]) -> str:
    """The ledger of the suite: one table for each dataset, and how to read it.

    Args:
        cells: result of `bench.ask.object_rules.expand_objects`.
        records: the records by the id of their cell.
    """
    parts = [f"# {TITLE}"]
    for dataset in dict.fromkeys(cell.dataset_name for cell in cells):
        groups: dict[tuple[str, str], list[Cell]] = {}
        for cell in cells:
            if cell.dataset_name == dataset:
                groups.setdefault(_place(cell), []).append(cell)
        methods = list(dict.fromkeys(method for method, _ in groups))
        order = sorted(groups, key=lambda place: methods.index(place[0]))  # rules keep their order
        lines = [
            [markdown_code(method), f"`{rule}`", *_line(groups[method, rule], records)]
            for method, rule in order
        ]
        titles = ["method", "rule", "seeds", *(title for _, title in _SCORES), "objects", "D50"]
        table = markdown_table(titles, lines, ["left"] * 2 + ["right"] * (len(titles) - 2))
        parts += [f"## {plain_markdown(dataset)}", table]
    if missing := missing_datasets(cells):
        parts.append(f"Not in these tables: {', '.join(missing)}, whose images were not given.")
    return "\n\n".join([*parts, _NOTE]) + "\n"


def _place(cell: Cell) -> tuple[str, str]:
    """Method and rule of a line; the method of a cell with a proposer is the proposer."""
    recipe = cell.recipe
    return (recipe.proposer, PROMPTED) if recipe.proposer else (cell.label, recipe.objects)


def _line(cells: Sequence[Cell], records: Mapping[str, Record]) -> list[str]:
    found = [records[cell.id] for cell in cells if cell.id in records]
    runs = [record for record in found if record.status == "ok"]
    failed = [record.status for record in found if record.status != "ok"]
    count = ", ".join([f"{len(runs)} of {len(cells)}", *sorted(set(failed))])
    texts = [_mean((run.metrics.get(key) for run in runs), 100) for key, _ in _SCORES]
    values = [run.metrics.get("pq_dataset") for run in runs]
    known = [100 * value for value in values if value is not None]
    if len(known) > 1:
        texts[0] += f" ± {stdev(known):.1f}"
    count_errors = _mean((_over_classes(run, _COUNT) for run in runs), 100, "+.0f")
    size_errors = _mean((_over_classes(run, _D50) for run in runs), 1, "+.1f")
    return [count, *texts, count_errors, size_errors]


def _over_classes(run: Record, figure: str) -> float | None:
    values = [run.metrics.get(f"{figure}/{name}") for name in run.classes[1:]]
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _mean(values: Iterable[float | None], scale: float, form: str = ".1f") -> str:
    known = [scale * value for value in values if value is not None]
    return format(fmean(known), form) if known else MISSING
