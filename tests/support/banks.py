"""Banks for tests."""

from collections.abc import Sequence
from typing import Any

from bench.data.bank import Bank, Sample, Views


def make_bank(samples: Sequence[Sample], **settings: Any) -> Bank:
    """All views of some images; settings as of `Views`."""
    return Views(samples, **settings).draw()
