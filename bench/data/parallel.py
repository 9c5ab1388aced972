"""Work on many images at once, with reports of progress."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from bench.data.items import Item
from bench.data.raster import UNREADABLE, size_of

MOST_THREADS = 8
BYTES_PER_PX = 16  # of one image while it is decoded and compared
MOST_BYTES = 600 << 20  # of all images that are decoded at one moment, at least one

Listener = Callable[[str, int, int], None]
T = TypeVar("T")
Result = TypeVar("Result")

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Inside this block, `listener` is told what is read: name of the work, steps done, all steps.

    Args:
        listener: called in the thread that reads, at the start and after each step; all steps are
            0 where their number is not known.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tell(what: str, done: int, total: int = 0) -> None:
    """Report progress of work that is not done by `for_each`.

    Args:
        what: as there.
        done: number of steps.
        total: of all steps; 0 where it is not known.
    """
    if listener := _LISTENER.get():
        listener(what, done, total)


def for_each(
    work: Callable[[T], Result], inputs: Sequence[T], what: str, threads: int | None = None
) -> list[Result]:
    """The results of some work, in the order of the inputs; progress is reported.

    Args:
        work: called once for each input, in several threads; the first error is raised.
        inputs: such as items.
        what: the work in two or three words, such as "reading masks".
        threads: at most; None for the number of CPUs of this process, up to `MOST_THREADS`.
    """
    listener = _LISTENER.get() or (lambda what, done, total: None)
    results: list[Result] = []
    listener(what, 0, len(inputs))
    with ThreadPoolExecutor(threads or cpus()) as pool:
        try:
            for result in pool.map(work, inputs):
                results.append(result)
                listener(what, len(results), len(inputs))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # not the rest of a large set first
            raise
    return results


def cpus() -> int:
    """The number of CPUs that this process may use, up to `MOST_THREADS`."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(available or 1, MOST_THREADS)


def threads_for(items: Sequence[Item]) -> int:
    """How many images may be decoded at once: as many as there are CPUs, within `MOST_BYTES`.

    Args:
        items: the size of up to 15 of them is read from the headers.

    Returns:
        1 or more; 1 if a header cannot be read, so that the decoder names the damaged file.
    """
    try:
        sizes = [size_of(item.image) for item in items[:: -(-len(items) // 15)]] if items else []
    except UNREADABLE:
        return 1
    largest = max([1, *(height * width for height, width in sizes)])  # a broken header may say 0
    return max(1, min(cpus(), MOST_BYTES // (largest * BYTES_PER_PX)))
