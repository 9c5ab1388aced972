"""Which figures in a folder show what is to be shown, so that they need not be drawn again."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.files import file_sha256, parse_json, write_atomic
from bench.report.compare.comparison import Comparison
from bench.report.records.digests import RecordDigests, code_version, digest_of


class FigureCache:
    """Notes of the figures of earlier reports: one JSON file for each.

    A note has a key, which is a hash of all that the figure depends on, and the SHA-256 of the
    files of the figure. A figure is drawn again if its key has changed, if one of its files is
    missing or has changed, or if its note cannot be read. The folder can be deleted at any time.

    Args:
        folder: of the notes; it need not exist.
        digests: of the records of the report.
    """

    def __init__(self, folder: Path, digests: RecordDigests) -> None:
        self._folder, self._digests = folder, digests

    def records_of(self, comparison: Comparison) -> list[Any]:
        """What the rows of a comparison show, for keys: their names and digests of their runs."""
        return [
            [row.label, row.backbone, row.weights, row.prompts, self._digests.of_cells(row.cells)]
            for row in comparison.rows
        ]

    def find(self, name: str, contents: Any, plots: Path) -> list[Path] | None:
        """The files of a figure that shows these contents; None if it must be drawn.

        Args:
            name: of the figure, without suffix.
            contents: all that the figure depends on besides the code, as JSON can hold it.
            plots: folder of the figures.

        Returns:
            The files, none for a figure that has nothing to show.
        """
        try:
            note = parse_json(self._path(name).read_text())
            files: dict[str, str] = note["files"]
            if note["key"] != self._key(name, contents) or not {*files} <= _files_of(name):
                return None
            paths = [plots / file for file in files]
            unchanged = all(file_sha256(path) == files[path.name] for path in paths)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # no note, or not one of ours
        return paths if unchanged else None

    def note(self, name: str, contents: Any, files: Sequence[Path]) -> None:
        """Note a figure that has just been drawn.

        Args:
            name: of the figure, without suffix.
            contents: as for `find`.
            files: of the figure; none if it has nothing to show.

        Raises:
            UserError: the note cannot be written.
        """
        hashes = {path.name: file_sha256(path) for path in files}
        values = {"figure": name, "key": self._key(name, contents), "files": hashes}
        write_atomic(self._path(name), json.dumps(values, indent=1) + "\n")

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _key(self, name: str, contents: Any) -> str:
        return digest_of([code_version(), name, contents])


def _files_of(name: str) -> set[str]:
    return {f"{name}.png", f"{name}.svg"}
