"""Run a comparison from Python."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from bench.api.results import Results
from bench.ask.request import FP32_NOTE, Request, pick_fields
from bench.errors import UserError, no_such
from bench.run.events import Event, RunStarted
from bench.run.schedule import RunSettings, run_cells, warm_up
from bench.run.shard import shard_of
from bench.run.store import Store

Names = str | Iterable[str]
_LISTS = ("methods", "datasets", "backbones", "seeds", "labels")  # text with commas in a Request

Settings = TypeVar("Settings", Request, RunSettings)


def compare(
    methods: Names,
    datasets: Names | Path,
    *,
    out: str | Path = "results/local",
    progress: Callable[[Event], None] | None = None,
    **options: Any,
) -> Results:
    """Train, evaluate and measure methods on datasets; write records to the results folder.

    Runs that have a record there are not repeated, unless its status is "failed", or not "ok" with
    `retry`. Several run at a time (`jobs`); a run that another process is doing is awaited. Each
    has a new process, which does not execute the calling script or notebook. Therefore no
    `if __name__ == "__main__"` is needed, and methods must be in plugin files, not in the script.
    An interrupt (Ctrl-C) stops the running cells and is raised; records of finished runs remain.

    Args:
        methods: names with options, as `"lora[rank=1|4],adapter"` or a list of such names.
        datasets: names, or folders of images and masks; one, a list, or separated by commas. No
            path may contain a comma.
        out: results folder; several processes on one machine may use it at the same time.
        progress: called in this process with each event of `bench.run.events`; None: no messages.
        options: options of the command line, with underscores instead of hyphens. The values are
            numbers or text; if the command line takes a list, a Python list is possible, too.
            What to run: backbones, weights, checkpoint, seeds (a number of seeds, or a list of
            them), folds, labels, split (as "7:2:1"), test_dataset (a name, or a folder as text or
            path), channels (as "0,2,1"), crop (as "bottom=60"), allow_leakage.
            Recipe: protocol, fit, image_size (pixels), depth (slices), epochs, steps, batch_size,
            lr, precision, loss, augmentation, evaluation, objects ("components", "watershed",
            "distances", "rays"), proposer (a method, as "lora"), zoom (a number or
            "auto"), mask_grid ("coarse", "fine"), checkpointing, accumulate.
            How to run it: device, jobs (runs at a time), threads, timeout (seconds for each cell),
            stall (as "30min"), retry, keep, save_every (as "5min"), predict (memory and time of
            each run, before it), fit_memory, executor ("local", "slurm", "ray"), slurm (options of
            sbatch), shard (as "3/16"), log ("tensorboard", "wandb", "mlflow").
            `Request` and `RunSettings` describe each of them, with its default.

    Returns:
        The records of the requested runs, in the order of the request. A run that fails raises
        nothing: its record has another status than "ok".

    Raises:
        UserError: an option, a name or a value is unknown or out of range, a dataset or a record of
            the folder cannot be read, or images of different parts overlap (without
            `allow_leakage`): all this is raised before the first run starts. Later: a file cannot
            be written. The message names options as the command line writes them.

    Example:
        >>> results = bench.compare("lora,adapter", "steel", seeds=3, out="results/mine")
        >>> results.table("steel")[["label", "dice_dataset", "dice_dataset_sd"]]
    """
    from bench.ask.grid import expand  # imports torch

    request, settings = read_options({"methods": methods, "datasets": datasets, **options})
    settings.check()
    warm_up()
    device = settings.find_device()
    adapted = request.on_device(device)
    cells, notes = expand(adapted)
    if adapted.precision != request.precision:
        notes.insert(0, FP32_NOTE)
    cells, store = shard_of(cells, settings.shard), Store.open(Path(out))
    if settings.fit_memory:
        from bench.run.fit_memory import fit_memory

        cells, choices = fit_memory(cells, store, device)
        notes += choices

    def emit(event: Event) -> None:
        if isinstance(event, RunStarted) and event.note:
            notes.append(event.note)
        if progress is not None:
            progress(event)

    records = run_cells(cells, store, settings, emit)
    by_id = {record.cell.id: record for record in records}
    return Results(tuple(by_id[cell.id] for cell in cells), tuple(notes))


def read_options(options: Mapping[str, Any]) -> tuple[Request, RunSettings]:
    """Divide the options of `compare` into a request (what to run) and settings (how to run it).

    Args:
        options: name to value, with "methods" and "datasets"; values as in `compare`.

    Returns:
        Both; what is not given has its default. Ranges and names of values are not checked.

    Raises:
        UserError: an option does not exist, its value has the wrong type, or the path of a dataset
            contains a comma.
        TypeError: "methods" or "datasets" is missing.
    """
    known = [field.name for field in (*fields(Request), *fields(RunSettings))]
    for name in options:
        if name not in known:
            raise no_such("option", name, known)
    texts = {name: _text(options[name], name) for name in _LISTS if name in options}
    values = {**options, **texts}
    for name, kind, other in (("checkpoint", Path, str), ("test_dataset", str, Path)):
        if isinstance(options.get(name), other):
            values[name] = kind(options[name])
    return _typed(Request, values), _typed(RunSettings, values)


def _text(value: Any, name: str) -> str:
    """The value as text, as the command line takes it."""
    is_list = not isinstance(value, str | int | Path)
    if is_list and not isinstance(value, Iterable):
        raise UserError(f"{name} is {value!r}: give text, a whole number or a list")
    words = list(value) if is_list else [value]
    for word in words:
        if isinstance(word, Path) and "," in str(word):
            raise UserError(f"{name} has the path '{word}': give a path without a comma")
    joined = ",".join(map(str, words))
    # "3," is the seed 3, and "3" three seeds
    return f"{joined}," if is_list and name == "seeds" else joined


def _typed(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Make an instance of `cls` from the values that are its fields, and check their types."""
    hints, chosen = get_type_hints(cls), pick_fields(cls, values)
    for name, value in chosen.items():
        hint = hints[name] | int if float in get_args(hints[name]) else hints[name]
        if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
            kind = getattr(hints[name], "__name__", hints[name])
            raise UserError(f"{name} is {value!r}: give a value of type {kind}")
    return cls(**chosen)
