"""Predict images with a kept model."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cli.numbers import NumbersInText, read_levels, read_pixel_size
from bench.cli.parsing import AddOptions, ArgumentParser, plain, plain_line, read_path
from bench.errors import UserError
from bench.wording import counted

if TYPE_CHECKING:
    from bench.predict.job import PictureDone
    from bench.predict.model import KeptModel
    from bench.predict.pictures import Picture
    from bench.predict.settings import PredictionSettings

SHOWN = 20  # failed images that are named
EXAMPLES = """examples:
  %(prog)s --model my.safetensors new_images --out predictions
  %(prog)s --model my.safetensors mosaic.tif --maps uncertainty --pixel-size 0.25
  %(prog)s --model my.safetensors new_images --format geojson,imagej
  %(prog)s --model boxes.safetensors new_images --prompts boxes.csv
  %(prog)s --model boxes.safetensors new_images --proposer lora.safetensors

exit codes: 0 if all images are predicted, 1 if some failed, 2 if all failed or nothing can be done
"""


def parser() -> argparse.ArgumentParser:
    """The parser of `predict`."""
    parser = ArgumentParser(
        command="predict",
        description="Predict images with a kept model: label maps of the images' own size, overlay"
        " pictures, and tables of phase fractions, objects and their sizes. Images of any size;"
        " images whose outputs exist are not predicted again.",
        epilog=EXAMPLES,
    )
    add = AddOptions(parser)
    add("images IMAGE  files, folders, stacks, volumes", nargs="+", type=read_path)
    add("--model FILE  kept model", required=True, type=read_path)
    add(
        "--out FOLDER  folder of the outputs [%(default)s]",
        type=read_path,
        default=Path("predictions"),
    )
    how = AddOptions(parser.add_argument_group("how to predict"))
    how(
        "--evaluation NAME  whole (resized), tiles (windows), or auto: as the model was"
        " tested, and windows for images much larger than those of the training [%(default)s]",
        default="auto",
    )
    how("--prompts FILE  CSV or COCO file with boxes or points", type=read_path)
    how(
        "--proposer FILE  kept model that learned distances; its objects are the prompts",
        type=read_path,
    )
    how(
        "--levels LOW,HIGH  values that become black and white, as 0,4095",
        type=NumbersInText(read_levels),
    )
    how("--allow-other-images  accept another bit depth or colour than in training")
    how("--device NAME  auto, cpu or cuda", default="auto")
    how("--threads N  CPU threads [all cores]")
    how("--checkpoint FILE  your weights of the backbone", type=read_path)
    what = AddOptions(parser.add_argument_group("what to write"))
    what("--maps LIST  probability, uncertainty (float TIFF)", default="")
    what(
        "--pixel-size X  side of a pixel in your unit [1], or 'file': µm as the file states",
        type=NumbersInText(read_pixel_size),
        default="1",
    )
    what("--min-area PX  smallest object to count [1]", default=1)
    what(
        "--format LIST  further formats: coco, geojson (QuPath), imagej (regions), ome-tiff, nifti",
        default="",
    )
    what("--tiff  write label maps as TIFF, not PNG")
    return parser


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Predict the images; returns the exit code, 1 if one of them could not be predicted.

    Sets the number of threads of this process, and lets it round tiny numbers to 0.

    Raises:
        UserError: an option or a path is not allowed, the model cannot be loaded, no image could be
            predicted, or an output cannot be written.
    """
    from bench.predict.job import return_large_blocks
    from bench.predict.model import load_model
    from bench.predict.pictures import open_pictures
    from bench.predict.settings import PredictionSettings

    settings = PredictionSettings(
        evaluation=arguments.evaluation,
        maps=_words(arguments.maps),
        levels=None if arguments.levels is None else read_levels(arguments.levels),
        prompts=arguments.prompts,
        pixel_size=read_pixel_size(arguments.pixel_size),
        min_area=arguments.min_area,
        tiff=arguments.tiff,
    )
    settings.check()
    pictures = open_pictures(arguments.images)
    formats = _words(arguments.format)
    if formats:
        from bench.export.predictions import check_formats

        check_formats(formats, pictures)
    import torch

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)  # as in the cells
    return_large_blocks()
    model = load_model(
        arguments.model,
        device=arguments.device,
        checkpoint=arguments.checkpoint,
        allow_other_images=arguments.allow_other_images,
        proposer=arguments.proposer,
    )
    if crop := model.model.task.crop:
        note = f"trained on images cropped by {crop}; the files are predicted as a whole"
        console.print(f"[dim]note: {plain(note)}[/]")
    outcomes = _predict(model, pictures, arguments.out, settings, console)
    exit_code = _report(outcomes, arguments.out, console, model.separates_objects)
    if formats:
        _write_formats(model, pictures, outcomes, arguments, settings, console)
    return exit_code


def _write_formats(
    model: "KeptModel",
    pictures: "Sequence[Picture]",
    outcomes: "Sequence[PictureDone]",
    arguments: argparse.Namespace,
    settings: "PredictionSettings",
    console: Console,
) -> None:
    """Write the pictures that could be predicted in the formats of `--format`."""
    from bench.export.predictions import write_formats

    done = [outcome for outcome in outcomes if outcome.error is None]
    names = {outcome.name for outcome in done}
    formats = _words(arguments.format)
    written = write_formats(
        [picture for picture in pictures if picture.name in names],
        arguments.out,
        formats,
        model.header.classes,
        settings,
        separated=model.separates_objects,
    )
    console.print(
        plain(f"{counted(len(written), 'file')} written as {', '.join(formats)}"), soft_wrap=True
    )


def _predict(
    model: "KeptModel",
    pictures: "Sequence[Picture]",
    out: Path,
    settings: "PredictionSettings",
    console: Console,
) -> "list[PictureDone]":
    """Predict, showing a bar for the image at work."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from bench.predict.job import PictureDone, PictureProgress, predict_files

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    # Without a terminal, the end of a bar would be an empty line.
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        bar = progress.add_task("starting", total=float(len(pictures)))

        def show(event: PictureProgress | PictureDone) -> None:
            if isinstance(event, PictureProgress):
                text = f"[{event.number}/{event.total}] {event.name}"
                progress.update(bar, description=text, completed=event.number - 1 + event.share)
            elif event.error is None:
                seconds = "done before" if event.seconds is None else f"{event.seconds:.1f} s"
                console.print(plain_line(f"{event.name}  {event.evaluation}  {seconds}"))

        return predict_files(model, pictures, out, settings, show)


def _report(outcomes: "Sequence[PictureDone]", out: Path, console: Console, separated: bool) -> int:
    """Name the failures and the outputs; the exit code.

    With `separated`, the model separates objects, so there are maps of their numbers.

    Raises:
        UserError: no image could be predicted. Its message is the reason, or how many failed.
    """
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    done = len(outcomes) - len(failed)
    if len(outcomes) == 1 and failed:
        raise UserError(str(failed[0].error))
    for outcome in failed[:SHOWN]:
        line = f"[red]failed[/] {plain_line(outcome.name)}: {plain_line(outcome.error)}"
        console.print(line, soft_wrap=True)
    if len(failed) > SHOWN:
        console.print(f"[red]failed[/] {counted(len(failed) - SHOWN, 'further image')}")
    if not done:
        raise UserError(
            f"none of {counted(len(failed), 'image')} could be predicted: see the reasons above"
        )
    folders = "labels, objects, overlays" if separated else "labels, overlays"
    console.print(
        plain(f"{counted(done, 'image')} predicted: {out}/{folders}, table.csv, objects.csv"),
        soft_wrap=True,
    )
    return 1 if failed else 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
