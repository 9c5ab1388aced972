"""Procedural images have the same bytes on every processor, and are those of the records."""

import hashlib
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]
from scipy import ndimage

from bench.data.fingerprint import fingerprint
from bench.draw import exact
from bench.plugins.registry import load_collection

ROOT = Path(__file__).parents[2]
# As in the records of results/objects.
FINGERPRINTS = {
    "camouflage": "dcec00f4c66219834f2d8c292294700e3087b1775b9e83d9a06a79aff3298aac",
    "nuclei": "fda8b9eda5ec9ca0e5c00d92c85eb2a3266b837bd87f5ecfd32dcb52c5886dde",
    "organs": "8a84ccfa58ebdcfddd400c55da5752f2ba7a33b892aa114c4e7af310d3d2fc69",
    "particles": "2f7dbfb6c96f65a8a09b042ddb8b7eb30836094c1ac1f4ffaf36a5108d68568f",
    "shadow": "55ecab9b1ba016adf6c8b7d73d01f91408d69c27cecd86fffed2ba3c665cba98",
    "steel": "907c44131d0715bbf1c3bf29f7333efc78da51abd97b5f4bc91556929833c481",
}
# SHA-256 of the image, mask and instances of one image of each dataset.
ONE_IMAGE = {
    "camouflage": "273643262d84d568c6752a4b49b2775b8b7c8a879500b36e56863abdad587a9c",
    "nuclei": "73007aab9b4cd286077877a21a7ac55b698782d1196483f8a91ac766d79f4327",
    "particles": "a44df29cd20c9d53c880d644c5da8314fe82c180b03f992a259e31d581bf29da",
    "shadow": "24a2ce5aa0285bb69a64db851f19b2cf140bbb70473eba6074017b28cc1ff4d2",
}


def one_image(dataset: str) -> str:
    """SHA-256 of image, mask and instances of one image."""
    module = importlib.import_module(f"bench.datasets.{dataset}")
    numbers = {"camouflage": (1, 1), "nuclei": (1, 0), "particles": (4, 1), "shadow": (0, 1)}
    item = module.draw_item(*numbers[dataset])
    parts = (item.image, item.mask, item.instances)
    return hashlib.sha256(b"".join(p.tobytes() for p in parts if p is not None)).hexdigest()


def on_an_old_processor(code: str) -> Any:
    """What `code` prints as JSON if NumPy and OpenBLAS do without newer instructions."""
    here = _multiarray_umath.__cpu_features__
    optional = [name for name in _multiarray_umath.__cpu_dispatch__ if here[name]]
    if not optional:
        pytest.skip("NumPy uses no instructions here that other processors lack")
    without = {"NPY_DISABLE_CPU_FEATURES": " ".join(optional), "OPENBLAS_CORETYPE": "Nehalem"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(
        command, env={**os.environ, **without}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def test_an_image_has_the_same_bytes_with_and_without_new_instructions() -> None:
    code = f"""
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("this", {str(Path(__file__))!r})
this = importlib.util.module_from_spec(spec)
spec.loader.exec_module(this)
print(json.dumps({{name: this.one_image(name) for name in this.ONE_IMAGE}}))
"""
    assert {name: one_image(name) for name in ONE_IMAGE} == ONE_IMAGE
    assert on_an_old_processor(code) == ONE_IMAGE


@pytest.mark.slow
def test_datasets_have_the_fingerprints_of_the_records_on_every_processor() -> None:
    code = f"""
import json
from bench.data.fingerprint import fingerprint
from bench.plugins.registry import load_collection
print(json.dumps({{name: fingerprint(load_collection(name)) for name in {list(FINGERPRINTS)}}}))
"""
    assert {name: fingerprint(load_collection(name)) for name in FINGERPRINTS} == FINGERPRINTS
    assert on_an_old_processor(code) == FINGERPRINTS


@pytest.mark.parametrize("name", ["particles", "nuclei"])
def test_fingerprints_are_those_of_the_records(name: str) -> None:
    records = ROOT / "results/objects/records"
    shas = {
        json.loads(path.read_text())["cell"]["dataset_sha"]
        for path in records.glob(f"{name}_none_unet_s*.json")
    }
    assert shas == {FINGERPRINTS[name]}


def test_functions_of_arrays_agree_with_those_of_the_c_library() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-50, 50, (2, 5000))
    size = np.exp(rng.uniform(-30, 30, 5000))
    for ours, theirs, arguments in (
        (exact.exp, math.exp, (x,)),
        (exact.sin, math.sin, (x,)),
        (exact.cos, math.cos, (x,)),
        (exact.log, math.log, (size,)),
        (exact.arctan2, math.atan2, (x, y)),
        (exact.hypot, math.hypot, (x, y)),
    ):
        expected = [
            theirs(*values) for values in zip(*(a.tolist() for a in arguments), strict=True)
        ]
        np.testing.assert_allclose(ours(*arguments), expected, rtol=1e-15, atol=5e-16)
        single = ours(*(a[7] for a in arguments))
        assert isinstance(single, np.floating) or single.ndim == 0
        assert single == ours(*arguments)[7]  # plain Python and NumPy round alike
    np.testing.assert_allclose(exact.power(size, 3.7), size**3.7, rtol=2e-13)


def test_functions_keep_float32_and_round_to_the_nearest() -> None:
    x = np.random.default_rng(1).uniform(-9, 9, 3000).astype(np.float32)
    for ours, theirs in ((exact.exp, math.exp), (exact.sin, math.sin), (exact.cos, math.cos)):
        np.testing.assert_array_equal(ours(x), np.array([theirs(v) for v in x.tolist()], "f4"))
        assert ours(x).dtype == np.float32


def test_borders_of_the_domains() -> None:
    assert exact.exp(np.array([-1000.0, 0.0])).tolist() == [0, 1]
    assert exact.exp(-1000.0) == 0
    assert exact.power(np.array([0.0, 1.0]), 0.4).tolist() == [0, 1]
    y, x = np.array([0.0, 0, 0, -1, 1]), np.array([0.0, 1, -1, 0, 0])
    quarter = math.pi / 2
    assert exact.arctan2(y, x).tolist() == [0, 0, math.pi, -quarter, quarter]


def test_blur_equals_that_of_scipy() -> None:
    field = np.random.default_rng(2).random((40, 50, 3)).astype(np.float32)
    for sigma in (0.55, 2.0, (0.7, 0.7, 0.0)):
        theirs = ndimage.gaussian_filter(field, sigma)
        np.testing.assert_allclose(exact.gaussian_filter(field, sigma), theirs, rtol=1e-6)
