"""Does timed work for `versions.py`, which starts it with the version of `bench` to be timed.

Reads one request a line from standard input and answers each with one line on standard output.
"""

import json
import os
import sys
import traceback
from typing import Any, TextIO

import torch
from pairing import CLOCKS
from workload import Work, make

import bench


def main() -> None:
    """Answer until the other side closes."""
    answers = _answers()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as in a cell
    ready: dict[str, Work] = {}
    answers.write(json.dumps({"bench": bench.__file__}) + "\n")
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"seconds": _time(ready, **json.loads(line))}
        except Exception as error:  # an older version may not know the work: that is an answer too
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


def _time(ready: dict[str, Work], work: str, calls: int, clock: str) -> float:
    if work not in ready:
        ready.clear()  # one model at a time
        ready[work] = make(work)
    call, now = ready[work], CLOCKS[clock]
    began = now()
    for _ in range(calls):
        call()
    return now() - began


def _answers() -> TextIO:
    """Standard output for answers alone: what libraries print goes to standard error."""
    stream: Any = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return stream


if __name__ == "__main__":
    main()
