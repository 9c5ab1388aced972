"""Usual names of mask files and of their folders, and the name of the image that a mask belongs to.

A mask is known by its folder (masks/, train_labels/, trainannot/) or by a prefix or suffix of its
name (a_mask, mask_a, a_cp_masks, 21_manual1, a_Simple Segmentation).
"""

import re

_WORDS = (
    r"(?:cp_)?masks?|labels?|labelmaps?|annotations?|annots?|annos?|gts?|ground[ _-]?truths?|"
    r"simple[ _]segmentation|segmentations?|segmaps?|seg|1st[ _-]?manual|manual1?|instances?|"
    r"1stHO"
)
_IMAGE_WORDS = r"images?|imgs?|im|raw|originals?|orig|inputs?|pictures?|photos?|scans?"
_INSTANCE_WORDS = r"cp_masks|instances?"
_MASK_FOLDER = re.compile(rf"(?:(.*?)[ _.-]|(train|val|test))?(?:{_WORDS})(?:[ _-]images?)?", re.I)
_IMAGE_FOLDER = re.compile(rf"(?:(.*?)[ _.-])?(?:{_IMAGE_WORDS}|jpegimages)", re.I)
_KIND_FOLDER = re.compile(rf"(?:{_WORDS}|{_IMAGE_WORDS}|jpegimages)(?:[ _-]images?)?", re.I)
_SUFFIX = re.compile(rf"(.*?)(?:^|[ _.-])(?:{_WORDS})", re.I)
_PREFIX = re.compile(rf"(?:{_WORDS})[ _.-](.*)", re.I)
_IMAGE_SUFFIX = re.compile(rf"(.*?)(?:^|[ _.-])(?:{_IMAGE_WORDS}|training|test)", re.I)
_IMAGE_PREFIX = re.compile(rf"(?:{_IMAGE_WORDS})[ _.-](.*)", re.I)
_INSTANCES = re.compile(
    rf".*?(?:^|[ _.-])(?:{_INSTANCE_WORDS})|(?:{_INSTANCE_WORDS})[ _.-].*", re.I
)
_NUMBERED = re.compile(r"(.+?)[ _.-]masks?[ _.-]?\d+", re.I)


def is_mask_folder(name: str) -> bool:
    """Whether a folder of this name usually holds masks."""
    return _MASK_FOLDER.fullmatch(name) is not None


def is_image_folder(name: str) -> bool:
    """Whether a folder of this name usually holds images."""
    return _IMAGE_FOLDER.fullmatch(name) is not None


def is_mask_stem(stem: str) -> bool:
    """Whether a file of this name, without its suffix, usually is a mask."""
    return any(p.fullmatch(stem) for p in (_SUFFIX, _PREFIX, _NUMBERED))


def is_instance_name(name: str) -> bool:
    """Whether the name of a file (without suffix) or folder says that numbers mark objects."""
    return _INSTANCES.fullmatch(name) is not None


def bare_stem(stem: str) -> str:
    """The name without prefixes and suffixes for masks and images; "" where nothing else is left.

    The names of an image and of its mask have the same result.
    """
    for patterns in ((_SUFFIX, _PREFIX), (_IMAGE_SUFFIX, _IMAGE_PREFIX)):
        match = next((m for m in (p.fullmatch(stem) for p in patterns) if m), None)
        stem = match[1] if match else stem
    return stem


def numbered_stem(stem: str) -> str | None:
    """The name of the image of "a_mask_1", one of several masks; None for other names."""
    match = _NUMBERED.fullmatch(stem)
    return match[1] if match else None


def bare_folder(path: str) -> str:
    """The path of a folder without what says that it holds images or masks, as "train" for both."""
    kept = []
    for name in path.split("/"):
        if _KIND_FOLDER.fullmatch(name):
            continue
        match = _MASK_FOLDER.fullmatch(name) or _IMAGE_FOLDER.fullmatch(name)
        kept.append(next(group for group in match.groups() if group) if match else name)
    return "/".join(name for name in kept if name).casefold()
