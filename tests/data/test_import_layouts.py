"""Each layout gives the masks that the folder was made from, pixel by pixel."""

from collections.abc import Callable
from pathlib import Path

import foreign
import foreign_dicom
import numpy as np
import pytest

from bench.cli import main
from bench.data.decode import decode_mask
from bench.data.folder.read import read_folder
from bench.data.layouts.importing import import_folder
from bench.data.layouts.pairs import is_own_layout
from bench.data.layouts.source import Source

# pycocotools with NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

Maker = Callable[[Path], dict[str, foreign.Mask]]
LAYOUTS: dict[str, tuple[Maker, str]] = {
    "coco": (foreign.coco, "coco"),
    "labelme": (foreign.labelme, "labelme"),
    "voc": (foreign.voc, "voc"),
    "yolo": (foreign.yolo, "yolo"),
    "rle_csv": (foreign.rle_csv, "rle-csv"),
    "nnunet": (foreign.nnunet, "nnunet"),
    "object_masks": (foreign.object_masks, "object-masks"),
    "class_folders": (foreign.class_folders, "class-folders"),
    "cvat": (foreign.cvat, "cvat"),
    "geojson": (foreign.geojson, "geojson"),
    "dicom_seg": (foreign_dicom.dicom_seg, "dicom"),
    "dicom_contours": (foreign_dicom.dicom_contours, "dicom"),
    "dicom_pictures": (foreign_dicom.dicom_pictures, "dicom"),
    "npz": (foreign.npz, "arrays"),
    "npy_set": (foreign.npy_set, "arrays"),
    "npy_pairs": (foreign.npy_pairs, "pairs"),
    "patients": (foreign.patients, "pairs"),
    "parts_webp": (foreign.parts, "pairs"),
    "ome_tiff": (foreign.ome_tiff, "pairs"),
    "nifti": (foreign.nifti, "pairs"),
    **{
        f"pairs {pattern}": (foreign.suffix(pattern), "pairs")
        for pattern in (
            *("{}_mask.png", "{}_cp_masks.png", "mask_{}.png", "{}_manual1.gif"),
            *("{}_Simple Segmentation.tif", "{}-seg.bmp", "{}_gt.png", "{}_labels.tif"),
            "{}_annotation.png",
        )
    },
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_masks_equal_the_truth(tmp_path: Path, kind: str) -> None:
    make, layout = LAYOUTS[kind]
    (tmp_path / "raw").mkdir()
    truth = make(tmp_path / "raw")
    done = import_folder(tmp_path / "raw", tmp_path / "target")
    assert (done.layout, done.images, done.fault) == (layout, len(truth), "")
    collection = read_folder(tmp_path / "target")
    assert {item.name for item in collection.items} == set(truth)
    values = collection.mask_values or {}
    for item in collection.items:
        expected = np.vectorize(lambda value: values.get(value, value))(truth[item.name])
        np.testing.assert_array_equal(decode_mask(item, collection), expected)
    assert is_own_layout(Source(tmp_path / "target"))


@pytest.mark.slow
def test_a_cell_trains_on_each_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    targets = []
    makers = [make for name, (make, _) in LAYOUTS.items() if not name.startswith("pairs ")]
    for number, make in enumerate(makers):
        raw, target = Path(f"raw{number}"), f"target{number}"
        raw.mkdir()
        make(raw)
        assert main(["data", "import", str(raw), target]) == 0
        assert main(["data", "check", target]) == 0
        targets.append(target)
    recipe = "--steps 2 --batch-size 2 --image-size 64 --allow-leakage --threads 1"
    words = ["--methods", "decoder_only", "--dataset", ",".join(targets), *recipe.split()]
    assert main([*words, "--out", "results"]) == 0, capsys.readouterr().out
