"""What was read of the images of runs, as the records say."""

from typing import Any

import pandas as pd

_FACTS = tuple(f"env/images/{name}" for name in ("summary", "tested_on", "assumed", "left_out"))


def image_facts_of(frame: pd.DataFrame) -> list[str]:
    """One sentence for each collection that was read, in the order of the runs.

    Args:
        frame: of `to_frame`. Records of older versions have none and are passed over.
    """
    names = [cell.images_label for cell in frame["cell"]]
    columns = [_column(frame, fact) for fact in _FACTS]
    sentences = []
    for name, summary, tested_on, *lists in zip(names, *columns, strict=True):
        if not isinstance(summary, str):
            continue
        parts = [f"{name}: {summary}"]
        parts += [f"tested on {tested_on}"] if isinstance(tested_on, str) else []
        for title, lines in zip(("assumed", "left out"), lists, strict=True):
            parts += [f"{title}: {line}" for line in lines or ()]
        sentences.append("; ".join(parts))
    return list(dict.fromkeys(sentences))


def _column(frame: pd.DataFrame, name: str) -> list[Any]:
    return frame[name].tolist() if name in frame else [None] * len(frame)
