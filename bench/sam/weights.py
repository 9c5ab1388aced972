"""Public checkpoints: addresses, SHA-256 sums and licences, and their files in the cache."""

from pathlib import Path

from bench.data.public.fetch import Public, Say, fetch_file
from bench.errors import no_such
from bench.files import cache_folder

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


def cached_weights(backbone: str) -> Path:
    """Return the path in the cache of the weights of a backbone; the file need not exist.

    Raises:
        UserError: the backbone has no public checkpoint.
    """
    return cache_folder() / public(backbone).name


def public(backbone: str) -> Public:
    """Return address, SHA-256 sum and licence of the public checkpoint of a backbone.

    Raises:
        UserError: the backbone has no public checkpoint.
    """
    if backbone not in PUBLIC:
        raise no_such("public checkpoint", backbone, PUBLIC)
    return PUBLIC[backbone]


def fetch(backbone: str, say: Say) -> Path:
    """Download the public checkpoint of a backbone to the cache; see `fetch_file`.

    Nothing is downloaded if the cache has the file with the right SHA-256.

    Args:
        backbone: a key of `PUBLIC`.
        say: called with the bytes received and the full size (None if unknown).

    Returns:
        The path of the file in the cache.

    Raises:
        UserError: the backbone has no public checkpoint, there is no connection, the download is
            incomplete or too large, the disk is full, or the SHA-256 sum of the file is wrong.
    """
    instead = "give --checkpoint a file that you trust"
    return fetch_file(public(backbone), cached_weights(backbone), say, instead)
