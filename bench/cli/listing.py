"""What there is to choose from."""

from rich.console import Console

from bench.cli.parsing import plain


def show_all(console: Console) -> int:
    """Print methods, datasets and backbones, and what is unavailable and why."""
    from rich.table import Column, Table

    from bench.data.public.locations import find_folder
    from bench.plugins.registry import (
        list_datasets,
        list_methods,
        unavailable_datasets,
        unavailable_methods,
    )
    from bench.sam.build import ARCHITECTURES
    from bench.sam.weights import cached_weights

    methods = Table("Method", "Options and defaults", "What it is", title="Methods")
    for method in list_methods():
        options = "\n".join(f"{key}={value}" for key, value in method.options.items())
        methods.add_row(method.name, plain(options), plain(method.summary))
    images = Column("Images", no_wrap=True)
    datasets = Table("Dataset", "Classes", images, "What it is", title="Datasets")
    for dataset in list_datasets():
        classes = ", ".join(dataset.classes)
        state = "drawn"
        if dataset.in_files:
            state = "here" if find_folder(dataset.name) else "not here"
        datasets.add_row(dataset.name, plain(classes), state, plain(dataset.summary))
    datasets.add_row("path/to/folder", "found or given", "yours", "any folder of images and masks")
    backbones = Table("Backbone", "Image side", "Weights", title="Backbones")
    for name, arch in ARCHITECTURES.items():
        if arch.weights is not None and arch.weights.is_file():
            weights = "shipped"
        elif cached_weights(name).is_file():
            weights = "in the cache"
        else:
            weights = f"weights fetch {name}, --checkpoint FILE or --weights random"
        backbones.add_row(name, f"{arch.image_size} px", weights)
    for table in (methods, datasets, backbones):
        console.print(table)
    for name, reason in {**unavailable_methods(), **unavailable_datasets()}.items():
        console.print(f"[yellow]unavailable[/] {plain(name)}: {plain(reason)}")
    return 0
