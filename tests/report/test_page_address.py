"""An address reproduces what the page shows: limits, filters, columns, order, two methods."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from records import make_cell, make_cost, make_record

from bench.report.compare.comparison import make_comparisons
from bench.report.page import Report, write_page
from bench.report.records.frame import to_frame

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here"),
]
# Dice, memory in MiB, trainable parameters.
METHODS = {
    "full": (0.84, 400.0, 4_000_000),
    "lora": (0.84, 200.0, 40_000),
    "adapter": (0.83, 150.0, 90_000),
    "unet": (0.6, 100.0, 2_000_000),
    "zero_shot": (0.7, 50.0, 0),
}


class Rendered(HTMLParser):
    """Visible rows of tables, with their visible cells, and verdicts of the shown view."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, bool, str]] = []  # tag, hidden, class
        self.rows: list[list[str]] = []
        self.verdicts: list[str] = []
        self.feed(text)

    @property
    def hidden(self) -> bool:
        return any(hidden for _, hidden, _ in self.open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("meta", "img", "input", "wbr", "br", "link"):
            return
        self.open.append((tag, "hidden" in values or tag == "script", values.get("class") or ""))
        if not self.hidden:
            if tag == "tr":
                self.rows.append([])
            elif tag in ("td", "th") and self.rows:
                self.rows[-1].append("")
            elif tag == "p" and values.get("class") == "verdict":
                self.verdicts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        tags = [name for name, _, _ in self.open]
        if {"td", "th"} & set(tags) and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data
        if any(name == "verdict" for _, _, name in self.open):
            self.verdicts[-1] += data

    def methods(self) -> list[str]:
        """The methods of the first table of a comparison, in their order."""
        lines = [" ".join(cells[0].split()) for cells in self.rows if len(cells) > 1]
        named = [name for line in lines if (name := line.partition(" ")[0]) in METHODS]
        return list(dict.fromkeys(named))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [
        make_record(
            make_cell(method, dataset=dataset, backbone="none" if method == "unet" else "sam_nano"),
            dice=dice,
            image_dice=[dice + 0.02 * ((7 * i + place) % 5 - 2) for i in range(30)],
            cost=make_cost(trainable, peak_mib=memory),
            prompts="oracle" if method == "zero_shot" else "none",
        )
        for dataset in ("steel", "nuclei")
        for place, (method, (dice, memory, trainable)) in enumerate(METHODS.items())
    ]
    frame = to_frame(records)
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_page(Report(records, frame, make_comparisons(frame)), path)


def render(file: Path, address: str) -> Rendered:
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]
    done = subprocess.run(
        [CHROMIUM, *options, "--dump-dom", f"{file.as_uri()}#{address}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return Rendered(done.stdout)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("comparison-steel", ["full", "lora", "adapter", "unet", "zero_shot"]),
        ("comparison-steel?memory=150", ["adapter", "unet", "zero_shot"]),
        ("comparison-steel?memory=200&trainable=0.05", ["lora", "zero_shot"]),
        ("comparison-steel?family=low_rank,adapters", ["lora", "adapter"]),
        ("comparison-steel?prompts=oracle", ["zero_shot"]),
        ("comparison-steel?backbone=none", ["unet"]),
        ("comparison-steel?find=LOR", ["lora"]),
        ("comparison-steel?memory=nonsense&family=", list(METHODS)),
        (
            "comparison-steel?sort=peak-memory ascending",
            ["unet", "adapter", "lora", "full", "zero_shot"],
        ),
    ],
)
def test_rows_are_those_that_fit(file: Path, address: str, shown: list[str]) -> None:
    page = render(file, address.replace(" ", "%20"))
    methods = page.methods()
    if "sort" in address:
        assert methods == shown
    else:
        assert set(methods) == set(shown)


def test_the_verdict_follows_the_limits(file: Path) -> None:
    whole = " ".join(render(file, "comparison-steel?prompts=none").verdicts)
    assert re.search(r"full has the highest Dice of 4 methods: 84\.0 %", whole)
    few = " ".join(render(file, "comparison-steel?prompts=none&memory=200").verdicts)
    assert re.search(r"lora has the highest Dice of 3 methods: 84\.0 %", few)
    assert "least memory adapter (150 MiB)" in few
    assert "1 other is worse" in few
    none = render(file, "comparison-steel?prompts=none&memory=10").verdicts
    assert none == ["No ranked method fits these limits."]


def test_the_answer_names_the_best_of_every_collection(file: Path) -> None:
    page = render(file, "overview?memory=200&prompts=none")
    lines = [cells for cells in page.rows if cells and cells[0] in ("nuclei", "steel")]
    assert [cells[:3] for cells in lines] == [
        ["nuclei", "3", "lora84.0 %"],
        ["steel", "3", "lora84.0 %"],
    ]
    assert lines[0][4] == "adapter150 MiB"


def test_columns_and_two_methods_are_chosen(file: Path) -> None:
    page = render(file, "comparison-steel?columns=dice,peak-memory&a=lora&b=unet")
    head = next(cells for cells in page.rows if cells and cells[0] == "Method")
    assert [" ".join(cell.split()) for cell in head] == [
        "Method",
        "Runs",
        "Dice %",
        "Peak memory MiB",
    ]
    sides = next(cells for cells in page.rows if cells[0] == "Dice%")
    assert sides[1:3] == ["84.0", "60.0"]
    assert sides[-1] == "↓ worse"
