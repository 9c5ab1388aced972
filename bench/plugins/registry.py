"""Register methods and datasets, and look them up by name."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.data.items import Collection
from bench.data.selection import WHOLE, Selection
from bench.errors import UserError, no_such
from bench.plugins.discover import Plugins
from bench.plugins.drawn import draw_once
from bench.plugins.mask_grid import on_mask_grid
from bench.spec import OptionValue, PromptSource, Recipe
from bench.wording import program_name

if TYPE_CHECKING:
    from torch import nn

    from bench.data.public.published import Listing

Build = TypeVar("Build", bound="Callable[..., nn.Module]")
Load = TypeVar("Load", bound="Callable[..., Listing]")


@dataclass(frozen=True)
class Method:
    """One way of adapting the foundation model.

    Attributes:
        name: as in `--methods`.
        build: `build(task, *, option=default, ...) -> nn.Module`, as in methods/README.md; for a
            task with another grid of masks, the model with the stage that makes it.
        paper: address of the paper that describes the method.
        lr: its peak learning rate under the `equal` protocol; None if nothing is trained.
        prompts: origin of its prompts at evaluation.
        from_scratch: whether it uses no foundation model.
        summary: one line for `--list`.
        options: name of each option to its default.
        published: the recipe of its paper or its authors' code, for the `published` protocol.
        published_size: side of the images in that recipe, in pixels; None for the backbone's own.
        published_options: options that have other values in that recipe than by default.
        idle: trainable parameters that never change, see `register_method`.
        automatic_options: options with all of which its prompts need no ground truth.
        file: the file that registers it.
    """

    name: str
    build: "Callable[..., nn.Module]"
    paper: str
    lr: float | None
    prompts: PromptSource
    from_scratch: bool
    summary: str
    options: Mapping[str, OptionValue]
    published: Recipe | None = None
    published_size: int | None = None
    published_options: Mapping[str, OptionValue] = field(default_factory=dict)
    idle: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    automatic_options: Mapping[str, OptionValue] = field(default_factory=dict)

    def prompt_origin(self, options: Mapping[str, OptionValue]) -> PromptSource:
        """Where prompts come from, except for the mode `generator`, with these options set.

        Args:
            options: those that differ from the defaults.
        """
        values = {**self.options, **options}
        needed = self.automatic_options.items()
        return "automatic" if needed and needed <= values.items() else self.prompts


@dataclass(frozen=True)
class Dataset:
    """One registered image collection; `load_collection` reads its images.

    Attributes:
        name: as in `--dataset`.
        load: returns the labelled images, always in the same order. If it has a parameter, it
            receives the folder of the files, and may return the items of each published part.
        classes: name of each class; index 0 is the background or matrix.
        source: address or paper.
        licence: as the publisher states it.
        images_may_be_shown: whether the licence allows pictures of it in published results.
        summary: one line for `--list`.
        mask_values: stored mask value to class index or 255; None if masks hold class indices.
        file: the file that registers it.
    """

    name: str
    load: "Callable[..., Listing]"
    classes: tuple[str, ...]
    source: str
    licence: str
    images_may_be_shown: bool
    summary: str
    mask_values: Mapping[int, int] | None = None
    file: str = ""

    @property
    def in_files(self) -> bool:
        """Whether its images are in files, which must be downloaded or put there first."""
        return bool(inspect.signature(self.load).parameters)


def register_method(
    name: str,
    *,
    paper: str,
    lr: float | None,
    prompts: PromptSource = "none",
    from_scratch: bool = False,
    published: Recipe | None = None,
    published_size: int | None = None,
    published_options: Mapping[str, OptionValue] | None = None,
    idle: Mapping[str, str] | None = None,
    automatic_options: Mapping[str, OptionValue] | None = None,
) -> Callable[[Build], Build]:
    """Return a decorator that registers a build function and returns it unchanged.

    The options of the method are the keyword-only parameters of the function, with their defaults.

    Args:
        name: snake_case, used in `--methods`; also the name of the file.
        paper: address of the paper.
        lr: peak learning rate; None if nothing is trained.
        prompts: origin of its prompts at evaluation: "none", "automatic" or "oracle".
        from_scratch: whether it uses no foundation model.
        published: the recipe of its paper or its authors' code; None if none is known.
        published_size: side of the images in that recipe; None for the backbone's own.
        published_options: options that have other values in that recipe than by default.
        idle: parameters that are trainable, but never change because their gradient is missing or
            always zero. The original code does not freeze them either, so they count as trainable.
            The keys are regular expressions for their whole names, the values are the reasons.
        automatic_options: options with which the prompts need no ground truth, such as
            {"prompt": "image"}; with all of them the origin is "automatic" instead of `prompts`.

    Raises:
        ValueError: raised by the decorator: the name is already registered, an option has no
            default of type bool, int, float or str, or `automatic_options` names no option.
    """

    def register(build: Build) -> Build:
        options = _options(name, build)
        for key in automatic_options or {}:
            if key not in options:
                raise ValueError(f"automatic_options of method '{name}': it has no option '{key}'")
        summary = _first_line(build)
        method = Method(
            name,
            on_mask_grid(build),
            paper,
            lr,
            prompts,
            from_scratch,
            summary,
            options,
            published,
            published_size,
            published_options or {},
            idle or {},
            _file_of(build),
            automatic_options or {},
        )
        _METHODS.add(name, method)
        return build

    return register


def register_dataset(
    name: str,
    *,
    classes: tuple[str, ...],
    source: str,
    licence: str,
    images_may_be_shown: bool = False,
    mask_values: Mapping[int, int] | None = None,
) -> Callable[[Load], Load]:
    """Return a decorator that registers a function which loads a dataset, and returns it unchanged.

    The function returns all items, or the items of each part ("train", "val", "test") of the
    split that comes with the dataset. That of a procedural dataset has no parameter. That of a
    public dataset takes the folder of its files; if these are slow to decode, it can have a second
    parameter `keep`, see `bench.data.public.cache.keeper`.

    Args:
        name: snake_case, used in `--dataset`; also the name of the file.
        classes: name of every class, the background first.
        source: address or paper; for a public collection, the address to get it from.
        licence: as the publisher states it.
        images_may_be_shown: whether the licence allows pictures of it in published results.
        mask_values: stored mask value to class index or 255; None if masks hold class indices.

    Raises:
        ValueError: raised by the decorator: the name is already registered.
    """

    def register(load: Load) -> Load:
        summary = _first_line(load)
        dataset = Dataset(
            name,
            load,
            classes,
            source,
            licence,
            images_may_be_shown,
            summary,
            mask_values,
            _file_of(load),
        )
        _DATASETS.add(name, dataset)
        return load

    return register


def get_method(name: str) -> Method:
    """Return the method with this name.

    Raises:
        UserError: no method has this name, its file cannot be imported here, or a plugin folder
            does not exist or has no plugins.
    """
    method = _METHODS.find(name)
    if method is None:
        raise no_such("method", name, _METHODS.names())
    return method


def is_built_in(method: Method) -> bool:
    """Whether a method is one of this project, not of a plugin."""
    return _METHODS.has_file(method.file)


def get_dataset(name: str) -> Dataset:
    """Return the registered dataset with this name.

    Raises:
        UserError: as `get_method`.
    """
    dataset = _DATASETS.find(name)
    if dataset is None:
        raise no_such("dataset", name, _DATASETS.names())
    return dataset


def list_methods(built_in_only: bool = False) -> list[Method]:
    """Return every method that can be used here, sorted by name. This imports all, and torch.

    Args:
        built_in_only: leave out the methods of entry points and plugin folders.
    """
    methods = _METHODS.all()
    return [m for m in methods if not (built_in_only and m.name in _METHODS.external)]


def list_datasets() -> list[Dataset]:
    """Return every registered dataset that can be used here, sorted by name; import all files."""
    return _DATASETS.all()


def unavailable_methods() -> dict[str, str]:
    """Return the method plugins that cannot be imported here: name of the plugin to the reason."""
    _METHODS.all()
    return dict(_METHODS.unavailable)


def methods_lacking_a_library() -> set[str]:
    """Return the names in `unavailable_methods` that only need a library which is not installed."""
    _METHODS.all()
    return set(_METHODS.lacking)


def unavailable_datasets() -> dict[str, str]:
    """Return the dataset plugins that cannot be imported here: name of the plugin to the reason."""
    _DATASETS.all()
    return dict(_DATASETS.unavailable)


def load_collection(name_or_path: str, selection: Selection = WHOLE) -> Collection:
    """Read the labelled images of a registered dataset, or of a folder of images and masks.

    The images of a built-in dataset that draws them are drawn once in a process.

    Args:
        name_or_path: a registered name; otherwise the path of a folder ("~" is expanded).
        selection: channels and frame of the images.

    Raises:
        UserError: there is no such dataset and no such folder, the dataset cannot be used here, its
            files are missing or cannot be read, or the folder cannot be read.
    """
    dataset = _DATASETS.find(name_or_path)
    if dataset is not None:
        collection = replace(
            _from_files(dataset) if dataset.in_files else _drawn(dataset),
            licence=dataset.licence,
            source=dataset.source,
            images_may_be_shown=dataset.images_may_be_shown,
        )
        return collection.select(selection)
    folder = Path(name_or_path).expanduser()
    if folder.is_file():
        raise UserError(
            f"'{folder}' is a file: give the folder that holds images/ and masks/; unpack archives"
            " first"
        )
    if not folder.is_dir():
        unknown = no_such("dataset", name_or_path, _DATASETS.names())
        raise UserError(f"{unknown}; or give the path of a folder of images and masks")
    from bench.data.folder.read import read_folder

    try:
        return read_folder(folder, selection)
    except UserError as error:
        from bench.data.layouts.importing import hint

        if not (how := hint(folder, program_name())):
            raise
        raise UserError(f"{error}; {how}") from error


def _drawn(dataset: Dataset) -> Collection:
    built_in = _DATASETS.has_file(dataset.file)

    def draw() -> Collection:
        load: Any = dataset.load
        listing = load()
        parts = listing if isinstance(listing, dict) else {"": listing}
        return Collection(
            dataset.name,
            dataset.classes,
            items=tuple(item for part in parts.values() for item in part),
            official={name: tuple(item.name for item in part) for name, part in parts.items()}
            if isinstance(listing, dict)
            else None,
            independent=built_in,
        )

    return draw_once(dataset.name, draw) if built_in else draw()


def _from_files(dataset: Dataset) -> Collection:
    from bench.data.public.cache import keeper
    from bench.data.public.download import require_folder
    from bench.data.public.published import read_published

    root = require_folder(dataset.name, dataset.source)
    keeps = len(inspect.signature(dataset.load).parameters) > 1
    reader = partial(dataset.load, keep=keeper(dataset.name)) if keeps else dataset.load
    values = None if dataset.mask_values is None else dict(dataset.mask_values)
    return read_published(dataset.name, root, reader, dataset.classes, values)


OPTION_TYPES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
}


def _options(name: str, build: "Callable[..., nn.Module]") -> dict[str, OptionValue]:
    parameters = inspect.signature(build).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    for key, default in options.items():
        if type(default) not in OPTION_TYPES:
            raise ValueError(
                f"option '{key}' of method '{name}' needs a default of type "
                f"{', '.join(kind.__name__ for kind in OPTION_TYPES)}"
            )
    return options


def _file_of(function: Callable[..., object]) -> str:
    try:
        return inspect.getfile(function)
    except TypeError:  # neither a function nor a class: a partial, a callable object
        return f"an object of {type(function).__name__}"


def _first_line(function: Callable[..., object]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


_METHODS: Plugins[Method] = Plugins("method", "bench.methods")
_DATASETS: Plugins[Dataset] = Plugins("dataset", "bench.datasets")
