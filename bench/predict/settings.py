"""How images are predicted, and what is written."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.data.decode import Levels
from bench.errors import UserError, check_number
from bench.files import file_sha256
from bench.predict.pictures import Picture
from bench.predict.pixel_size import FROM_FILE, pixel_size_in_file

MAPS = ("probability", "uncertainty")


@dataclass(frozen=True)
class PredictionSettings:
    """How images are predicted, and what is written.

    Attributes:
        evaluation: "auto", "whole" or "tiles".
        maps: of `MAPS`: "probability" of the foreground, "uncertainty"; float32 TIFF.
        levels: the stored values that become 0 and 255; None: as for the images of a training.
        prompts: CSV or COCO file with boxes or points, for models that take them.
        pixel_size: side of a pixel in any unit; sizes and places of objects come in this unit.
            "file": in micrometres, as each image states it.
        min_area: smaller objects, in pixels, are not in the tables; label maps still have them.
        tiff: write label maps as TIFF, also where PNG could hold them.
    """

    evaluation: str = "auto"
    maps: tuple[str, ...] = ()
    levels: Levels | None = None
    prompts: Path | None = None
    pixel_size: float | str = 1.0
    min_area: int = 1
    tiff: bool = False

    def check(self) -> None:
        """Check the values, except `evaluation` and `prompts`, which depend on the model.

        Raises:
            UserError: the first value that is not allowed.
        """
        for name in self.maps:
            if name not in MAPS:
                raise UserError(f"--maps cannot be '{name}': give {' or '.join(MAPS)}, or both")
        if self.levels is not None:
            for level in self.levels:
                check_number("levels", level, "a number of --levels")
            if not self.levels[0] < self.levels[1]:
                raise UserError("--levels LOW,HIGH needs a low value below the high one")
        if self.pixel_size != FROM_FILE:
            check_number("pixel-size", self.pixel_size)
        check_number("min-area", self.min_area)

    def side_of_pixel(self, picture: Picture) -> float:
        """Side of a pixel of a picture.

        Raises:
            UserError: as `pixel_size_in_file`.
        """
        if self.pixel_size == FROM_FILE:
            return pixel_size_in_file(picture.path)
        return float(self.pixel_size)

    def to_plain(self) -> dict[str, Any]:
        """The settings as JSON holds them; a file of prompts by the hash of its content.

        Raises:
            OSError: the file of prompts cannot be read.
        """
        values = json.loads(json.dumps(asdict(self), default=str))
        if self.prompts is not None:
            values["prompts"] = file_sha256(self.prompts)
        return dict(values)
