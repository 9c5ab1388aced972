"""Public checkpoints of the backbones, and their files in the cache."""

from collections.abc import Sequence
from pathlib import Path

from bench.data.public.accepted import accept_licence, licence_accepted
from bench.data.public.fetch import Public, fetch_files
from bench.data.public.transfer import Say
from bench.errors import UserError, no_such
from bench.files import cache_folder
from bench.sam.backbone import Backbone, list_backbones
from bench.wording import program_name


def public_files() -> dict[str, Public]:
    """Address, SHA-256 sum and licence of each public checkpoint, by the name of its backbone."""
    return {one.name: one.public for one in list_backbones() if one.public is not None}


def cached_weights(backbone: str) -> Path:
    """Return the path in the cache of the weights of a backbone; the file need not exist.

    Raises:
        UserError: the backbone has no public checkpoint.
    """
    return cache_folder() / f"{backbone}{Path(public(backbone).name).suffix}"


def public(backbone: str) -> Public:
    """Return address, SHA-256 sum and licence of the public checkpoint of a backbone.

    Raises:
        UserError: the backbone has no public checkpoint.
    """
    files = public_files()
    if backbone not in files:
        raise no_such("public checkpoint", backbone, files)
    return files[backbone]


def gated() -> dict[str, Backbone]:
    """The backbones whose weights are under a licence that must be accepted, by their names."""
    return {one.name: one for one in list_backbones() if one.gated is not None}


def accept(backbone: str) -> str:
    """Accept the licence of the weights of a backbone from now on, and return its address.

    Raises:
        UserError: the backbone has no such licence, or it cannot be noted.
    """
    waiting = gated()
    if backbone not in waiting:
        raise no_such("backbone with a licence to accept", backbone, waiting)
    address = str(waiting[backbone].gated)
    accept_licence(address)
    return address


def check_licence(backbone: Backbone) -> None:
    """Check that the licence of the weights of a backbone was accepted, where it must be.

    Raises:
        UserError: it was not.
    """
    if backbone.gated is not None and not licence_accepted(backbone.gated):
        raise UserError(
            f"the weights of {backbone.name} are under the licence {backbone.gated}: read it, then"
            f" accept it once by '{program_name()} weights accept {backbone.name}'"
        )


def fetch(backbone: str, say: Say, accept: Sequence[str] = ()) -> Path:
    """Download the public checkpoint of a backbone to the cache; see `fetch_file`.

    Nothing is downloaded if the cache has the file with the right SHA-256.

    Args:
        backbone: a key of `public_files`.
        say: called with the bytes received and the full size (None if unknown).
        accept: SHA-256 sums that the user accepts, where the publisher states none.

    Returns:
        The path of the file in the cache.

    Raises:
        UserError: the backbone has no public checkpoint, there is no connection, the download is
            incomplete or too large, the disk is full, or the SHA-256 sum of the file is wrong or
            must be accepted first.
    """
    path = cached_weights(backbone)
    fetch_files({public(backbone): path}, say, f"weights fetch {backbone}", accept)
    return path
