"""What was read of a collection: facts for people, before and after a run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.contents import Contents, inspect_all
from bench.data.items import IGNORE, Collection
from bench.data.masks import NOT_FINITE
from bench.data.split import split
from bench.errors import UserError
from bench.wording import counted

SHOWN = 6  # kinds of sizes, or classes, that are named in short texts


@dataclass(frozen=True)
class ClassFacts:
    """One class in the masks.

    Attributes:
        name: of the class.
        share: of all labelled pixels, in [0, 1].
        images: number of images that hold it.
    """

    name: str
    share: float
    images: int


@dataclass(frozen=True)
class CollectionFacts:
    """What was read of a collection.

    Attributes:
        name: of the collection.
        images: number of images.
        sizes: height and width in pixels of the selected frames to number of images, the most
            frequent first.
        types: such as "uint8, 1 channel" to number of images, likewise.
        classes: one entry for each class, the background first.
        unlabelled: share of all pixels, in [0, 1].
        instances: number of numbered objects in all images; None without instance maps.
        numbered: number of images with an instance map.
        specimens: number of specimens.
        volumes: number of volumes; 0 for single images.
        parts: number of images in each part of the split; empty where none can be made.
        assumed: what the reader assumed, as sentences; also why no split can be made.
        left_out: files that are not used, in words.
    """

    name: str
    images: int
    sizes: dict[tuple[int, int], int]
    types: dict[str, int]
    classes: tuple[ClassFacts, ...]
    unlabelled: float
    instances: int | None
    numbered: int
    specimens: int
    volumes: int
    parts: dict[str, int]
    assumed: tuple[str, ...]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, collection: Collection) -> "CollectionFacts":
        """Summarise a collection; its files are decoded if the reader did not keep their contents.

        The parts are those of the split with all defaults.

        Raises:
            UserError: a file cannot be read.
        """
        contents = collection.contents or inspect_all(collection.items)
        numbers = [content.numbers for content in contents if content.numbers is not None]
        parts, reason = _parts(collection)
        classes, unlabelled = _classes(collection, contents)
        return cls(
            name=collection.name,
            images=len(collection.items),
            sizes=_counts(content.size for content in contents),
            types=_counts(
                f"{content.type}, {counted(content.channels, 'channel')}" for content in contents
            ),
            classes=classes,
            unlabelled=unlabelled,
            instances=sum(numbers) if numbers else None,
            numbered=len(numbers),
            specimens=len({item.group for item in collection.items}),
            volumes=len({item.volume for item in collection.items if item.volume}),
            parts=parts,
            assumed=(*collection.notes, *reason),
            left_out=collection.left_out,
        )

    def rows(self) -> Iterator[tuple[str, str]]:
        """Name and text of each fact, without classes."""
        yield "images", str(self.images)
        sizes = _listed(self.sizes, lambda size: f"{size[0]} x {size[1]}")
        yield "height x width", sizes
        yield "values", _listed(self.types, str)
        objects = "none numbered: connected pieces of a class are its objects"
        if self.instances is not None:
            objects = f"{self.instances} in {counted(self.numbered, 'image')}"
        yield "instances", objects
        yield "specimens", str(self.specimens)
        if self.volumes:
            yield "volumes", str(self.volumes)
        parts = ", ".join(f"{part} {number}" for part, number in self.parts.items())
        yield "images per part", parts or "no split"
        yield "unlabelled", f"{self.unlabelled:.2%} of all pixels"

    @property
    def summary(self) -> str:
        """The facts in one line, without what was assumed."""
        sizes = _listed(self.sizes, lambda size: f"{size[0]} x {size[1]}", most=2)
        classes = ", ".join(
            f"{one.name} {one.share:.1%} ({one.images})" for one in self.classes[: SHOWN + 1]
        )
        if len(self.classes) > SHOWN + 1:
            classes += f" and {len(self.classes) - SHOWN - 1} more"
        instances = "no instances"
        if self.instances is not None:
            instances = counted(self.instances, "instance")
        parts = ", ".join(f"{part} {number}" for part, number in self.parts.items())
        return (
            f"{counted(self.images, 'image')} ({sizes} px; {_listed(self.types, str, most=2)}),"
            f" {counted(self.specimens, 'specimen')}, {instances}, {parts or 'no split'}; share of"
            f" pixels (images) of {classes}; unlabelled {self.unlabelled:.1%}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Summary, assumptions and files that are left out, as stored with a record."""
        return {
            "summary": self.summary,
            "assumed": list(self.assumed),
            "left_out": list(self.left_out),
        }


def _counts(values: Any) -> dict[Any, int]:
    return dict(Counter(values).most_common())


def _listed(counts: dict[Any, int], text: Any, most: int = SHOWN) -> str:
    """Kinds with their numbers of images; without number if there is only one kind."""
    if len(counts) == 1:
        return str(text(next(iter(counts))))
    words = [f"{text(kind)} ({number})" for kind, number in list(counts.items())[:most]]
    more = f" and {len(counts) - most} more" if len(counts) > most else ""
    return ", ".join(words) + more


def _parts(collection: Collection) -> tuple[dict[str, int], list[str]]:
    try:
        parts = split(collection)
    except UserError as error:
        return {}, [f"no split: {error}"]
    named = {"train": parts.train, "val": parts.val, "test": parts.test}
    return {name: len(items) for name, items in named.items()}, list(parts.notes)


def _classes(
    collection: Collection, contents: Sequence[Contents]
) -> tuple[tuple[ClassFacts, ...], float]:
    """Facts about each class, and the share of unlabelled pixels."""
    table = collection.mask_values or {k: k for k in range(collection.num_classes)}
    pixels, images = Counter[int](), Counter[int]()
    for content in contents:
        held = Counter[int]()
        for value, count in content.values.items():
            held[IGNORE if value == NOT_FINITE else table.get(value, IGNORE)] += count
        pixels.update(held)
        images.update(held.keys())
    labelled = max(1, pixels.total() - pixels[IGNORE])
    facts = tuple(
        ClassFacts(name, pixels[index] / labelled, images[index])
        for index, name in enumerate(collection.classes)
    )
    return facts, pixels[IGNORE] / max(1, pixels.total())
