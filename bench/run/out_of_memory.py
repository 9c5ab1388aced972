"""Find a way out for a run that ran out of memory although its prediction fits."""

from collections.abc import Callable

from bench.cost.predict.fit import change_below
from bench.run.events import CostPredicted
from bench.run.predictor import plan_of
from bench.spec import Cell

SMALLER = 0.75  # of the predicted peak, where it fits and the memory does not suffice all the same


def send_smaller_change(
    cell: Cell, prediction: CostPredicted, device: str, send: Callable[[str | None], None]
) -> None:
    """Send the first change whose predicted peak is at most `SMALLER` of that of the cell, or None.

    Predictions need memory of their own: call it in a process that has some left.

    Args:
        cell: a run that ran out of memory although its prediction fits.
        prediction: of the cell, with a predicted peak.
        device: name of a torch device.
        send: called once.
    """
    peak = prediction.predicted.run_peak_bytes
    plan = plan_of(cell, prediction.training_images, device)
    send(change_below(plan, int(SMALLER * peak)) if peak and plan.method.lr else None)
