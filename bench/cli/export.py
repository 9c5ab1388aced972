"""Export a kept model to a format of another library."""

import argparse

from rich.console import Console

from bench.cli.parsing import AddOptions, ArgumentParser, plain, read_path

EXAMPLES = """examples:
  %(prog)s --model my.safetensors --to onnx --out my.onnx
  %(prog)s --model boxes.safetensors --to sam --out boxes.pth
  %(prog)s --model boxes.safetensors --to transformers --out boxes_for_transformers
"""
FORMATS = """formats:
  sam           file for segment_anything and SamPredictor; models that take prompts
  transformers  folder for transformers' SamModel; models that take prompts
  peft          folder with the LoRA adapter of the image encoder
  onnx          one file, any batch size, fp32; most models
  merged        all tensors as safetensors, with updates merged into the weights
"""


def parser() -> argparse.ArgumentParser:
    """The parser of `export`."""
    parser = ArgumentParser(
        command="export",
        description="Export a kept model to a format of another library. The export is loaded and"
        " compared with the model before it is kept.",
        epilog=f"{FORMATS}\n{EXAMPLES}",
    )
    add = AddOptions(parser)
    add("--model FILE  kept model", required=True, type=read_path)
    add("--to FORMAT  see below", required=True)
    add("--out PATH  file, or folder that is new", required=True, type=read_path)
    add("--checkpoint FILE  your weights of the backbone", type=read_path)
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write a kept model in the format of another library; returns the exit code 0.

    Raises:
        UserError: the model cannot be loaded or exported, a library is missing, or the output
            cannot be written; nothing is kept then.
    """
    from bench.export.model import export_model
    from bench.predict.model import load_model

    model = load_model(arguments.model, device="cpu", checkpoint=arguments.checkpoint)
    export = export_model(model, arguments.to, arguments.out)
    console.print(
        plain(f"{export.path}: outputs differ from the model's by {export.difference:.1e}"),
        soft_wrap=True,
    )
    for note in export.notes:
        console.print(plain(f"note: {note}"), soft_wrap=True)
    return 0
