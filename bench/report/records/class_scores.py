"""Dice of each class: columns that depend on the dataset, and classes that no method finds."""

from collections.abc import Iterator, Sequence

from bench.report.records.columns import Column
from bench.report.records.rows import Row

MOST_CLASSES = 8  # foreground classes that have columns
FEW, MANY = 3, 7  # importance of their columns in terminal tables
NOT_FOUND = 0.01  # Dice of the best method below which nobody finds a class
NARROW_PX = 4.0  # one position of SAM's mask decoder covers so many pixels of the input


def class_columns(rows: Sequence[Row]) -> list[Column]:
    """A column with the Dice of each foreground class, in the order of the classes.

    There are none for one foreground class, whose Dice is that of all, nor for more than
    `MOST_CLASSES`.

    Args:
        rows: of one comparison.
    """
    names = _foreground(rows)
    if not 2 <= len(names) <= MOST_CLASSES:
        return []
    importance = FEW if len(names) <= 3 else MANY
    return [
        Column(f"dice/{name}", f"Dice {name}", "%", "higher", 100.0, 1, True, importance=importance)
        for name in names
    ]


def missed_classes(rows: Sequence[Row]) -> Iterator[str]:
    """A sentence on each class that no method of a comparison finds, with the reason and a remedy.

    Args:
        rows: of one comparison.
    """
    for name in _foreground(rows):
        scores = [row.class_value(f"dice/{name}").figure for row in rows]
        known = [score for score in scores if score is not None]
        if not known or max(known) >= NOT_FOUND:
            continue
        sentence = f"No method finds the class '{name}' (Dice below {NOT_FOUND:.0%})"
        widths = [row.class_value(f"width/{name}").figure for row in rows]
        measured = [width for width in widths if width is not None]
        if not measured:
            yield f"{sentence}; the width of its objects was not recorded."
        elif measured[0] < NARROW_PX:
            yield (
                f"{sentence}: the median width of its objects is {measured[0]:.1f} px in the input"
                f" of the model, and one position of SAM's mask decoder covers {NARROW_PX:.0f} px."
                " Use --augmentation windows --evaluation tiles, or a larger --image-size."
            )
        else:
            yield (
                f"{sentence}: the median width of its objects is {measured[0]:.1f} px in the input"
                " of the model, so they are not too narrow. Check their masks, add images that"
                " hold them, or train longer."
            )


def _foreground(rows: Sequence[Row]) -> tuple[str, ...]:
    """Names of the foreground classes; empty if no run was successful."""
    for row in rows:
        for place in row.succeeded:
            return tuple(row.runs.classes[place][1:])
    return ()
