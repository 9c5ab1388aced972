"""The columns of a frame from which tables are made, read once for all rows."""

from collections.abc import Sequence
from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.report.records.columns import COLUMNS
from bench.report.records.image_scores import Images
from bench.spec import Cell

Floats = npt.NDArray[np.float64]


class Runs:
    """The runs of a frame as lists, in the order of the frame.

    Selecting a few lines of a wide frame takes about a millisecond, which is too slow for many
    rows.

    Args:
        frame: result of `to_frame`.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self._settings: dict[tuple[str, ...], list[str]] = {}

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells."""
        return cast("list[Cell]", self.frame["cell"].tolist())

    @cached_property
    def statuses(self) -> list[str]:
        """The status of each run."""
        return cast("list[str]", self.frame["status"].tolist())

    @cached_property
    def errors(self) -> list[str]:
        """The reason of each failure; "" for successful runs, or if no reason was recorded."""
        return cast("list[str]", self.frame["error"].fillna("").tolist())

    @cached_property
    def prompts(self) -> list[str]:
        """The prompt origin of each run."""
        return cast("list[str]", self.frame["prompts"].tolist())

    @cached_property
    def weights(self) -> list[str]:
        """The name of the weights of each run, unique among the weights of a backbone."""
        return cast("list[str]", self.frame["weights"].tolist())

    @cached_property
    def threads(self) -> list[int | None]:
        """The number of CPU threads of each run; None if it was not recorded."""
        numbers = self.frame["env/threads"].tolist()
        return [None if _missing(number) else int(number) for number in numbers]

    @cached_property
    def classes(self) -> list[tuple[str, ...]]:
        """Names of the classes of each run, background first; empty if it failed."""
        return cast("list[tuple[str, ...]]", self.frame["classes"].tolist())

    @cached_property
    def images(self) -> list[Images]:
        """The scores of the test images of each run; empty if it failed."""
        return cast("list[Images]", self.frame["per_image"].tolist())

    @cached_property
    def figures(self) -> Floats:
        """Values (columns, runs) in the order of `COLUMNS`, in units of records; NaN if none."""
        keys = [column.key for column in COLUMNS]
        return np.stack([self.frame[key].to_numpy(np.float64, na_value=np.nan) for key in keys])

    def settings(self, facts: Sequence[str]) -> list[str]:
        """The conditions of the measurements of each run, as text; facts not recorded are left out.

        Args:
            facts: columns of the frame, such as "env/cpu".
        """
        key = tuple(facts)
        if key not in self._settings:
            names = [name.removeprefix("env/") for name in facts]
            lines = zip(*(self.frame[name].tolist() for name in facts), strict=True)
            self._settings[key] = [_settings_text(names, line) for line in lines]
        return self._settings[key]


def _settings_text(names: Sequence[str], values: Sequence[object]) -> str:
    known = zip(names, values, strict=True)
    return ", ".join(f"{name} {value}" for name, value in known if not _missing(value))


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or value != value
