"""Choose a method from Python."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.compare import Names, read_options
from bench.run.events import Event
from bench.run.schedule import warm_up
from bench.run.store import Store

if TYPE_CHECKING:
    from bench.choice.choose import Choice


def choose(
    dataset: str | Path,
    methods: Names = "",
    *,
    out: str | Path = "results/local",
    by: str = "dice",
    max_memory: str | None = None,
    memory_for: str = "",
    max_time: str | float | None = None,
    max_params: str | int | None = None,
    min_speed: float | None = None,
    no_scratch: bool = False,
    tune: bool = False,
    progress: Callable[[Event], None] | None = None,
    **options: Any,
) -> "Choice":
    """Choose the best method for a collection of images, within limits; see docs/choose.md.

    One run of every method that fits, further runs for those that are close. Records are those of
    `compare`: runs that have a record in the results folder are not repeated, so an interrupted
    choice goes on, and the same records give the same verdict.

    Args:
        dataset: a name, or a folder of images and masks.
        methods: as for `compare`; all methods without prompts by default.
        out: results folder.
        by: the score to choose by: dice, iou, boundary_iou, hd95, pq, aji, ap, d50 or
            phase_fraction. All but dice compare held-out parts, of three folds by default.
        max_memory: a memory, as "8GB", or the name of a GPU; the predicted training must fit.
        memory_for: "cpu" or "cuda", what the memory is predicted for; the device of the runs by
            default, and CUDA where a GPU is named.
        max_time: of this call, in seconds or as "20min" or "2h".
        max_params: parameters of the whole model, as a number or "5M".
        min_speed: images per second in inference on this machine.
        no_scratch: leave out methods that are trained from scratch.
        tune: also compare learning rates and one option of each method.
        progress: called with each event of `bench.run.events`.
        options: as for `compare`, without fit_memory; three seeds by default, or one with `folds`.

    Returns:
        The choice; printing it shows the report. `recommended` is the name of the method, `tied`
        the methods that are not distinguishable from it, `stopped` those without all runs and the
        reasons, and `verdict` holds loss, accuracy and scores. `bench.choice.page.write_choice`
        writes the page.

    Raises:
        UserError: a value is unknown or out of range, no method fits, or as `compare`.

    Example:
        >>> choice = bench.choose("my_images", max_memory="8GB", max_time="2h")
        >>> choice.recommended, choice.verdict.loss
    """
    from bench.choice.choose import hold_choice
    from bench.choice.criterion import get_criterion
    from bench.choice.limits import read_limits
    from bench.choice.live import Clock
    from bench.choice.setup import check_settings, complete, set_up

    limits = read_limits(
        {
            "max_memory": max_memory,
            "memory_for": memory_for,
            "max_time": max_time,
            "max_params": max_params,
            "min_speed": min_speed,
            "no_scratch": no_scratch,
        }
    )
    clock = Clock(limits.max_seconds)
    criterion = get_criterion(by)
    values = {"seeds": "", **options, "methods": methods or "", "datasets": dataset}
    request, settings = read_options(values)
    settings.check()
    check_settings(settings)
    warm_up()
    device = settings.find_device()
    request = complete(request.on_device(device), criterion)
    setup = set_up(request, criterion, limits, device, tune=tune)
    store = Store.open(Path(out))

    def emit(event: Event) -> None:
        if progress is not None:
            progress(event)

    return hold_choice(setup, request, criterion, limits, settings, store, clock, emit)
