"""Write predicted class maps into a results folder."""

from pathlib import Path

from PIL import Image

from bench.evaluate.scoring import Map
from bench.files import write_error


def write_class_map(classes: Map, path: Path) -> None:
    """Write a class map as PNG, in a folder that is created if it does not exist.

    Args:
        classes: (H, W) uint8.
        path: with the ending .png; a file is replaced.

    Raises:
        WriteError: the file cannot be written, for example because the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(classes).save(path)
    except OSError as error:
        raise write_error(path, error) from error
