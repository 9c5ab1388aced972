import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from bench.data.folder.read import read_folder
from bench.data.items import Collection, Item
from bench.data.leakage.gate import Leak, find_leaks, leakage_error
from bench.data.split import Split, split
from bench.draw.texture import smooth_noise
from bench.errors import UserError
from bench.plugins.registry import load_collection

Grey = npt.NDArray[np.uint8]
Change = Callable[[Grey], npt.NDArray[np.uint8]]
MASK = np.zeros((1, 1), np.uint8)
REAL = ("metaldam", "uhcs", "nasa_super", "emps", "dsb2018", "acdc_slices", "crackforest")


def grains(seed: int, shape: tuple[int, int] = (240, 320)) -> Grey:
    """A texture (H, W) with coarse and fine structure; equal statistics for every seed."""
    rng = np.random.default_rng(seed)
    level = 128 + 25 * smooth_noise(rng, shape, 24) + 20 * smooth_noise(rng, shape, 7)
    return np.asarray(np.clip(level + rng.normal(0, 4, shape), 0, 255), np.uint8)


def lattice(seed: int) -> Grey:
    """Equal discs (H, W) about the points of a square lattice, as in a crystal of particles."""
    rng = np.random.default_rng(seed)
    picture = Image.new("L", (320, 240), 60)
    draw = ImageDraw.Draw(picture)
    for y in range(0, 260, 20):
        for x in range(0, 340, 20):
            row, column = np.add((y, x), rng.normal(0, 2, 2))
            draw.ellipse((column - 8, row - 8, column + 8, row + 8), fill=180)
    return np.asarray(np.clip(np.asarray(picture) + rng.normal(0, 4, (240, 320)), 0, 255), np.uint8)


def parts(train: list[Grey], test: list[Grey], val: tuple[Grey, ...] = ()) -> Split:
    """Items a0, a1, ... train, v0 ... validate, b0, b1, ... test; each is a group of its own."""

    def named(letter: str, images: list[Grey] | tuple[Grey, ...]) -> tuple[Item, ...]:
        return tuple(
            Item(f"{letter}{n}", np.ascontiguousarray(image), MASK, f"{letter}{n}")
            for n, image in enumerate(images)
        )

    return Split(named("a", train), named("v", val), named("b", test))


def only(leaks: list[Leak], first: str = "a1", second: str = "b1") -> Leak:
    """The one leak, between two given items."""
    assert [(leak.first, leak.second) for leak in leaks] == [(first, second)]
    return leaks[0]


def planted(change: Change, source: Grey | None = None) -> list[Leak]:
    """Leaks between two different images and two others, of which b1 is a changed a1."""
    source = grains(1) if source is None else source
    return find_leaks(parts([grains(0), source], [grains(2), change(source)]))


def tone(curve: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Change:
    return lambda image: (255 * np.clip(curve(image / 255), 0, 1)).round().astype(np.uint8)


def jpeg(image: Grey) -> Grey:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


def resized(image: Grey) -> Grey:
    return np.asarray(Image.fromarray(image).resize((200, 150), Image.Resampling.BICUBIC))


def test_a_shift_of_grey_levels_is_a_copy_though_it_correlates_fully() -> None:
    leak = only(planted(lambda image: image + np.uint8(1), np.minimum(grains(1), 254)))
    assert leak.kind == "copy"
    assert leak.score == pytest.approx(1)


def test_equal_pixels_are_identical() -> None:
    leak = only(planted(lambda image: image.copy()))
    assert (leak.kind, leak.score, leak.shared, leak.orientation) == ("identical", 1, 1, "")


def test_grey_and_colour_files_of_one_image_are_identical(tmp_path: Path) -> None:
    image = grains(1)
    Image.fromarray(image).convert("RGB").save(tmp_path / "colour.png")
    other = Item("b1", tmp_path / "colour.png", MASK, "b1")
    leaks = find_leaks(Split((Item("a1", image, MASK, "a1"),), (), (other,)))
    assert only(leaks).kind == "identical"


@pytest.mark.parametrize(
    "change",
    [
        tone(lambda x: x + 0.15),
        tone(lambda x: 0.5 * x + 0.2),
        tone(lambda x: x**0.5),
        tone(lambda x: x**2),
        jpeg,
        resized,
    ],
    ids=["brighter", "flatter", "gamma half", "gamma two", "jpeg", "resized"],
)
def test_a_changed_copy_is_found(change: Change) -> None:
    leak = only(planted(change))
    assert (leak.kind, leak.orientation) == ("copy", "")
    assert leak.score is not None
    assert leak.score > 0.9


@pytest.mark.parametrize(
    ("turn", "orientation"),
    [
        (np.fliplr, "mirrored left to right"),
        (np.flipud, "mirrored top to bottom"),
        (lambda image: np.rot90(image, 2), "turned by 180 degrees"),
        (np.transpose, "mirrored along its diagonal"),
        (lambda image: np.rot90(image, -1), "turned by 90 degrees clockwise"),
        (np.rot90, "turned by 90 degrees anticlockwise"),
        (lambda image: np.rot90(np.transpose(image), 2), "mirrored along its other diagonal"),
    ],
)
def test_every_orientation_is_found_and_named(turn: Change, orientation: str) -> None:
    whole = only(planted(lambda image: jpeg(np.ascontiguousarray(turn(image)))))
    assert (whole.kind, whole.orientation) == ("copy", orientation)
    part = only(planted(lambda image: turn(image[:, 120:])))
    assert (part.kind, part.orientation) == ("overlap", orientation)


def test_a_crop_is_found() -> None:
    leak = only(planted(lambda image: jpeg(np.ascontiguousarray(image[31:201, 47:273]))))
    assert leak.kind == "overlap"
    assert leak.shared == pytest.approx(1)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shared", [0.5, 0.25])
def test_overlapping_tiles_are_found(axis: int, shared: float) -> None:
    scene = grains(1, (400, 420))
    side = int(scene.shape[axis] / (2 - shared))
    near, far = np.split(scene, [side], axis)[0], np.split(scene, [-side], axis)[1]
    leak = only(find_leaks(parts([grains(0), near], [grains(2), far])))
    assert leak.kind == "overlap"
    assert leak.shared == pytest.approx(shared, abs=0.02)


@pytest.mark.parametrize("draw", [grains, lattice])
def test_alike_textures_are_no_leak(draw: Callable[[int], Grey]) -> None:
    images = [draw(seed) for seed in range(12)]
    assert not find_leaks(parts(images[:6], images[6:9], tuple(images[9:])))


def test_a_common_object_is_no_leak() -> None:
    """A scale bar with its caption, at the same place on faint backgrounds and at another one."""

    def stamped(seed: int, row: int, column: int) -> Grey:
        picture = Image.fromarray(grains(seed) // 8 + 80)
        draw = ImageDraw.Draw(picture)
        draw.rectangle((column, row, column + 70, row + 4), fill=255)
        draw.text((column + 10, row - 20), "500 nm", fill=255, font_size=16)
        return np.asarray(picture)

    assert not find_leaks(parts([stamped(0, 215, 240)], [stamped(1, 215, 240)]))
    assert not find_leaks(parts([stamped(0, 215, 240)], [stamped(1, 40, 10)]))


def test_images_without_content_are_no_leak() -> None:
    empty, tiny = np.full((64, 64), 7, np.uint8), np.zeros((1, 2), np.uint8)
    assert not find_leaks(parts([empty, tiny, grains(0)], [empty, tiny, grains(1)]))


def blobs(seed: int, count: int = 3) -> Grey:
    """A few equal discs (H, W) on a plain background with the noise of a camera."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:240, :320]
    image = np.full((240, 320), 60.0)
    for _ in range(count):
        row, column = rng.uniform(20, 220), rng.uniform(20, 300)
        image[np.hypot(y - row, x - column) < 12] = 170
    return np.asarray(np.clip(image + rng.normal(0, 2, image.shape), 0, 255), np.uint8)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_few_blobs_on_a_plain_background_are_no_leak(count: int) -> None:
    images = [blobs(seed, count) for seed in range(9)]
    assert not find_leaks(parts(images[:4], images[4:]))


def test_a_copy_of_a_few_blobs_is_found() -> None:
    source = blobs(1)
    leaks = find_leaks(parts([blobs(0), source], [blobs(2), np.fliplr(source) // 2 + 20]))
    assert only(leaks).kind == "copy"
    shared = find_leaks(parts([blobs(0), source[:, :220]], [blobs(2), source[:, 100:]]))
    assert only(shared).kind == "overlap"


def test_small_images_are_compared_as_a_whole() -> None:
    small = grains(1)[:16, :20]
    assert only(planted(np.fliplr, small)).kind == "copy"


def test_copies_inside_one_part_are_no_leak() -> None:
    assert not find_leaks(parts([grains(0), grains(0)], [grains(1), grains(1)]))


def test_all_pairs_of_parts_are_compared() -> None:
    leaks = find_leaks(parts([grains(0)], [grains(0)], (grains(0),)))
    sides = [(leak.first_part, leak.second_part) for leak in leaks]
    assert sides == [("train", "val"), ("train", "test"), ("val", "test")]


def test_a_group_in_two_parts_is_told_once() -> None:
    def item(name: str, seed: int, group: str) -> Item:
        return Item(name, grains(seed), MASK, group)

    train = (item("a0", 0, "plate"), item("a1", 1, "plate"))
    found = find_leaks(Split(train, (item("v0", 2, "rod"),), (item("b0", 3, "plate"),)))
    leak = only(found, "a0", "b0")
    assert (leak.kind, leak.group, leak.score) == ("group", "plate", None)
    assert str(leak) == "'b0' (test) and 'a0' (train) belong to one group, 'plate'"


def test_the_same_parts_give_the_same_leaks() -> None:
    scene = grains(5, (300, 500))
    made = parts([grains(0), scene[:, :300]], [scene[:, 200:], np.fliplr(grains(0))])
    found = find_leaks(made)
    assert [(leak.first, leak.second) for leak in found] == [("a0", "b1"), ("a1", "b0")]
    assert find_leaks(made) == found


def test_each_kind_has_its_sentence() -> None:
    pair = ("a", "train", "b", "test")
    said = [
        str(Leak("identical", *pair, 1.0, 1.0)),
        str(Leak("copy", *pair, 0.987, 1.0, "mirrored left to right")),
        str(Leak("overlap", *pair, 0.9, 0.25)),
    ]
    assert said == [
        "'b' (test) has the same pixels as 'a' (train)",
        "'b' (test) is a copy of 'a' (train) (mirrored left to right, correlation 0.99)",
        "'b' (test) and 'a' (train) share 25% of the smaller one's area (correlation 0.90)",
    ]


def test_the_refusal_names_the_first_pairs_and_the_way_on() -> None:
    leaks = [Leak("identical", f"a{n}", "train", f"b{n}", "test", 1.0, 1.0) for n in range(8)]
    empty = Collection("c", ("ground", "object"), ())
    error = leakage_error(leaks, empty, [])
    assert isinstance(error, UserError)
    text = str(error)
    assert "\n" not in text
    assert str(leaks[4]) in text
    assert str(leaks[5]) not in text
    assert "and 3 more" in text
    assert "--allow-leakage" in text
    assert "more;" not in str(leakage_error(leaks[:2], empty, []))


def test_steel_is_free_of_leaks_until_one_is_planted() -> None:
    made = split(load_collection("steel"))
    assert not find_leaks(made)
    source = made.train[4]
    assert not isinstance(source.image, Path)
    tile = jpeg(np.ascontiguousarray(np.rot90(source.image[:, 150:])))
    found = find_leaks(Split(made.train, (), (*made.test, Item("tile", tile, MASK, "tile"))))
    assert only(found, source.name, "tile").kind == "overlap"


def test_neighbouring_fields_of_one_specimen_are_found(data_root: Path) -> None:
    """Two micrographs of MetalDAM, both in its training part, that show 33 % in common."""
    items = {item.name: item for item in read_folder(data_root / "metaldam").items}
    one, other = items["metaldam_039"], items["metaldam_040"]
    leak = only(find_leaks(Split((one,), (), (other,))), one.name, other.name)
    assert leak.kind == "overlap"
    assert leak.shared == pytest.approx(0.33, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_published_splits_of_real_images_raise_no_false_alarm(name: str, data_root: Path) -> None:
    assert not find_leaks(split(read_folder(data_root / name)))
