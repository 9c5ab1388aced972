"""Tiny collections as their publishers lay them out: drawn here, nothing of the real ones."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

Array = npt.NDArray[np.uint8]
SPACING_MM = (3.0, 1.25, 0.75)  # of slices, rows, columns
SIDES = (20, 24)  # px, height and width


def image(seed: int, channels: int = 1) -> Array:
    """Noise, of another brightness for each seed."""
    shape = SIDES if channels == 1 else (*SIDES, channels)
    noise = np.random.default_rng(seed).integers(0, 60, shape)
    return (noise + 3 * (seed % 50)).astype(np.uint8)


def indices(seed: int, classes: int) -> Array:
    """One square of each class but the background, at a place that depends on the seed."""
    mask = np.zeros(SIDES, np.uint8)
    for index in range(1, classes):
        left = 1 + (seed + 5 * index) % 18
        mask[1 + index : 6 + index, left : left + 4] = index
    return mask


def smooth(seed: int) -> Array:
    """A white square on black whose edge has levels on both sides of the middle."""
    mask = (indices(seed, 2) * 255).astype(np.uint8)
    row, column = np.argwhere(mask)[0]
    mask[row, column - 1 : column + 1] = 90, 160
    return mask


def save(pixels: npt.NDArray[np.generic], file: Path) -> None:
    """Write an image file, with its folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def save_array(pixels: npt.NDArray[np.generic], file: Path) -> None:
    """Write a NumPy file, with its folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, pixels)


def save_volume(slices: Sequence[npt.NDArray[np.generic]], file: Path) -> None:
    """Write slices as a NIfTI volume, with its folders; its axes are column, row, slice."""
    nibabel = pytest.importorskip("nibabel")
    file.parent.mkdir(parents=True, exist_ok=True)
    volume = np.stack(slices, axis=-1).swapaxes(0, 1)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([*SPACING_MM[::-1], 1.0])), file)


def write(text: str, file: Path) -> None:
    """Write a text file, with its folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def make_uhcs(root: Path) -> None:
    """Four images with four classes, two of them to train."""
    lists = {"train16A": ("uhcs0007", "uhcs0124"), "validate4A": ("uhcs0075",),
             "test4A": ("uhcs0006",)}  # fmt: skip
    for part, names in lists.items():
        write("".join(f"{name}.tif\n" for name in names), root / "splits" / f"{part}.txt")
        for name in names:
            save(image(int(name[4:])), root / "images" / f"{name}.tif")
            labels = indices(int(name[4:]), 4).astype(np.int8)
            save_array(labels, root / "labels" / f"{name}.npy")


def make_metaldam(root: Path) -> None:
    """Nine images of five series; the first has a row more than its labels, and ignored pixels."""
    names = ("105", "1_3fases_incluyePrecipitados", "C6-C8-c12-40010", "C6-C8-c12-4002",
             "C62-c14-3002", "C62-c14-300º9", "C62-c14-300º10", "IV-26-03", "IV-26-06")  # fmt: skip
    for number, name in enumerate(names):
        labels = indices(number, 4).astype(np.int8)
        labels[0, :5] = -1
        opaque = np.dstack([image(number)] * 3 + [np.full(SIDES, 255, np.uint8)])
        save(opaque, root / "images" / f"{name}.png")
        save_array(labels[: -1 if number == 0 else None], root / "labels" / f"{name}.npy")


def make_metaldam_release(root: Path) -> None:
    """Two images with an information bar of four rows; labels in one channel and in three."""
    for number, channels in enumerate((1, 3)):
        labels = indices(number, 5)
        barred = np.vstack([image(number), np.zeros((4, SIDES[1]), np.uint8)])
        save(barred, root / "images" / f"micrograph{number}.jpg")
        stored = labels if channels == 1 else np.dstack([labels] * 3)
        save(stored, root / "labels" / f"micrograph{number}.png")


def make_nasa_super(root: Path) -> None:
    """Five images of one alloy, one of another; colours drawn over the picture."""
    fields = {
        "Super1/train": ("spot3_0d_3", "spot3_180d_2", "spot4_0d_3"),
        "Super1/val": ("spot1_0d_0",),
        "Super1/test": ("spot2_0d_0",),
        "Super2/different_test": ("SE_15kv_50kx_precip - untested-2_0",),
    }
    for folder, names in fields.items():
        for number, name in enumerate(names):
            grey = image(len(folder) + number)
            drawn, phases = np.dstack([grey] * 3), indices(number, 3)
            drawn[phases == 1], drawn[phases == 2] = (0, 0, 255), (255, 0, 0)
            save(grey, root / folder / f"{name}.tif")
            save(drawn, root / f"{folder}_annot" / f"{name}_mask.tif")


def make_emps(root: Path) -> None:
    """Four images of three papers, six particles each, two numbers of which are left out."""
    lists = {"train": ("0a", "0b", "0c"), "test": ("0d",)}
    with_ending = {"train": ".png", "test": ""}
    papers = {"0a": "10.1/x", "0b": "10.1/x", "0c": "10.1/y", "0d": "10.1/z"}
    for part, names in lists.items():
        write("".join(f"{name}{with_ending[part]}\n" for name in names), root / f"{part}.csv")
        for number, name in enumerate(names):
            save(image(number, 3), root / "images" / f"{name}.png")
            save(indices(number, 5).astype(np.uint16), root / "segmaps" / f"{name}.png")
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "doi", "locator", "regions"])
        rows.writerows([f"{name}.png", doi, "gr1", "[{'a, b'}]"] for name, doi in papers.items())


def make_dsb2018(root: Path) -> None:
    """Three images with three nuclei each, a file a nucleus."""
    for number, name in enumerate(("0" * 64, "1a" * 32, "f3" * 32)):
        opaque = np.dstack([image(number, 3), np.full(SIDES, 255, np.uint8)])
        save(opaque, root / name / "images" / f"{name}.png")
        nuclei = indices(number, 4)
        for nucleus in (1, 2, 3):
            inside = np.where(nuclei == nucleus, 255, 0).astype(np.uint8)
            save(inside, root / name / "masks" / f"{nucleus:064x}.png")


def make_nuinsseg(root: Path) -> None:
    """Two images of one organ and one of another; the mask stored as 0 and 255, or 0 and 1."""
    for organ, count in {"human bladder": 2, "mouse heart": 1}.items():
        for number in range(count):
            nuclei, name = indices(number, 4), f"{organ.replace(' ', '_')}_{number + 1:02}"
            save(image(number, 3), root / organ / "tissue images" / f"{name}.png")
            save(nuclei.astype(np.uint16), root / organ / "label masks modify" / f"{name}.tif")
            white = 255 if count == 2 else 1
            mask = np.where(nuclei > 0, white, 0).astype(np.uint8)
            save(mask, root / organ / "mask binary" / f"{name}.png")


def make_monuseg(root: Path) -> None:
    """Three images of two patients, two nuclei each and a stray click."""
    training = root / "MoNuSeg 2018 Training Data"
    test = root / "MoNuSegTestData"
    places = {
        "TCGA-18-5592-01Z-00-DX1": (training / "Tissue Images", training / "Annotations"),
        "TCGA-18-5592-01Z-00-DX2": (training / "Tissue Images", training / "Annotations"),
        "TCGA-2Z-A9J9-01A-01-TS1": (test, test),
    }
    outlines = (((2.4, 2.0), (9.0, 2.0), (9.0, 8.5), (2.4, 8.5)), ((12, 10), (20, 10), (16, 17)),
                ((1, 1),))  # fmt: skip
    regions = "".join(
        "<Region><Vertices>"
        + "".join(f'<Vertex X="{x}" Y="{y}" Z="0" />' for x, y in corners)
        + "</Vertices></Region>"
        for corners in outlines
    )
    text = f"<Annotations><Annotation><Regions>{regions}</Regions></Annotation></Annotations>"
    for number, (name, (images, annotations)) in enumerate(places.items()):
        save(image(number, 3), images / f"{name}.tif")
        write(text, annotations / f"{name}.xml")


def make_camo(root: Path) -> None:
    """Two images to train and one to test; all masks in one folder."""
    for number, folder in enumerate(("Train", "Train", "Test")):
        save(image(number, 3), root / "Images" / folder / f"camourflage_{number:05}.jpg")
        save(smooth(number), root / "GT" / f"camourflage_{number:05}.png")


def make_chameleon(root: Path) -> None:
    """Two images."""
    for number in (1, 2):
        save(image(number, 3), root / "Imgs" / f"animal-{number}.jpg")
        save(smooth(number), root / "GT" / f"animal-{number}.png")


def make_cod10k(root: Path) -> None:
    """Two images to train, one to test, and one without an animal that is to be left out."""
    for number, folder in enumerate(("Train", "Train", "Test")):
        name = f"COD10K-CAM-1-Aquatic-1-BatFish-{number}"
        save(image(number, 3), root / folder / "Image" / f"{name}.jpg")
        save(smooth(number), root / folder / "GT_Object" / f"{name}.png")
    save(image(3, 3), root / "Train" / "Image" / "COD10K-NonCAM-1-Aquatic-2-Crab-3.jpg")


def make_istd(root: Path) -> None:
    """Three images of two scenes to train, one of another to test."""
    for part, names in {"train": ("1-1", "1-2", "2-1"), "test": ("91-1",)}.items():
        for number, name in enumerate(names):
            save(image(number, 3), root / part / f"{part}_A" / f"{name}.png")
            save(smooth(number), root / part / f"{part}_B" / f"{name}.png")
            save(image(number, 3), root / part / f"{part}_C" / f"{name}.png")


def make_sbu(root: Path) -> None:
    """Two images to train and one to test, whose name occurs in both; one image has no mask."""
    folders = {"SBUTrain4KRecoveredSmall": ("lssd1", "lssd2"), "SBU-Test": ("lssd1",)}
    for folder, names in folders.items():
        for number, name in enumerate(names):
            save(image(number, 3), root / folder / "ShadowImages" / f"{name}.jpg")
            save(smooth(number), root / folder / "ShadowMasks" / f"{name}.png")
    save(image(3, 3), root / "SBUTrain4KRecoveredSmall" / "ShadowImages" / "lssd9.jpg")


def make_refuge(root: Path) -> None:
    """One image to train of each diagnosis, one to validate, one to test, and an illustration."""
    training = root / "Annotation-Training400"
    places = {
        "g0001": ("Training400/Glaucoma", training / "Disc_Cup_Masks" / "Glaucoma"),
        "n0001": ("Training400/Non-Glaucoma", training / "Disc_Cup_Masks" / "Non-Glaucoma"),
        "V0001": ("REFUGE-Validation400", root / "REFUGE-Validation400-GT" / "Disc_Cup_Masks"),
        "T0001": ("Test400", root / "REFUGE-Test-GT" / "Disc_Cup_Masks"),
    }
    levels = np.array([255, 128, 0], np.uint8)
    for number, (name, (images, masks)) in enumerate(places.items()):
        save(image(number, 3), root / images / f"{name}.jpg")
        save(levels[indices(number, 3)], masks / f"{name}.bmp")
    save(image(9, 3), training / "Disc_Cup_Fovea_Illustration" / "g0001.jpg")


make_refuge_disc = make_refuge_cup = make_refuge


def make_kvasir_seg(root: Path) -> None:
    """Two images; the masks are JPEG in three channels."""
    for number, name in enumerate(("cju0qkwl35piu", "cju0qoxqj9q6s")):
        save(image(number, 3), root / "images" / f"{name}.jpg")
        save(np.dstack([smooth(number)] * 3), root / "masks" / f"{name}.jpg")


def make_isic(root: Path) -> None:
    """Two images to train, one to validate and one to test."""
    numbers = {"Training": (0, 1), "Validation": (12255,), "Test": (12169,)}
    for part, found in numbers.items():
        for number in found:
            name = f"ISIC_{number:07}"
            mask = (indices(number, 2) * 255).astype(np.uint8)
            save(image(number, 3), root / f"ISIC2018_Task1-2_{part}_Input" / f"{name}.jpg")
            masks = root / f"ISIC2018_Task1_{part}_GroundTruth"
            save(mask, masks / f"{name}_segmentation.png")


def make_tn3k(root: Path) -> None:
    """Two images to train, one to validate, and one to test with a number that occurs before."""
    for part, count in {"trainval": 3, "test": 1}.items():
        for number in range(count):
            save(image(number, 3), root / f"{part}-image" / f"{number:04}.jpg")
            save(smooth(number), root / f"{part}-mask" / f"{number:04}.jpg")
    write(json.dumps({"train": [0, 2], "val": [1]}), root / "tn3k-trainval-fold0.json")


def make_synapse_files(root: Path) -> None:
    """Two slices of a case to train and one of another, and a volume of two slices to test."""
    h5py = pytest.importorskip("h5py")
    for number, name in enumerate(("case0005_slice000", "case0005_slice001", "case0006_slice000")):
        file = root / "train_npz" / f"{name}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, image=image(number) / 255, label=indices(number, 9).astype(np.float32))
    (root / "test_vol_h5").mkdir()
    with h5py.File(root / "test_vol_h5" / "case0001.npy.h5", "w") as volume:
        volume["image"] = np.stack([image(3), image(4)]) / 255
        volume["label"] = np.stack([indices(3, 9), indices(4, 9)]).astype(np.float32)


def make_synapse(root: Path) -> None:
    """A case to train and one to test, two slices each, with all labels of BTCV."""
    for case in ("0005", "0001"):
        folder = root / "RawData" / "Training"
        units = [np.full(SIDES, level, np.int16) for level in (-1000, 75)]
        save_volume(units, folder / "img" / f"img{case}.nii.gz")
        labels = [indices(n, 14).astype(np.int16) for n in (0, 1)]
        save_volume(labels, folder / "label" / f"label{case}.nii.gz")


def make_acdc(root: Path) -> None:
    """Two frames of a patient to train and one of another to test, two slices each."""
    frames = {"training": ("patient001_frame01", "patient001_frame12"),
              "testing": ("patient101_frame01",)}  # fmt: skip
    for folder, names in frames.items():
        for name in names:
            place = root / folder / name.split("_")[0]
            levels = [4 * image(number).astype(np.int16) for number in (0, 1)]
            save_volume(levels, place / f"{name}.nii.gz")
            truth = [indices(number, 4).astype(np.int16) for number in (0, 1)]
            save_volume(truth, place / f"{name}_gt.nii.gz")


def make_nasa_ebc(root: Path) -> None:
    """Three images of two specimens to train, one to validate, one of a known specimen to test."""
    parts = {
        "train": ("010417#4_S2480009", "050317#3_S0440017", "S879_062216#3-31cyc0030"),
        "val": ("040617#2_S127(2)0015",),
        "test": ("050317#3_S0440016",),
    }
    for part, names in parts.items():
        for number, name in enumerate(names):
            save(image(number), root / "EBC1" / part / f"{name}.tif")
            drawn = np.dstack([indices(number, 3)] * 3)
            save(drawn, root / "EBC1" / f"{part}_annot" / f"{name}.tif")


def make_bam_tio2(root: Path) -> None:
    """Two images with three particles, two of which meet at a corner only."""
    for number in (1908248, 1908250):
        mask = np.zeros(SIDES, np.uint8)
        mask[2:6, 2:6] = mask[6:9, 6:9] = mask[12:15, 3:9] = 255
        save(image(number), root / "Electron Microscopy Images" / "SEM" / f"{number}.tif")
        folder = root / "Electron Microscopy Image Masks" / "TiO2_Masks_Manual_4connected"
        save(mask, folder / f"{number}_m.tif")


def make_brats(root: Path) -> None:
    """Two patients; the labels of one have another name."""
    labels = np.array([0, 1, 2, 4], np.int16)
    for number, segmentation in (("001", "BraTS20_Training_001_seg"), ("355", "W39_x_Segm")):
        folder = root / f"BraTS20_Training_{number}"
        for contrast in ("flair", "t1ce", "t2", "t1"):
            levels = [image(n).astype(np.int16) for n in range(126)]
            save_volume(levels, folder / f"{folder.name}_{contrast}.nii")
        truth = [labels[indices(n, 4)] for n in range(126)]
        save_volume(truth, folder / f"{segmentation}.nii")


make_brats_volumes = make_brats_whole_tumour = make_brats


def make_ddti(root: Path) -> None:
    """Two images."""
    folder = root / "2_preprocessed_data" / "stage1"
    for number in (1, 2):
        save(image(number, 3), folder / "p_image" / f"{number}.PNG")
        save(smooth(number), folder / "p_mask" / f"{number}.PNG")
