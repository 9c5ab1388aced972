"""Count what methods cost, without data or weights."""

import argparse

from rich.console import Console

from bench.cli.parsing import ArgumentParser, plain


def parser() -> argparse.ArgumentParser:
    """The parser of `cost`."""
    parser = ArgumentParser(
        command="cost",
        description="Count parameters, floating-point operations and file size of methods. No data"
        " or weights are read, nothing is trained.",
    )
    parser.add_argument("--methods", required=True, metavar="LIST", help="as in 'lora[rank=1|4]'")
    parser.add_argument("--backbone", metavar="LIST", default="sam_nano", help="[%(default)s]")
    parser.add_argument("--image-size", type=int, metavar="PX", help="[the backbone's own]")
    parser.add_argument(
        "--depth", type=int, metavar="N", default=1, help="slices in one sample [%(default)s]"
    )
    parser.add_argument("--classes", type=int, default=1, help="foreground classes [%(default)s]")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=1,
        help="images, or stacks, in a training step [%(default)s]",
    )
    parser.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the counts as tables or as JSON; returns the exit code 0.

    Raises:
        UserError: a name or a value is not allowed, or no method works on any backbone.
    """
    import json

    from bench.ask.method_words import parse_methods
    from bench.cost.count import cost_cards

    counted, refused = cost_cards(
        parse_methods(arguments.methods),
        arguments.backbone,
        arguments.image_size,
        arguments.classes,
        arguments.batch_size,
        arguments.depth,
    )
    cards = [card.to_dict() for card in counted]
    for sentence in refused:
        Console(stderr=True).print(f"[yellow]left out: {plain(sentence)}[/]", soft_wrap=True)
    if arguments.json:
        print(json.dumps(cards, indent=1))
        return 0
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    units = {
        "Trains\nM": ("trainable_params", 1e6),
        "Added\nM": ("added_params", 1e6),
        "Total\nM": ("total_params", 1e6),
        "Forward\nGFLOP": ("forward_flops", 1e9),
        "Step\nGFLOP": ("train_step_flops", 1e9),
        "File\nMiB": ("saved_bytes", 2**20),
    }
    classes = f"{arguments.classes} foreground class{'es' if arguments.classes > 1 else ''}"
    for backbone in dict.fromkeys(card["backbone"] for card in cards):
        rows = [card for card in cards if card["backbone"] == backbone]
        on = "from scratch" if backbone == "none" else backbone
        title = f"{on}, {rows[0]['image_size']} px, {classes}"
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
        table.add_column("Method", overflow="fold", min_width=24)
        for heading in units:
            table.add_column(heading, justify="right", no_wrap=True)
        for card in rows:
            figures = (f"{card[key] / unit:.4g}" for key, unit in units.values())
            table.add_row(plain(card["method"]), *figures)
        console.print(table)
    what = "image" if arguments.depth == 1 else f"stack of {arguments.depth} slices"
    console.print(
        f"Forward: one {what}; training step: {arguments.batch_size}. FLOPs are 2 x multiply-adds."
        " Methods with prompts are counted with one prompt per image."
    )
    return 0
