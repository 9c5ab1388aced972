"""`--list`: methods, datasets and backbones, all of them or one in full, as tables or as JSON."""

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from bench.cli.parsing import plain
from bench.errors import UserError, no_such

Description = dict[str, Any]


def show_list(name: str, as_json: bool, console: Console) -> int:
    """Print what can be chosen; returns the exit code 0.

    Args:
        name: of a method, a dataset or a backbone, which is shown in full; all things with this
            name are shown. "" for all.
        as_json: one JSON object instead of tables.
        console: to print on.

    Raises:
        UserError: nothing has that name, or the plugin of that name cannot be used here.
    """
    everything = describe_everything()
    if name:
        everything = _only(name, everything)
    if as_json:
        print(json.dumps(everything, indent=1))
    elif name:
        for kind, descriptions in everything.items():
            for description in descriptions:
                _show_one(kind, description, console)
    else:
        _show_tables(everything, console)
    return 0


def describe_everything() -> dict[str, Any]:
    """Describe everything that can be chosen; imports torch.

    Returns:
        "methods" and "datasets": lists of `describe_method` and `describe_dataset`; "backbones": a
        list of dicts with the facts of `Backbone`, image_size in pixels, and weights (where they
        are, or how to get them); "unavailable": name of the file of a plugin to the reason why it
        cannot be imported.
    """
    from bench.plugins.describe import describe_dataset, describe_method
    from bench.plugins.registry import (
        list_datasets,
        list_methods,
        unavailable_datasets,
        unavailable_methods,
    )
    from bench.sam.backbone import unavailable_backbones

    return {
        "methods": [describe_method(method) for method in list_methods()],
        "datasets": [describe_dataset(dataset) for dataset in list_datasets()],
        "backbones": _describe_backbones(),
        "unavailable": {
            **unavailable_methods(),
            **unavailable_datasets(),
            **unavailable_backbones(),
        },
    }


def _describe_backbones() -> list[Description]:
    from bench.sam.backbone import list_backbones
    from bench.sam.weights import cached_weights

    descriptions = []
    for one in list_backbones():
        if one.weights is not None and one.weights.is_file():
            weights = "in the package"
        elif one.public is not None and cached_weights(one.name).is_file():
            weights = "in the cache"
        else:
            fetch = f"weights fetch {one.name}, " if one.public else ""
            fetch += f"weights accept {one.name} and " if one.gated else ""
            weights = f"{fetch}--checkpoint FILE or --weights random"
        descriptions.append(
            {
                "name": one.name,
                "summary": one.summary,
                "image_size": one.image_size,
                "weights": weights,
                "parameters": one.parameters,
                "blocks": one.blocks,
                "projections": one.projections,
                "trained_on": one.trained_on,
                "paper": one.paper,
                "licence": one.licence,
                "terms": one.gated,
                "address": one.public.address if one.public else None,
                "sha256": (one.public.sha256 or "not verified") if one.public else None,
                "file": one.file,
            }
        )
    return descriptions


def _only(name: str, everything: dict[str, Any]) -> dict[str, list[Description]]:
    """The descriptions of that name, by kind."""
    kinds = ("methods", "datasets", "backbones")
    named = {
        kind: [description for description in everything[kind] if description["name"] == name]
        for kind in kinds
    }
    if not any(named.values()):
        if name in everything["unavailable"]:
            raise UserError(f"'{name}' cannot be used here: {everything['unavailable'][name]}")
        known = [description["name"] for kind in kinds for description in everything[kind]]
        raise no_such("method, dataset or backbone", name, known)
    return {kind: descriptions for kind, descriptions in named.items() if descriptions}


def _show_one(kind: str, description: Description, console: Console) -> None:
    """Print one description: a title, its text, and one line per fact."""
    from rich.table import Table

    facts = dict(description)
    console.print(f"[bold]{plain(facts.pop('name'))}[/] ({kind.removesuffix('s')})")
    facts.pop("summary", None)
    if text := facts.pop("description", ""):
        console.print(f"\n{plain(text)}\n", soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for fact, value in facts.items():
        table.add_row(fact.replace("_", " "), plain(_in_words(fact, value)))
    console.print(table)


def _in_words(fact: str, value: Any) -> str:
    if fact == "options":
        return "\n".join(f"{one['name']}={one['default']} ({one['type']})" for one in value) or "-"
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {entry}" for key, entry in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _show_tables(everything: dict[str, Any], console: Console) -> None:
    from rich.table import Column, Table

    methods = Table("Method", "Options and defaults", "Summary", title="Methods")
    for one in everything["methods"]:
        options = "\n".join(f"{option['name']}={option['default']}" for option in one["options"])
        methods.add_row(plain(one["name"]), plain(options), plain(one["summary"]))
    datasets = Table(
        "Dataset", "Classes", Column("Images", no_wrap=True), "Summary", title="Datasets"
    )
    for one in everything["datasets"]:
        classes = ", ".join(one["classes"])
        datasets.add_row(plain(one["name"]), plain(classes), one["images"], plain(one["summary"]))
    datasets.add_row("path/to/folder", "", "", "any folder with images/ and masks/ inside")
    backbones = Table("Backbone", "Image side", "Weights", title="Backbones")
    for one in everything["backbones"]:
        backbones.add_row(one["name"], f"{one['image_size']} px", one["weights"])
    for table in (methods, datasets, backbones):
        console.print(table)
    for name, reason in everything["unavailable"].items():
        console.print(f"[yellow]unavailable[/] {plain(name)}: {plain(reason)}", soft_wrap=True)
