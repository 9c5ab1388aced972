"""What a layout gives to the writer: images with masks, classes, and a report of what was done."""

import itertools
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bench.data.folder.classes import IGNORED
from bench.data.items import Pixels
from bench.errors import UserError
from bench.wording import counted

BACKGROUND = "background"


@dataclass(frozen=True)
class Options:
    """What the user says about a folder; the defaults say nothing.

    Attributes:
        images: glob of image files by their path in the folder, such as "*_flair.nii.gz"; "" for
            all.
        masks: likewise of mask files; "" for the usual names.
        groups: "folders" (each folder is a specimen), "none", or a regular expression for the path
            of an image, of which the first group (or all) names the specimen; "" for the rule of
            the layout.
        instances: whether mask values are numbers of objects.
        channels: which channels become red, green and blue, or the one that becomes grey; empty
            for the first three.
        levels: the two values that become black and white; None for percentiles of each file.
        runs: direction of run lengths, "columns" or "rows"; "" for columns, if they fit.
        skip: leave out what cannot be converted, and report it, instead of raising an error.
    """

    images: str = ""
    masks: str = ""
    groups: str = ""
    instances: bool = False
    channels: tuple[int, ...] = ()
    levels: tuple[float, float] | None = None
    runs: str = ""
    skip: bool = False


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its mask, as it will be written.

    Attributes:
        name: unique in the draft.
        origin: path of the image in the source, for messages and groups.
        image: file that is copied, or array (H, W) or (H, W, 3).
        mask: file that is copied, or array (H, W), of values as `Draft.classes` lists them.
        instances: numbers (H, W) of objects, 0 is none; None without.
        group: the specimen; "" if the layout does not say.
        part: "train", "val", "test", or "" if the layout does not say.
    """

    name: str
    origin: str
    image: Pixels
    mask: Pixels
    instances: Pixels | None = None
    group: str = ""
    part: str = ""


@dataclass(frozen=True, eq=False)
class Draft:
    """A converted folder, before it is written.

    Attributes:
        classes: name of each class to its mask value, several values, or colour, the background
            first, "ignore" for unlabelled pixels: the content of `classes.json`. None where the
            source names none.
        samples: images and masks, made one at a time.
        meta: further entries of `meta.json`, such as "licence".
    """

    classes: Mapping[str, int | str | list[int]] | None
    samples: Iterator[Sample]
    meta: dict[str, str] = field(default_factory=dict)


@dataclass
class Report:
    """What an import did, filled while it works.

    Attributes:
        skip: as in `Options`.
        notes: sentences on what was assumed, each once.
        left_out: path in the source and the reason, for each file that was not converted.
        counts: numbers of things, such as of drawn objects, by their noun in the singular.
    """

    skip: bool = False
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _topics: set[str] = field(default_factory=set)

    def note(self, text: str, topic: str = "") -> None:
        """Add a sentence, unless it or one on the same topic is there already."""
        if (topic or text) not in self._topics:
            self._topics.add(topic or text)
            self.notes.append(text)

    def leave_out(self, path: str, reason: str) -> None:
        """Say that a file is not converted; this is not an error."""
        self.left_out.append((path, reason))

    def leave_out_others(self, paths: Iterable[str], used: Container[str], reason: str) -> None:
        """Say that the paths that are not used are not converted."""
        self.left_out += [(path, reason) for path in paths if path not in used]

    def fault(self, path: str, reason: str, remedy: str) -> None:
        """Leave out a file that should have been converted but cannot.

        Args:
            path: of the file in the source.
            reason: what is wrong, as the rest of a sentence that begins with the path.
            remedy: what to do, in the imperative.

        Raises:
            UserError: unless `skip`.
        """
        if not self.skip:
            raise UserError(f"'{path}' {reason}; {remedy}, or add --skip to leave out such images")
        self.leave_out(path, reason)

    def sentences(self) -> list[str]:
        """Counts, notes, and one sentence for each reason why files were left out."""
        lines = [_counted(number, noun) for noun, number in sorted(self.counts.items()) if number]
        by_reason: dict[str, list[str]] = {}
        for path, reason in self.left_out:
            by_reason.setdefault(reason, []).append(path)
        for reason, paths in by_reason.items():
            shown = ", ".join(f"'{path}'" for path in paths[:3])
            lines.append(f"left out {counted(len(paths), 'file')} ({reason}), such as {shown}")
        return [*lines, *self.notes]


def _counted(number: int, noun: str) -> str:
    """The plural of "stack of slices" is "stacks of slices"."""
    first = re.split(r"(?= of | without | at |, | that | taken | cut )", noun, maxsplit=1)
    return counted(number, first[0]) + "".join(first[1:])


def class_table(names: list[str], layout: str, *, ignored: bool = False) -> dict[str, int | str]:
    """Values 0, 1, ... for the background and for named classes, in the form of `classes.json`.

    A class called "background" (also with underscores, or in capitals) becomes the background.

    Args:
        names: of the classes, in the order of their values.
        layout: where they come from, for messages.
        ignored: whether the value 255 marks unlabelled pixels.

    Raises:
        UserError: two classes have one name, there is no class, or there are more than 254.
    """
    classes = [safe_class(name) for name in names if not is_background(name)]
    if twice := next((name for name in classes if classes.count(name) > 1), None):
        raise UserError(f"{layout} has two classes called '{twice}'; give each its own name")
    if not 1 <= len(classes) <= 254:
        raise UserError(
            f"{layout} names {len(classes)} classes beside the background; 1 to 254 are allowed"
        )
    table: dict[str, int | str] = {BACKGROUND: 0}
    table |= {name: index for index, name in enumerate(classes, 1)}
    return table | ({"ignore": 255} if ignored else {})


def class_indices(names: Iterable[str]) -> dict[str, int]:
    """Name to mask value as in `class_table`: 1, 2, ... for all but the background."""
    foreground = itertools.count(1)
    return {name: 0 if is_background(name) else next(foreground) for name in names}


def is_background(name: str) -> bool:
    """Whether this is the usual name of the background."""
    return re.sub(r"[^a-z]", "", name.lower()) in ("background", "bg")


def safe_class(name: str) -> str:
    """The name of a class; names that mean unlabelled in classes.json get an addition."""
    return f"{name} (class)" if name.casefold() in IGNORED else name
