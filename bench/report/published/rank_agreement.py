"""How far two backbones rank methods alike, on each dataset and over all of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.ask.proxy import SMALL, TITLE, kind_of
from bench.report.published.score_sums import score_sums_of
from bench.report.records.columns import DICE, MISSING
from bench.report.tables.markdown import markdown_table
from bench.spec import Record
from bench.stats.bootstrap import (
    CONFIDENCE,
    DRAWS,
    Interval,
    ScoreSums,
    percentile_interval,
    resample,
)
from bench.stats.paired import Floats
from bench.stats.ranks import kendall_tau
from bench.wording import counted

FEWEST = 3  # methods; the order of two says next to nothing
_Samples = Mapping[str, ScoreSums]  # by method


@dataclass(frozen=True, eq=False)
class Agreement:
    """Kendall's tau between the rankings of methods by two backbones on one dataset.

    Attributes:
        dataset: its name.
        kind: kind of its images.
        methods: names of the methods that both backbones have, sorted.
        seeds: number of seeds of each backbone.
        specimens: number of test specimens.
        tau: Kendall's tau-b of the mean Dice over seeds; NaN if all methods are equal.
        draws: (draws,) tau of each resample of specimens and seeds; all NaN with one specimen.
        repeats: mean tau between two seeds of one backbone, for both backbones. No other ranking
            can be expected to agree better with it. NaN with one seed.
    """

    dataset: str
    kind: str
    methods: tuple[str, ...]
    seeds: int
    specimens: int
    tau: float
    draws: Floats
    repeats: tuple[float, float]

    @property
    def bounds(self) -> Interval | None:
        """95 % interval of `tau`; None if too many resamples leave it undefined."""
        return percentile_interval(self.draws)


def find_agreements(records: Iterable[Record], large: str) -> list[Agreement]:
    """Compare the rankings by Dice of `SMALL` and another backbone.

    A dataset counts if both backbones have at least `FEWEST` methods with the same number of
    successful seeds. Runs with prompts from the truth are left out.

    Args:
        records: of the cells of `bench.ask.proxy.expand_proxy`.
        large: name of the other backbone.

    Returns:
        One for each dataset, sorted by kind and name.
    """
    runs: dict[str, dict[str, dict[str, list[Record]]]] = {}
    for one in records:
        if one.status == "ok" and one.prompts != "oracle":
            by_backbone = runs.setdefault(one.cell.dataset_name, {SMALL: {}, large: {}})
            by_backbone[one.cell.task.backbone].setdefault(one.cell.label, []).append(one)
    agreements = [
        agreement
        for dataset, by_backbone in runs.items()
        if (agreement := _agreement(dataset, by_backbone[SMALL], by_backbone[large]))
    ]
    return sorted(agreements, key=lambda one: (one.kind, one.dataset))


def _agreement(
    dataset: str, small: Mapping[str, list[Record]], large: Mapping[str, list[Record]]
) -> Agreement | None:
    samples = [
        {
            name: sums
            for name, runs in side.items()
            if (sums := score_sums_of(DICE.key, runs)) is not None
        }
        for side in (small, large)
    ]
    shapes = defaultdict(list)
    for name in sorted(samples[0].keys() & samples[1].keys()):
        one, other = (side[name].sums.shape[:2] for side in samples)
        if one == other:
            shapes[one].append(name)
    if not shapes:
        return None
    (seeds, specimens), methods = max(shapes.items(), key=lambda item: len(item[1]))
    if len(methods) < FEWEST:
        return None
    sides = [[side[name] for name in methods] for side in samples]
    values = [np.array([sums.value for sums in side]) for side in sides]
    draws = np.full(DRAWS, np.nan)
    if specimens > 1:
        drawn = resample([*sides[0], *sides[1]]).T
        draws = kendall_tau(drawn[:, : len(methods)], drawn[:, len(methods) :])
    return Agreement(
        dataset,
        kind_of(dataset),
        tuple(methods),
        seeds,
        specimens,
        float(kendall_tau(*values)),
        draws,
        (_repeat(sides[0]), _repeat(sides[1])),
    )


def _repeat(side: Sequence[ScoreSums]) -> float:
    """Mean tau between the rankings of two seeds; NaN with one seed."""
    seeds = range(side[0].sums.shape[0])
    scores = [np.array([ScoreSums(sums.sums[[seed]]).value for sums in side]) for seed in seeds]
    taus = [float(kendall_tau(one, other)) for one, other in combinations(scores, 2)]
    return float(np.mean(taus)) if taus else np.nan


def mean_agreement(agreements: Sequence[Agreement]) -> tuple[float, Interval | None]:
    """Mean tau over datasets, and its 95 % interval.

    The datasets are resampled, too, since conclusions are about images of further datasets. With
    one dataset, the interval is that of this dataset.

    Args:
        agreements: at least one.
    """
    tau = float(np.mean([one.tau for one in agreements]))
    draws = np.stack([one.draws for one in agreements])
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(agreements), size=(len(agreements), draws.shape[1]))
    means = np.take_along_axis(draws, chosen, axis=0).mean(0)
    return tau, percentile_interval(means)


def agreement_markdown(agreements: Sequence[Agreement], large: str) -> str:
    """The ledger of the suite `proxy`: a verdict, a table by dataset, and how to read it.

    Args:
        agreements: result of `find_agreements`; may be empty.
        large: the other backbone.
    """
    parts = [f"# {TITLE}"]
    if not agreements:
        parts.append(
            f"Not known: no dataset has {counted(FEWEST, 'method')} with results of both {SMALL}"
            f" and {large}."
        )
        return "\n\n".join(parts) + "\n"
    parts.append(_verdict(agreements, large))
    headers = ["images", "methods", "seeds", "test specimens", f"tau, {CONFIDENCE:.0%} interval"]
    headers += [f"{SMALL} repeated", f"{large} repeated"]
    lines = []
    for kind in dict.fromkeys(one.kind for one in agreements):
        members = [one for one in agreements if one.kind == kind]
        lines += [_line(one) for one in members]
        if len(members) > 1:
            text = _with_interval(*mean_agreement(members))
            lines.append([f"{kind}: mean", "", "", "", text, "", ""])
    parts.append(markdown_table(headers, lines, ["left"] + ["right"] * 6))
    parts += _left_out(agreements)
    parts.append(
        "Tau is Kendall's tau-b between the rankings of the methods by Dice: 1 for the same order,"
        " 0 for an order by chance, -1 for the reverse order. Intervals: bootstrap over specimens"
        ' and seeds, for means also over datasets. "Repeated" is the mean tau between two seeds of'
        " one backbone: no other ranking can be expected to agree with it better than that."
    )
    return "\n\n".join(parts) + "\n"


def _left_out(agreements: Sequence[Agreement]) -> list[str]:
    """A sentence on the methods that only some datasets have, if there are any."""
    every = {name for one in agreements for name in one.methods}
    gaps = {one.dataset: sorted(every.difference(one.methods)) for one in agreements}
    named = [f"{dataset} ({', '.join(names)})" for dataset, names in gaps.items() if names]
    if not named:
        return []
    return [f"Left out, because runs of a backbone failed or are missing: {'; '.join(named)}."]


def _verdict(agreements: Sequence[Agreement], large: str) -> str:
    tau, bounds = mean_agreement(agreements)
    where = f"over {counted(len(agreements), 'dataset')}"
    text = f"Mean tau {where}: **{_with_interval(tau, bounds)}**. "
    if bounds is None:
        return text + "Not testable: this needs more test specimens."
    if bounds.low > 0:
        return text + f"The rankings of {SMALL} and {large} agree better than by chance."
    if bounds.high < 0:
        return text + f"The rankings of {SMALL} and {large} agree less than by chance."
    return text + f"These runs do not decide whether {SMALL} ranks methods as {large} does."


def _line(one: Agreement) -> list[str]:
    counts = [str(count) for count in (len(one.methods), one.seeds, one.specimens)]
    repeats = [_number(value) for value in one.repeats]
    return [one.dataset, *counts, _with_interval(one.tau, one.bounds), *repeats]


def _with_interval(tau: float, bounds: Interval | None) -> str:
    if bounds is None:
        return _number(tau)
    return f"{_number(tau)} [{_number(bounds.low)}, {_number(bounds.high)}]"


def _number(value: float) -> str:
    return MISSING if np.isnan(value) else f"{value:.2f}"
