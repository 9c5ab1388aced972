"""Public checkpoints: where they are, what they must be, and the cache they are kept in."""

from pathlib import Path

from bench.data.public.fetch import Public, Say, cache_folder, fetch_file
from bench.errors import no_such

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


def fetch(backbone: str, say: Say) -> Path:
    """Get a published file into the cache; see `fetch_file`.

    Raises:
        UserError: no such file, no connection, a cut download, or a file that is not the right one.
    """
    instead = "give --checkpoint a file that you trust"
    return fetch_file(public(backbone), cached_weights(backbone), say, instead)
