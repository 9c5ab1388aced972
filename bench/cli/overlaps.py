"""Files that mend a folder whose parts overlap, next to the results."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import UserError


@contextmanager
def proposing_groups(out: Path) -> Iterator[None]:
    """Where images of different parts stop the block, write all pairs and a proposal, and say so.

    Args:
        out: results folder; the files are in `overlaps/NAME` of it.

    Raises:
        UserError: images of different parts overlap; the message names the files.
    """
    from bench.data.leakage.gate import LeakageError
    from bench.data.leakage.proposal import write_proposal

    try:
        yield
    except LeakageError as error:
        files = write_proposal(error, out / "overlaps" / error.collection.name)
        proposed = [f"'{files[name]}'" for name in ("groups", "split") if name in files]
        message = f"{error}; all pairs are in '{files['pairs']}'"
        if proposed:
            several = "these files" if len(proposed) > 1 else "this file"
            lost = error.collection.official and "split" not in files
            also = ", remove its split file," if lost else ""
            message += (
                f"; to keep overlapping images together, copy {several} into the folder of the"
                f" images{also} and run again: {', '.join(proposed)}"
            )
        raise UserError(message) from error
