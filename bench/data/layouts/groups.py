"""The specimen of an image: by the layout, by its folder, or by a pattern in its path."""

import re

from bench.data.layouts.draft import Options, Sample
from bench.data.layouts.source import part_of
from bench.errors import UserError

# Folders that say what a file is, and not whose it is.
_KINDS = re.compile(
    r"(images?|imgs?|pictures?|photos?|jpegimages|originals?|masks?|labels?|annotations?|gt|"
    r"ground_?truths?|segmentations?|instances?|data|dataset)(tr|ts)?$",
    re.I,
)
FEW_FOLDERS = 6  # so few can be specimens as well as kinds of images


def check_groups(text: str) -> None:
    """Refuse a value of `Options.groups` that is not a word nor a regular expression.

    Raises:
        UserError: see above.
    """
    try:
        re.compile(text)
    except re.error as error:
        raise UserError(
            f"--groups is '{text}', which is not a regular expression ({error}); give folders, "
            "none, or an expression such as '(patient[0-9]+)'"
        ) from error


def group_of(sample: Sample, options: Options) -> str:
    """The specimen of a sample; "" where each image is its own.

    Raises:
        UserError: a regular expression does not fit the path of the image.
    """
    if options.groups in ("", "none", "folders"):
        by_folder = own_folder(sample.origin) if options.groups == "folders" else ""
        return by_folder or sample.group  # slices of one file stay together with "none" too
    match = re.search(options.groups, sample.origin)
    if match is None:
        raise UserError(
            f"--groups '{options.groups}' does not fit the path '{sample.origin}'; give an "
            "expression that fits all, such as '([^/_]+)_'"
        )
    return match[1] if match.re.groups and match[1] else match[0]


def own_folder(path: str) -> str:
    """The folders of an image without those that name a part or a kind of file, as "a/b"."""
    folders = path.split("/")[:-1]
    return "/".join(name for name in folders if not _KINDS.match(name) and not part_of(name))
