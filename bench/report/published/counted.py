"""Ledgers of published counts: parameters, operations and sizes next to our own counts.

Nothing is trained and no image is read: models are built on PyTorch's meta device, for the backbone
of the publication.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache

from bench.ask.published import PublishedValue
from bench.ask.suites import CountedModel, Suite, SuiteLine
from bench.report.records.columns import MISSING
from bench.report.tables.markdown import markdown_table

_LISTED = "listed_"  # prefix of the figures that torchinfo defines


def counted_markdown(suite: Suite) -> str:
    """The ledger of a suite of counts, as Markdown.

    Args:
        suite: its `counted` is not None.

    Raises:
        UserError: a model of the suite cannot be built from its options.
        UnsupportedError: a method cannot be used with the backbone of the suite.
    """
    assert suite.counted is not None
    parts = [f"# {suite.title}", f"Published: {suite.source}, table {suite.table}."]
    if suite.differences:
        parts.append(f"Differences: {suite.differences}.")
    model = suite.counted
    parts.append(
        f"Counted, not trained: {suite.backbone}, {model.image_size} px, foreground classes: "
        f"{model.classes}, batch size: {model.batch_size}."
    )
    for dataset in suite.originals:
        for metric, ours in suite.figures.items():
            parts.append(f"## {metric} ({ours})")
            rows = [_row(suite, line, dataset, metric) for line in suite.lines]
            headers = ["line", "published", "counted", "status"]
            parts.append(markdown_table(headers, rows, ["left", "right", "right", "left"]))
    parts.append("Counts are exact: a line is reproduced if all printed digits are equal.")
    return "\n\n".join(parts) + "\n"


def count_line(suite: Suite, line: SuiteLine) -> Mapping[str, int]:
    """The counts of a line's model, by the names that `Suite.figures` uses; without a run, empty.

    They are numbers of parameters and bytes ("trainable_params", "total_params",
    "checkpoint_bytes"). If the suite names a count of torchinfo, the totals of `list_layers` are
    included, with "listed_" before their names.

    Args:
        suite: of counts; its `counted` is not None.
        line: of the suite.

    Raises:
        UserError: the model cannot be built from its options.
        UnsupportedError: the method cannot be used with this backbone.
    """
    assert suite.counted is not None
    if not line.run:
        return {}
    listed = any(ours.startswith(_LISTED) for ours in suite.figures.values())
    return _count(line.run, suite.backbone, suite.counted, listed)


@cache
def _count(run: str, backbone: str, counted: CountedModel, listed: bool) -> Mapping[str, int]:
    import torch

    from bench.ask.method_words import parse_methods
    from bench.cost.params import checkpoint_bytes, count_params, list_layers, trained_state
    from bench.spec import Task

    ((method, options),) = parse_methods(run)
    name = "none" if method.from_scratch else backbone
    meta = torch.device("meta")
    with meta:
        task = Task(counted.classes + 1, counted.image_size, name, "random")
        model = method.build(task, **options).to(meta)
    trainable, total = count_params(model)
    counts = {
        "trainable_params": trainable,
        "total_params": total,
        "checkpoint_bytes": checkpoint_bytes(trained_state(model)),
    }
    if listed:
        totals = asdict(list_layers(model, counted.image_size, counted.batch_size))
        counts |= {f"{_LISTED}{key}": value for key, value in totals.items()}
    return counts


def _row(suite: Suite, line: SuiteLine, dataset: str, metric: str) -> list[str]:
    published = suite.published_value(line, dataset, metric)
    count = count_line(suite, line).get(suite.figures[metric])
    return [
        line.name,
        MISSING if published is None else published.format(published.value or 0.0),
        MISSING if count is None else published.format(count) if published else f"{count:,}",
        _status(suite, line, metric, published, count),
    ]


def _status(
    suite: Suite, line: SuiteLine, metric: str, published: PublishedValue | None, count: int | None
) -> str:
    if count is None:
        return f"not run: {line.reason}"
    if published is None:
        return "not comparable: no published figure"
    if published.equals(count):
        return "reproduced"
    reasons = [suite.apart[key] for key in ("", metric, line.method) if key in suite.apart]
    return f"not comparable: {', '.join(reasons)}" if reasons else "contradicted"
