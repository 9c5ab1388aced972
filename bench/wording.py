"""How counts are written in sentences."""


def counted(number: int, what: str) -> str:
    """The number and what is counted, as in "1 label" and "5 labels"."""
    return f"{number} {what}{'s'[: number != 1]}"
