"""Procedural abdominal CT: eight organs in volumes, with the classes of `synapse`.

    images    296 axial slices of 33 volumes, 192 x 192 px, grey uint8
    groups    33 patients, one volume each, its slices ordered from the feet to the head: 5 for
              training with all slices (13 to 16), 4 for validation and 24 for the test with every
              second slice
    classes   background, aorta, gallbladder, left kidney, right kidney, liver, pancreas, spleen,
              stomach; 91 % of the pixels are background
    spacing   9.3 to 13.1 mm from slice to slice, twice that in validation and test;
              pixels of 1.9 to 2.2 mm
    view      the patient's right is at the left of the image, the front at the top
    licence   as the project; drawn from a fixed seed, nothing is downloaded

Hounsfield units from -125 to 275 become grey levels from 0 to 255, as in `synapse`. The grid is
that of a scan of 512 x 512 px, 0.7 to 0.9 mm wide, in slices of 3.5 to 5 mm, thinned by 8/3 along
all three axes. A voxel belongs to what covers its centre; its grey level is the mean over the
slice's thickness, which smears sloping borders (partial volume).

Patients differ in size, fat, pathology (cysts, metastases, fatty liver, ascites) and in the phase
of the contrast medium, on which the brightness of every organ depends. One in four has lost the
gallbladder. Lesions of an organ and the contents of the stomach belong to it; the fat in a kidney's
hilum, vessels outside the organs, gut and muscles are background, as bright as the organs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bench import Item, register_dataset
from bench.draw import exact
from bench.draw.solids import Grid, Level, Point, Solid, Volume

SEED = 20150709
SIDE = 192  # px
FULL_SIDE = 512  # px, of the scan before it is thinned to this grid
WINDOW = (-125, 275)  # Hounsfield units
TRAINING = (0, 1, 2, 4, 5)  # patients
VALIDATION = (3, 8, 9, 10)  # of these and the next, every second slice
TEST = (6, 7, *range(11, 33))
PHASES = ("portal", "arterial", "portal", "portal", "native", "portal", "arterial", "portal")
# Patients come in eights that are alike in these and in the phase; numbers in eight:
WITHOUT_GALLBLADDER = (2, 6)  # surgeons left clips in its bed
FATTY, ASCITES = (5,), (1,)
AORTA, GALLBLADDER, LEFT_KIDNEY, RIGHT_KIDNEY, LIVER, PANCREAS, SPLEEN, STOMACH = range(1, 9)

AIR, LUNG, GAS, FAT, FLUID, MUSCLE, MARROW, BONE = -1000, -850, -900, -105, 10, 56, 190, 420


class Levels(NamedTuple):
    """Hounsfield units of the tissues that take up the contrast medium."""

    aorta: float
    vein: float
    cortex: float  # of the kidneys
    medulla: float
    liver: float
    pancreas: float
    spleen: float
    wall: float  # of stomach and gut


ENHANCEMENT = {
    "native": Levels(42, 40, 33, 30, 56, 45, 48, 40),
    "arterial": Levels(290, 95, 195, 100, 74, 112, 122, 88),
    "portal": Levels(152, 158, 172, 150, 108, 100, 118, 84),
}


@dataclass(frozen=True)
class Patient:
    """Random properties of a patient and the scan; lengths in mm."""

    size: float  # relative to the lengths in this file
    fat: float  # 0 lean, 1 obese
    spacing: Point  # distance of slices, height and width of a pixel
    slices: int
    lowest: float  # height of the first slice
    turn: float  # radians, about the long axis
    ascites: float  # depth of the fluid under the abdominal wall
    levels: Levels
    noise: float  # Hounsfield units


def draw_anatomy(rng: np.random.Generator, number: int) -> Patient:
    """Choose a patient, the phase in which the contrast medium is, and the scan."""
    size, fat = rng.uniform(0.95, 1.08), rng.beta(1.2, 1.5)
    view = 2 * size * (146 + 42 * fat) + rng.uniform(25, 55)
    pixel = round(float(np.clip(view / FULL_SIDE, 0.7, 0.9)), 2) * FULL_SIDE / SIDE
    distance = round(rng.uniform(3.5, 5), 1) * FULL_SIDE / SIDE
    slices = int(np.clip(round(rng.uniform(170, 185) * size / distance), 12, 16))
    usual = np.array(ENHANCEMENT[PHASES[number]])
    levels = Levels(*(usual * rng.normal(1, 0.06, len(usual))).tolist())
    if number in FATTY:
        levels = levels._replace(liver=levels.liver - 55)
    return Patient(
        size=size,
        fat=fat,
        spacing=(distance, pixel, pixel),
        slices=slices,
        lowest=rng.uniform(-68, -58) * size,
        turn=rng.normal(0, 0.04),
        ascites=rng.uniform(6, 9) if number in ASCITES else 0.0,
        levels=levels,
        noise=rng.uniform(9, 19),
    )


class Scan(Volume):
    """A volume in Hounsfield units while it is drawn, in the coordinates of a patient."""

    def __init__(self, rng: np.random.Generator, patient: Patient) -> None:
        super().__init__(
            rng,
            (patient.slices, SIDE, SIDE),
            patient.spacing,
            lowest=patient.lowest,
            scale=patient.size,
            turn=patient.turn,
            outside=AIR,
        )
        self.patient = patient

    def fill(self, solid: Solid, wall: float, level: Level, gas: float, label: int) -> None:
        """Paint a hollow organ: wall of some mm, contents, and gas, which rises to the front.

        Args:
            solid: the organ.
            wall: thickness in mm.
            level: Hounsfield units of the contents.
            gas: share of the height that holds gas.
            label: class of all of it.
        """
        self.paint(solid, self.patient.levels.wall, label)
        lumen = solid.shrunk(wall)
        self.paint(lumen, level, None)
        rows = np.flatnonzero((lumen.away < 0).any((0, 2)))
        if gas > 0 and rows.size:
            y = self.axes[1][solid.place[1]][:, None]  # level in space, not in the bent patient
            surface = y[rows[0]] + gas * (y[rows[-1]] - y[rows[0]])
            self.paint(Solid(lumen.place, np.maximum(lumen.away, y - surface)), GAS, None)


def draw_volume(number: int) -> tuple[Patient, Grid, npt.NDArray[np.uint8]]:
    """Patient, Hounsfield units (D, H, W) and classes (D, H, W), the same on every call."""
    rng = np.random.default_rng((SEED, number))
    number %= len(PHASES)
    patient = draw_anatomy(rng, number)
    scan = Scan(rng, patient)
    cavity = _draw_trunk(scan)
    _draw_bones(scan)
    _draw_gut(scan, cavity)
    _draw_liver(scan, cavity, number)
    _draw_spleen_and_kidneys(scan, cavity)
    _draw_stomach_and_pancreas(scan, cavity)
    _draw_vessels(scan)
    return patient, _expose(scan, number), scan.labels


def _jitter(rng: np.random.Generator, *points: Point, by: float = 4.0) -> list[Point]:
    """Move all points by one random vector, and each point by a third of that."""
    moved = np.array(points) + rng.normal(0, by, 3) + rng.normal(0, by / 3, (len(points), 3))
    return [tuple(point) for point in moved.tolist()]


def _draw_trunk(scan: Scan) -> Grid:
    """Fat, muscles, lungs; returns the distance (D, H, W) from the wall of the abdomen."""
    fat, (x, y, z) = scan.patient.fat, scan.bent

    def oval(half_width: float, half_depth: float, middle: float) -> Grid:
        a, b = np.abs(x) / half_width, np.abs(y - middle) / half_depth
        return np.asarray(exact.power(a * a * np.sqrt(a) + b * b * np.sqrt(b), 0.4), np.float32)

    skin = 100 * (oval(146 + 42 * fat, 111 + 32 * fat, -14 * fat) - 1)
    skin += 9 * exact.exp(-((x / 16) ** 2)) * (y > 0)  # furrow over the spine
    scan.paint(scan.everywhere(skin), 30)
    scan.paint(scan.everywhere(skin + 3), FAT)
    wall = oval(140, 101, 0)
    between = np.clip(3 * scan.field(12) - 1, 0, 1)  # fat among the muscles
    scan.paint(scan.everywhere(100 * (wall - 1)), MUSCLE - 70 * between)
    inner = wall * (1.11 - 0.05 * exact.exp(-((x / 9) ** 2)) * (y < 0))  # white line
    scan.paint(scan.everywhere(100 * (inner - 1)), LUNG)
    dome = np.sqrt(inner**2 + (np.maximum(z - 48, 0) / 88) ** 2)
    abdomen = np.asarray(100 * (dome - 1), np.float32)
    scan.paint(scan.everywhere(abdomen), MUSCLE)
    scan.paint(scan.ellipsoid((22, -45, 150), (62, 42, 42)), scan.patient.levels.vein)  # heart
    scan.paint(scan.everywhere(abdomen + 3), FAT)
    if scan.patient.ascites:
        scan.paint(scan.everywhere(abdomen + 3), FLUID)
        scan.paint(scan.everywhere(abdomen + 3 + scan.patient.ascites), FAT)
    for side in (-1, 1):
        back = scan.tube([(side * 34, 80, -200), (side * 34, 82, 200)], [25, 20])
        scan.paint(back, MUSCLE)
        scan.paint(scan.tube([(side * 22, 42, 30), (side * 42, 36, -90)], [7, 22]), MUSCLE)
        scan.paint(scan.tube([(side * 62, 66, 10), (side * 70, 62, -90)], [7, 13]), MUSCLE)
        crus = scan.tube([(side * 15, 26, 130), (side * 14, 32, -20)], [8, 4])
        scan.paint(crus, MUSCLE)
    return abdomen


def _draw_bones(scan: Scan) -> None:
    """Spine and ribs: a hard shell and marrow."""
    x, y, z = scan.bent
    level = np.abs((z + 400) % 34 - 17)  # 0 in the middle of a vertebra, 17 in that of a disc
    body = np.sqrt(x**2 + ((y - 46) * 1.25) ** 2) - 21
    canal = np.sqrt(x**2 + (y - 71) ** 2) - 8
    arch = np.maximum(canal - 5, y - 79)
    thorn = np.maximum(np.maximum(np.abs(x) - 3.5, np.abs(y - 88) - 12), level - 9)
    wings = np.maximum(np.maximum(np.abs(x) - 40, np.abs(y - 72 + 0.1 * np.abs(x)) - 4), level - 6)
    angle = np.abs(exact.arctan2(x, y))  # 0 at the spine
    course = z + 34 * angle  # ribs fall towards the front
    across = exact.hypot(x / 136, y / 96)
    ribs = exact.hypot((across - 0.975) * 100 / 4, ((course + 400) % 27 - 13.5) / 6) * 4 - 4
    ribs = np.maximum(ribs, np.maximum(18 - course, angle - 2.4) * 10)
    for bone in (body, np.minimum(arch, np.minimum(thorn, wings)), ribs):
        scan.paint(scan.everywhere(bone), BONE)
        scan.paint(scan.everywhere(bone + 2.5), MARROW)
    scan.paint(scan.everywhere(np.maximum(body + 2, 13.5 - level)), 85)
    scan.paint(scan.everywhere(canal), 28)


def _draw_gut(scan: Scan, cavity: Grid) -> None:
    """Loops of small bowel, colon, and the vessels of the mesentery between them."""
    rng, inside = scan.rng, cavity + 4
    for _ in range(26):  # vessels and lymph nodes
        start = (rng.uniform(-70, 70), rng.uniform(-60, 10), rng.uniform(-80, 0))
        end = (0.5 * start[0], start[1] + 12, start[2] + 30)
        vessel = scan.tube([start, end], rng.uniform(1.2, 3, 2).tolist())
        scan.paint(vessel, scan.patient.levels.vein)
    for _ in range(20):
        left = rng.random() < 0.5
        middle = (rng.uniform(10, 85) if left else rng.uniform(-70, 30), rng.uniform(-78, -8))
        height = rng.uniform(-85, 15) if left else rng.uniform(-85, -35)
        bends = rng.normal(0, 1, (3, 3)) * (26, 14, 12) + (*middle, height)
        loop = scan.tube(bends.tolist(), rng.uniform(8, 13, 3).tolist()).within(inside)
        scan.paint(loop.shrunk(-1.5), FAT)
        level = float(rng.choice([FLUID, 35, 60, 190], p=[0.3, 0.4, 0.2, 0.1]))
        gas = rng.uniform(0.2, 0.7) if rng.random() < 0.25 else 0.0
        scan.fill(loop, 3, level, gas, 0)
    mottled = scan.field(7)
    frame: list[list[Point]] = [
        [(-104, 14, -95), (-102, 10, -45), (-88, -28, -30), (-62, -70, -38)],
        [(-62, -70, -38), (-10, -80, -52), (48, -74, -35), (92, -40, 22), (108, -4, 40)],
        [(108, -4, 40), (112, 26, 0), (108, 30, -95)],
    ]
    for part in frame:
        course = _jitter(rng, *part, by=5)
        colon = scan.tube(course, rng.uniform(13, 20, len(part)).tolist()).within(inside)
        haustra = 4 * np.abs(mottled[colon.place])
        scan.paint(colon.shrunk(-2), FAT)
        faeces = -20 + 160 * mottled[colon.place]
        scan.fill(colon.shrunk(haustra), 3, faeces, rng.uniform(0, 0.7), 0)


def _draw_liver(scan: Scan, cavity: Grid, number: int) -> None:
    """Liver with its vessels and lesions, gallbladder."""
    rng, patient, levels = scan.rng, scan.patient, scan.patient.levels
    (right, left), grown = _jitter(rng, (-70, -4, 48), (0, -52, 68)), rng.uniform(0.93, 1.06)
    lobe = scan.ellipsoid(right, (72 * grown, 84 * grown, 82 * grown), 0.25)
    wing = scan.ellipsoid(left, (66 * grown, 30, 36))
    hollow = scan.ellipsoid((-6, 8, 18), (56, 50, 62), -0.4)  # place of stomach, duodenum and hilum
    liver = scan.everywhere(scan.distance(lobe, wing)).within(-scan.distance(hollow))
    liver = liver.within(cavity + 3 + patient.ascites)
    scan.paint(liver.shrunk(-1.5 * patient.fat), FAT)
    scan.paint(liver, levels.liver, LIVER)
    _draw_liver_vessels(scan)
    for _ in range(rng.poisson(1.6)):
        spot = scan.ellipsoid(
            (rng.uniform(-110, -40), rng.uniform(-50, 50), rng.uniform(0, 100)),
            (rng.uniform(4, 15),) * 3,
        )
        cyst = rng.random() < 0.5
        scan.paint(spot, FLUID if cyst else levels.liver - 35, None, LIVER)
    if number not in WITHOUT_GALLBLADDER:
        course = _jitter(rng, (-38, -22, 24), (-46, -44, 8), (-52, -58, -10))
        bladder = scan.tube(course, [5, *rng.uniform(11, 17, 2)])
        scan.paint(bladder, levels.wall, GALLBLADDER)
        scan.paint(bladder.shrunk(1.5), FLUID, None)


def _draw_liver_vessels(scan: Scan) -> None:
    """Branches of the portal vein and of the hepatic veins, each of which forks once."""
    rng = scan.rng
    hilum, cava = (-24.0, -14.0, 32.0), (-18.0, 16.0, 100.0)
    for root, ends in (
        (hilum, [(-95, 10, 40), (-88, -40, 62), (-18, -55, 66), (-80, 30, 15)]),
        (cava, [(-100, 20, 70), (-72, -50, 75), (-10, -60, 85)]),
    ):
        for end in _jitter(rng, *ends, by=7):
            middle = tuple((0.5 * np.add(root, end) + rng.normal(0, 6, 3)).tolist())
            for vessel in ([root, middle, end], [middle, *_jitter(rng, end, by=22)]):
                branch = scan.tube(vessel, [6, 4, 2.5][-len(vessel) :])
                scan.paint(branch, scan.patient.levels.vein, None, LIVER)


def _draw_spleen_and_kidneys(scan: Scan, cavity: Grid) -> None:
    """Spleen; kidneys in their fat, with cortex, medulla, sinus and cysts."""
    rng, patient, levels = scan.rng, scan.patient, scan.patient.levels
    grown = rng.uniform(0.95, 1.15)
    (centre,) = _jitter(rng, (96, 26, 66))
    spleen = scan.ellipsoid(centre, (36 * grown, 50 * grown, 52 * grown), 0.1)
    spleen = spleen.within(cavity + 3 + patient.ascites)
    hollow = scan.ellipsoid((54, 0, 66), (38, 40, 80))  # place of stomach and hilum
    spleen = spleen.within(-scan.distance(hollow))
    scan.paint(spleen.shrunk(-1.5), FAT)
    scan.paint(spleen, levels.spleen, SPLEEN)
    if rng.random() < 0.3:
        spot = scan.ellipsoid(centre, (rng.uniform(5, 10),) * 3)
        scan.paint(spot, levels.spleen - 40, None, SPLEEN)
    pyramids = 9 + 5 * scan.field(11)
    for side, label, height in ((1, LEFT_KIDNEY, 8), (-1, RIGHT_KIDNEY, -6)):
        (centre,) = _jitter(rng, (side * 62, 36, height))
        lean = side * 0.22  # the lower ends are farther apart
        radii = (rng.uniform(25, 29), rng.uniform(24, 28), rng.uniform(50, 58))
        kidney = scan.ellipsoid(centre, radii, lean)
        scan.paint(kidney.shrunk(-2 - 9 * patient.fat), FAT)
        scan.paint(kidney, levels.cortex, label)
        scan.paint(kidney.shrunk(pyramids[kidney.place]), levels.medulla, None)
        medial = (centre[0] - side * 18, centre[1] - 6, centre[2])
        scan.paint(scan.ellipsoid(medial, (18, 10, 24), lean), FAT)
        hilum = (medial[0] + side * 8, *medial[1:])
        scan.paint(scan.tube([(side * 8 - 12, 8, height + 4), hilum], [5, 4]), levels.vein)
        for _ in range(rng.poisson(0.7)):
            angle, size = rng.uniform(-1.2, 1.2), rng.uniform(5, 16)
            out = (centre[0] + side * 24 * exact.cos(angle), centre[1] + 22 * exact.sin(angle))
            cyst = scan.ellipsoid((*out, centre[2] + rng.uniform(-30, 30)), (size,) * 3)
            scan.paint(cyst.within(cavity + 4), FLUID, label)


def _draw_stomach_and_pancreas(scan: Scan, cavity: Grid) -> None:
    """Stomach with its contents, duodenum, pancreas among its vessels."""
    rng, patient, levels = scan.rng, scan.patient, scan.patient.levels
    course = _jitter(rng, (54, 14, 100), (64, -16, 62), (44, -48, 24), (6, -56, 6), (-22, -42, 12))
    girth = rng.uniform(0.8, 1.1)
    stomach = scan.tube(course, [girth * r for r in (30, 29, 23, 17, 10)]).within(cavity + 4)
    folds = 1.5 * np.abs(scan.field(9)[stomach.place])
    meal = float(rng.choice([FLUID, 30, 70, 220], p=[0.35, 0.3, 0.2, 0.15]))
    scan.paint(stomach.shrunk(-1), FAT)
    wall = rng.uniform(3.5, 6)
    scan.fill(stomach, wall, meal - 15 + 30 * folds, rng.uniform(0, 0.5), STOMACH)
    lobules = scan.field(9)
    loop = _jitter(rng, (-24, -38, 12), (-50, -14, 8), (-48, 4, -30), (-20, 10, -44), (20, 4, -40))
    duodenum = scan.tube(loop, rng.uniform(9, 13, 5).tolist())
    scan.fill(duodenum, 3, rng.uniform(10, 50), rng.uniform(-0.4, 0.4), 0)
    course = _jitter(
        rng, (-30, -2, -12), (-24, -12, 8), (-4, -24, 20), (22, -18, 26), (48, 2, 34), (80, 16, 46)
    )
    thick = rng.uniform(1.0, 1.2)
    pancreas = scan.tube(course, [thick * r for r in (11, 14, 9.5, 10.5, 11, 9)])
    pancreas = pancreas.shrunk(3.2 * lobules[pancreas.place])
    infiltrated = 30 * patient.fat * np.abs(lobules[pancreas.place])
    scan.paint(pancreas.shrunk(-0.5 - patient.fat), FAT)
    scan.paint(pancreas, levels.pancreas - infiltrated, PANCREAS)
    splenic = [(-12, -8, 22), (20, -6, 28), (50, 12, 38), (84, 20, 56)]
    scan.paint(scan.tube(splenic, [6, 4.5, 4.5, 4]), levels.vein)


def _draw_vessels(scan: Scan) -> None:
    """Aorta and its branches, vena cava, portal and mesenteric veins."""
    rng, levels = scan.rng, scan.patient.levels
    wide = rng.uniform(8.5, 12)
    for points, radii in (
        ([(-20, 17, 200), (-19, 16, 60), (-20, 22, -200)], [13, 12, 11]),
        ([(-26, -18, 40), (-10, -8, 18), (-8, -22, -30), (-4, -30, -90)], [7.5, 7.5, 6, 5]),
    ):
        scan.paint(scan.tube(points, radii), levels.vein)
    (x, y, _), *_ = _jitter(rng, (6, 13, 0), by=2)
    coeliac, mesenteric = (x - 3, y - 26, 36), [(x, y - 26, 0), (2.0, -28.0, -90)]
    scan.paint(scan.tube([(x, y, 34), coeliac], [4, 4]), levels.aorta)
    scan.paint(scan.tube([(x, y, 18), *mesenteric], [4, 4, 4]), levels.aorta)
    course = [(x + 6, y + 10, 200), (x, y, 40), (x - 3, y + 6, -200)]
    aorta = scan.tube(course, [wide + 2, wide, wide - 2])
    scan.paint(aorta.shrunk(-1.5), FAT)
    scan.paint(aorta, levels.aorta, AORTA)
    for _ in range(rng.poisson(3)):
        angle = rng.uniform(0, 2 * np.pi)
        at = (x + wide * exact.cos(angle), y + wide * exact.sin(angle), rng.uniform(-70, 60))
        scan.paint(scan.ellipsoid(at, (2, 2, 8)), 600, None, AORTA)  # calcified plaque


def _expose(scan: Scan, number: int) -> Grid:
    """The scan as a scanner records it: couch, tissue texture, blur, streaks, noise."""
    rng, patient = scan.rng, scan.patient
    z, y, x = np.ix_(*scan.axes)
    couch = np.clip(1.8 - np.abs(y - 119 - 20 * patient.fat + (x / 34) ** 2) / 2, 0, 1)
    hu = scan.levels + couch * (scan.levels < -500) * (-40 - scan.levels) + 14 * scan.field(9)
    if number in WITHOUT_GALLBLADDER:
        clip = (x + 40, y + 30)
        distance = exact.hypot(*clip) + 1
        ray = exact.cos(7 * exact.arctan2(clip[1], clip[0]) + rng.uniform(0, 6))
        rays = ray * ray * ray
        near = exact.exp(-(((z - 12) / 8) ** 2))
        hu = hu + near * (60 * rays * exact.exp(-distance / 40) + 2500 * (distance < 3.5))
    hu = exact.gaussian_filter(hu, (0, 0.6, 0.6))
    grains = exact.gaussian_filter(rng.standard_normal(scan.shape, np.float32), (0, 0.55, 0.55))
    rows = rng.standard_normal((*scan.shape[:2], SIDE // 12), np.float32)
    streaks = np.repeat(rows, 12, axis=2)
    streaks = ndimage.uniform_filter1d(streaks, 25, axis=2)
    # Fewer photons pass along the width of the body, so noise grows in its middle, in streaks.
    deep = exact.exp(-((y / 75) ** 2))
    return np.asarray(
        hu + patient.noise * (grains * (1.1 + 0.5 * deep) + streaks * deep), np.float32
    )


@register_dataset(
    "organs",
    classes=(
        "background",
        "aorta",
        "gallbladder",
        "left kidney",
        "right kidney",
        "liver",
        "pancreas",
        "spleen",
        "stomach",
    ),
    source="procedural",
    licence="as the project",
    images_may_be_shown=True,
)
def organs() -> dict[str, list[Item]]:
    """Procedural abdominal CT, eight organs; 296 slices of 33 volumes, 192 x 192 grey."""
    return {
        "train": [item for number in TRAINING for item in draw_patient(number)],
        "val": [item for number in VALIDATION for item in draw_patient(number, step=2)],
        "test": [item for number in TEST for item in draw_patient(number, step=2)],
    }


def draw_patient(number: int, step: int = 1) -> list[Item]:
    """Every slice of one patient, or every `step`-th, from the feet to the head."""
    patient, hu, labels = draw_volume(number)
    low, high = WINDOW
    grey = np.round(np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    name = f"patient{number:02}"
    distance, height, width = patient.spacing
    spacing = (step * distance, height, width)
    return [
        Item(f"{name}_slice{k:02}", grey[k], labels[k], name, volume=name, spacing_mm=spacing)
        for k in range(0, patient.slices, step)
    ]
