"""Names of weights in a report: that of the file, with its folders only if needed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from bench.spec import Cell

Weights = tuple[str, str, str]

BUILT_IN = ("pretrained", "random")


def weights_of(cell: Cell) -> Weights:
    """Return a key of the weights of a cell: backbone, kind of weights, and fingerprint.

    The kind is "pretrained", "random" or "checkpoint". Two files with the same contents have the
    same key, as in the id of a cell. Without a recorded fingerprint, the path of the file or the
    kind takes its place.
    """
    path = cell.task.weights
    word = path if path in BUILT_IN else "checkpoint"
    return cell.task.backbone, word, cell.weights_sha or path


def name_weights(cells: Sequence[Cell]) -> list[str]:
    """Return a name for the weights of each cell, unique among the weights of a backbone.

    The name of a file is its stem. If another file has the same stem, the suffix is added, then
    as many folders as necessary, and if the paths are equal, the fingerprint.

    Args:
        cells: the cells of a report.

    Returns:
        One name for each cell; "pretrained" and "random" keep their names, or get a fingerprint
        too if the report has several versions of them for one backbone.
    """
    keys = [weights_of(cell) for cell in cells]
    paths: dict[Weights, str] = {}
    for key, cell in zip(keys, cells, strict=True):
        paths[key] = min(paths.get(key, cell.task.weights), cell.task.weights)
    names = {key: _names(path) for key, path in paths.items()}
    taken = Counter((backbone, name) for (backbone, *_), some in names.items() for name in some)
    chosen = {
        key: next((name for name in some if taken[key[0], name] == 1), f"{some[0]} {key[-1][:8]}")
        for key, some in names.items()
    }
    return [chosen[key] for key in keys]


def _names(path: str) -> list[str]:
    """All that it may be called, shortest first, none twice."""
    if path in BUILT_IN:
        return [path]
    parts = PurePath(path).parts
    longer = (PurePath(*parts[-depth:]).as_posix() for depth in range(1, len(parts) + 1))
    names = dict.fromkeys((PurePath(path).stem, *longer))
    return [name for name in names if name not in BUILT_IN]  # a file is never called as those
