"""Average ranks over datasets as a table."""

from bench.report.compare.across_datasets import Standing
from bench.report.tables.markdown import markdown_table


def ranks_table(standing: Standing) -> list[tuple[str, str, str]]:
    """Return average (two decimals), best and worst rank of every method, as texts.

    They are in the order of `standing.methods`; the best rank is the lowest number.
    """
    return [
        (f"{ranks.mean():.2f}", f"{ranks.min():g}", f"{ranks.max():g}")
        for ranks in standing.ranks.T
    ]


def ranks_markdown(standing: Standing) -> str:
    """Return the table of average, best and worst rank of every method in Markdown.

    Backbone and weights are in columns of their own; the order is that of `standing.methods`.
    """
    headers = ["Method", "Backbone", "Weights", "Average rank", "Best", "Worst"]
    lines = [
        [f"`{row.label}`", row.backbone, row.weights, *ranks]
        for row, ranks in zip(standing.methods, ranks_table(standing), strict=True)
    ]
    return markdown_table(headers, lines, ["left"] * 3 + ["right"] * 3)
