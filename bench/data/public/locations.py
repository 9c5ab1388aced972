"""Locations of public collections on this machine."""

import os
from pathlib import Path

from bench.data.public.download import collection_folder
from bench.data.public.sources import SOURCES
from bench.errors import UserError
from bench.wording import program_name

VARIABLE = "SAM_BENCH_DATA"


def find_folder(name: str) -> Path | None:
    """The folder `name` in $SAM_BENCH_DATA, else in the cache; None if neither exists."""
    return next((folder for folder in _locations(name) if folder.is_dir()), None)


def require_folder(name: str, source: str) -> Path:
    """The folder of a public collection, as `find_folder`.

    Args:
        name: of the collection and of its folder.
        source: where to get it, for the message.

    Raises:
        UserError: no location has it.
    """
    folder = find_folder(name)
    if folder is None:
        where = " or ".join(f"'{folder.parent}'" for folder in _locations(name))
        raise UserError(
            f"the collection '{name}' is missing: there is no folder '{name}' in {where}; "
            f"{_way(name, source)}, or set {VARIABLE} to the folder that holds it"
        )
    return folder


def _locations(name: str) -> list[Path]:
    own = os.environ.get(VARIABLE)
    return [*([Path(own).expanduser() / name] if own else []), collection_folder(name)]


def _way(name: str, source: str) -> str:
    """How the user gets a collection."""
    known = SOURCES.get(name)
    if known is not None and known.archives:
        return f"fetch it with '{program_name()} data fetch {name}' ({source})"
    return f"{known.how if known else f'get it from {source}'} and put its files there"
