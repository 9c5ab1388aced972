"""Public checkpoints: where they are, what they must be, and the cache they are kept in."""

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError, no_such

PART = 1 << 20  # bytes read at once
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Public:
    """One published file; `sha256` is enforced."""

    address: str
    sha256: str
    licence: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.address.rsplit("/", 1)[-1]


_META = "https://dl.fbaipublicfiles.com/segment_anything/"
PUBLIC = {
    "sam_vit_b": Public(
        _META + "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        "Apache-2.0",
    ),
    "sam_vit_l": Public(
        _META + "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        "Apache-2.0",
    ),
    "sam_vit_h": Public(
        _META + "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        "Apache-2.0",
    ),
    "mobile_sam": Public(
        "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        "Apache-2.0",
    ),
}


def cache_folder() -> Path:
    """Where fetched files are kept: $SAM_BENCH_CACHE, else a folder of the user's cache."""
    own = os.environ.get("SAM_BENCH_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(home) / "sam-adapt-bench"


def cached_weights(backbone: str) -> Path:
    """Where the weights of a backbone are once they are fetched."""
    return cache_folder() / public(backbone).name


def public(backbone: str) -> Public:
    """The published file of a backbone.

    Raises:
        UserError: there is none.
    """
    if backbone not in PUBLIC:
        raise no_such("public checkpoint", backbone, PUBLIC)
    return PUBLIC[backbone]


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(backbone: str, say: Callable[[int, int | None], None]) -> Path:
    """Get a published file into the cache, going on where an earlier attempt stopped.

    The file appears under its name only when its SHA-256 is right.

    Args:
        backbone: a key of `PUBLIC`.
        say: called with the bytes at hand and the whole size, None where the server tells none.

    Raises:
        UserError: no such file, no connection, a cut download, or a file that is not the right one.
    """
    file, target = public(backbone), cached_weights(backbone)
    if target.is_file() and digest(target) == file.sha256:
        return target
    partial = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = _download(file.address, partial, say)
    except (OSError, urllib.error.URLError) as error:  # the network, or the disk
        raise UserError(
            f"cannot fetch {file.address} ({error}): run the command again to go on, or get the"
            f" file otherwise and put it at {target}"
        ) from error
    size = partial.stat().st_size
    if whole is not None and size < whole:
        raise UserError(
            f"{file.address} broke off after {size} of {whole} bytes: run the command again to go"
            " on"
        )
    if digest(partial) != file.sha256:
        partial.unlink()
        raise UserError(
            f"{file.address} is not the published file (its SHA-256 differs) and was thrown away:"
            " run the command again, or give --checkpoint a file that you trust"
        )
    partial.replace(target)
    return target


def _download(address: str, partial: Path, say: Callable[[int, int | None], None]) -> int | None:
    """Append to `partial` what is missing; returns the whole size as the server tells it."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing, or another file lies there
            return have
        raise
    with answer:
        if answer.status != 206:  # the server starts from the beginning
            have = 0
        length = answer.headers.get("Content-Length")
        whole = have + int(length) if length else None
        with partial.open("ab" if have else "wb") as file:
            while part := answer.read(PART):
                file.write(part)
                have += len(part)
                say(have, whole)
    return whole
