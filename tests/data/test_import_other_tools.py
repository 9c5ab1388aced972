"""Labels of tools that are not read: named, with the form to export instead."""

from pathlib import Path
from typing import Any

import foreign
import pytest

from bench.data.layouts.importing import import_folder
from bench.errors import UserError
from bench.plugins.registry import load_collection

SHAPE = {"name": "polygon", "all_points_x": [3, 20, 20], "all_points_y": [3, 3, 20]}
REGION = {"shape_attributes": SHAPE, "region_attributes": {"class": "a"}}
VIA = {"image_0.png9": {"filename": "image_0.png", "size": 9, "regions": [REGION]}}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("via.json", VIA, "'via.json' is of VGG Image Annotator: export the annotations as COCO"),
        ("p.json", {"_via_img_metadata": VIA, "_via_settings": {}}, "of VGG Image Annotator"),
        (
            "ann/image_0.png.json",
            {"size": {"height": 40, "width": 48}, "objects": []},
            "is of Supervisely: export the project as COCO or as masks",
        ),
        (
            "image_0.json",
            {"image": {"file_name": "image_0.png"}, "annotations": [{"segmentation": {}}]},
            "is of SA-1B .*: join the files to one of COCO, with images, annotations and categ",
        ),
        ("export.json", [{"data_row": {"id": "x"}}], "is of Labelbox: convert the export to COCO"),
        (
            "image_0.xml",
            "<Annotations><Annotation><Regions><Region/></Regions></Annotation></Annotations>",
            "'image_0.xml' is of Aperio ImageScope: convert its regions to GeoJSON or to masks",
        ),
        ("notes.json", {"a": 1}, "has no layout that is known here .coco, labelme"),
    ],
)
def test_the_tool_and_the_way_out_are_named(
    tmp_path: Path, name: str, content: Any, message: str
) -> None:
    foreign.save(tmp_path / "raw" / "image_0.png", foreign.image(0))
    foreign.write(tmp_path / "raw" / name, content)
    with pytest.raises(UserError, match=message) as raised:
        import_folder(tmp_path / "raw", tmp_path / "target")
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="it needs a folder images/") as raised:
        load_collection(str(tmp_path / "raw"))
    assert (" is of " in str(raised.value)) == (name != "notes.json")
