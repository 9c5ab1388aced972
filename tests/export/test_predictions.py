"""Predictions in formats of other programs, read back by libraries that this project does not use
to write them: the same pixels of every object."""

import json
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from folders import make_folder
from kept_models import make_kept_model
from matplotlib.path import Path as MplPath
from PIL import Image

from bench.cli import main
from bench.data.components import label_components
from bench.errors import UserError
from bench.export.predictions import check_formats, write_formats
from bench.export.regions import regions_of
from bench.export.stored_maps import stored_slices
from bench.predict.outputs import write_map
from bench.predict.pictures import Picture
from bench.predict.settings import PredictionSettings

NAMES = ("matrix", "grain", "pore")
Mask = npt.NDArray[np.bool_]


def classes_with_holes() -> npt.NDArray[np.uint8]:
    """Touching objects of two classes, a hole, a pixel in it, diagonal neighbours, pixels."""
    classes = np.zeros((40, 52), np.uint8)
    classes[2:12, 3:15] = 1
    classes[5:9, 6:10] = 0
    classes[6, 7] = 1  # inside the hole
    classes[2:12, 15:20] = 2  # touches the first one
    classes[20:24, 20:24], classes[24:28, 24:28] = 1, 1  # touch at a corner
    classes[39, 51], classes[0, 0] = 2, 1
    noise = np.random.default_rng(0).random((14, 20)) < 0.55
    classes[25:39, 30:50][noise] = 2
    return classes


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Picture]:
    """A folder with the stored labels of one picture, and the picture."""
    out = tmp_path_factory.mktemp("predicted")
    classes = classes_with_holes()
    (out / "labels").mkdir()
    Image.fromarray(classes).save(out / "labels" / "a.png")
    return out, Picture("a", out / "a.png", 1, (40, 52))


def true_objects() -> dict[int, list[Mask]]:
    classes = classes_with_holes()
    objects = {}
    for index in (1, 2):
        labels = label_components(classes == index)
        objects[index] = [labels == number for number in range(1, labels.max() + 1)]
    return objects


def assert_same_objects(masks: dict[int, list[Mask]]) -> None:
    """Every object has the same pixels: an IoU of 1 for all of them."""
    for index, objects in true_objects().items():
        assert len(masks[index]) == len(objects)
        ours = {mask.tobytes() for mask in masks[index]}
        assert ours == {mask.tobytes() for mask in objects}


def fill(rings: list[npt.NDArray[Any]], shape: tuple[int, int]) -> Mask:
    """Pixels whose centres are inside an odd number of rings of (x, y), by matplotlib."""
    rows, columns = np.indices(shape)
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5
    inside = np.zeros(shape, bool)
    for ring in rings:
        inside ^= MplPath(ring).contains_points(centres).reshape(shape)
    return inside


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools with NumPy 2
def test_coco_is_read_by_pycocotools(
    predicted: tuple[Path, Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    out, picture = predicted
    (path,) = write_formats([picture], out, ["coco"], NAMES)
    document = coco.COCO(str(path))
    capsys.readouterr()  # the library prints
    masks: dict[int, list[Mask]] = {1: [], 2: []}
    for entry in document.loadAnns(document.getAnnIds()):
        mask = document.annToMask(entry).astype(bool)
        assert mask.sum() == entry["area"]
        left, top, wide, tall = entry["bbox"]
        assert mask[top : top + tall, left : left + wide].sum() == entry["area"]
        masks[entry["category_id"]].append(mask)
    assert_same_objects(masks)
    assert [category["name"] for category in document.loadCats([1, 2])] == ["grain", "pore"]


def test_geojson_has_the_form_of_qupath(predicted: tuple[Path, Picture]) -> None:
    pytest.importorskip("shapely")
    out, picture = predicted
    (path,) = write_formats([picture], out, ["geojson"], NAMES)
    document = json.loads(path.read_text())
    assert document["type"] == "FeatureCollection"
    masks: dict[int, list[Mask]] = {1: [], 2: []}
    for feature in document["features"]:
        assert feature["properties"]["objectType"] == "annotation"
        index = NAMES.index(feature["properties"]["classification"]["name"])
        assert feature["geometry"]["type"] == "Polygon"
        rings = [np.array(ring) for ring in feature["geometry"]["coordinates"]]
        masks[index].append(fill(rings, picture.size))
    assert_same_objects(masks)


def test_regions_of_imagej_are_read_by_roifile(predicted: tuple[Path, Picture]) -> None:
    roifile = pytest.importorskip("roifile")
    out, picture = predicted
    (path,) = write_formats([picture], out, ["imagej"], NAMES)
    masks: dict[int, list[Mask]] = {1: [], 2: []}
    regions = roifile.roiread(path)
    for region in regions:
        rings = region.coordinates(multi=True)
        rings = rings if isinstance(rings, list) else [rings]
        masks[NAMES.index(region.name.partition("-")[0])].append(fill(rings, picture.size))
    assert_same_objects(masks)
    assert sum(region.composite for region in regions) >= 2  # those with holes
    with zipfile.ZipFile(path) as archive:
        assert len(set(archive.namelist())) == len(regions)


def test_objects_that_a_model_separates_stay_apart() -> None:
    classes = np.ones((4, 6), np.uint8)
    numbers = np.repeat([[5, 5, 5, 2, 2, 2]], 4, axis=0)
    areas = [region.area for region in regions_of([classes], [numbers])]
    assert areas == [12, 12]
    assert [region.box for region in regions_of([classes], [numbers])] == [
        (0, 0, 3, 4),
        (3, 0, 3, 4),
    ]
    assert regions_of([classes], [numbers], min_area=13) == []


def test_objects_are_found_and_measured_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spirals, holes and noise cut anywhere: components of scipy, outlines by their union."""
    shapely = pytest.importorskip("shapely")
    monkeypatch.setattr("bench.export.regions.MASK_PX", 100)
    random = np.random.default_rng(0)
    for tall in (1, 3, 7, 40):
        classes = random.integers(0, 3, (20, 26)).astype(np.uint8)
        classes = np.kron(classes, np.ones((2, 2), np.uint8)) if tall % 2 else classes
        regions = regions_of([classes[top : top + tall] for top in range(0, len(classes), tall)])
        ours = [(region.class_index, region.area, region.box) for region in regions]
        theirs = []
        for index in (1, 2):
            labels = label_components(classes == index)
            for number in range(1, labels.max() + 1):
                rows, columns = np.nonzero(labels == number)
                box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
                theirs.append((index, len(rows), tuple(map(int, box)), rows.mean(), columns.mean()))
        theirs.sort(key=lambda entry: (entry[0], *entry[3:]))
        assert ours == [entry[:3] for entry in theirs]
        for region in regions:
            strips = shapely.box(region.starts, region.rows, region.ends, region.rows + 1)
            assert region.outline().is_valid
            assert region.outline().equals(shapely.union_all(strips))


def test_outlines_and_maps_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = np.eye(40, dtype=np.uint8)
    classes[0] = classes[:, 0] = 1
    (comb, *_) = regions_of([np.maximum(classes, np.arange(40, dtype=np.uint8) % 2)])
    monkeypatch.setattr("bench.export.regions.MAX_CORNERS", 50)
    with pytest.raises(UserError, match="give --format coco or ome-tiff for this image"):
        comb.outline()
    monkeypatch.setattr("bench.export.regions.MAX_RUNS", 50)
    with pytest.raises(UserError, match="too fragmented for coco, geojson and imagej"):
        regions_of([classes])
    wide = Picture("a", Path("a.tif"), 1, (10, 40_000))
    for name in ("imagej", "nifti"):
        with pytest.raises(UserError, match=f"a.tif has 40000 x 10 pixels, and {name} files hold"):
            check_formats([name], [wide])
    check_formats(["coco", "geojson", "ome-tiff"], [wide])


def test_maps_in_tiles_give_the_same_files(
    predicted: tuple[Path, Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, picture = predicted
    formats = ["geojson", "imagej", "ome-tiff", "nifti", "coco"]
    for module in ("nibabel", "pycocotools", "roifile", "shapely"):
        pytest.importorskip(module)
    monkeypatch.setattr("bench.predict.outputs.STRIP_PX", 100)
    monkeypatch.setattr("bench.predict.outputs.TILE_PX", 16)
    content = BytesIO(classes_with_holes().tobytes())
    write_map(tmp_path / "labels" / "a", content, (1, 40, 52), np.uint8, tiff=True)
    for ours, theirs in zip(
        write_formats([picture], tmp_path, formats, NAMES),
        write_formats([picture], out, formats, NAMES),
        strict=True,
    ):
        if ours.suffix == ".zip":
            with zipfile.ZipFile(ours) as one, zipfile.ZipFile(theirs) as other:
                assert one.namelist() == other.namelist()
                assert all(one.read(name) == other.read(name) for name in one.namelist())
        elif ours.suffix == ".tif":  # has a random identifier
            np.testing.assert_array_equal(tifffile.imread(ours), tifffile.imread(theirs))
        else:
            assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("tiff", [True, False])
def test_a_map_of_an_earlier_run_is_not_exported(tmp_path: Path, tiff: bool) -> None:
    picture = Picture("a", tmp_path / "a.png", 1, (4, 5))
    for value, ending in ((1, not tiff), (2, tiff)):
        content = BytesIO(bytes([value]) * 20)
        write_map(tmp_path / "labels" / "a", content, (1, 4, 5), np.uint8, tiff=ending)
    ((rows,),) = [list(rows) for rows in stored_slices(tmp_path / "labels", picture)]
    assert (rows == 2).all()


def test_a_damaged_label_map_is_named(predicted: tuple[Path, Picture], tmp_path: Path) -> None:
    _, picture = predicted
    with pytest.raises(UserError, match=r"cannot read the prediction in .*labels of .*a.png"):
        write_formats([picture], tmp_path, ["ome-tiff"], NAMES)


def test_volumes_become_ome_tiff_and_nifti_on_their_grid(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = np.random.default_rng(0).integers(0, 3, (3, 5, 7), np.uint8)
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "v.tif", volume, photometric="minisblack")
    source = tmp_path / "v.nii"
    affine = np.array([[-0.5, 0, 0, 9.0], [0, 0.5, 0, 8.0], [0, 0, 2.0, 7.0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(volume.transpose(2, 1, 0), affine), source)
    picture = Picture("v", source, 3, (5, 7))
    settings = PredictionSettings(pixel_size=0.25)
    ome, nifti = write_formats([picture], tmp_path, ["ome-tiff", "nifti"], NAMES, settings)
    with tifffile.TiffFile(ome) as file:
        assert file.is_ome
        assert 'PhysicalSizeX="0.25"' in str(file.ome_metadata)
        np.testing.assert_array_equal(file.asarray(), volume)
    image = nibabel.load(nifti)
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), volume)
    np.testing.assert_allclose(image.affine, affine)


def test_unknown_formats_and_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--format cannot be 'svg': give coco, geojson"):
        check_formats(["svg"])
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(UserError, match="--format imagej needs the package roifile"):
        check_formats(["imagej"])


def test_the_command_writes_the_formats(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    images = make_folder(tmp_path / "images", 2) / "images"
    model = make_kept_model(tmp_path / "m.safetensors", "frozen_head", noise=0.3)
    out = tmp_path / "out"
    words = ["predict", "--model", str(model), str(images), "--out", str(out), "--device", "cpu"]
    assert main([*words, "--threads", "1", "--format", "coco, geojson,ome-tiff"]) == 0
    document = json.loads((out / "coco.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["image_0.png", "image_1.png"]
    rows = (out / "objects.csv").read_text().splitlines()[1:]
    assert len(document["annotations"]) == len(rows)
    areas = [float(row.split(",")[4]) for row in rows]
    assert [entry["area"] for entry in document["annotations"]] == areas
    assert len(list((out / "geojson").glob("*.geojson"))) == 2
