import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from records import make_cell, make_cost, make_failure, make_record

from bench.cli import main
from bench.data.items import Collection, Item
from bench.report.compare.comparison import make_comparisons
from bench.report.page import Report, build_page, find_ledgers, unpack
from bench.report.page.charts import charts_of
from bench.report.plots.style import assign
from bench.report.records.frame import to_frame
from bench.report.tables.write import cells, markdown
from bench.run.store import Store
from bench.spec import Record

VENDOR = Path(__file__).parents[2] / "bench" / "report" / "page" / "vendor"
MALICIOUS = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"


class Outline(HTMLParser):
    """Elements with their attributes and text, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        self.unclosed = [name for name, _, _ in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, dict(attrs), [""])
        self.elements.append(element)
        if tag not in ("meta", "img", "input", "wbr", "br"):
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, _, text in self._open:
            text[0] += data

    def named(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (found, " ".join(text[0].split()))
            for name, found, text in self.elements
            if name == tag and all(found.get(key) == value for key, value in attributes.items())
        ]


def make_report(records: Sequence[Record] | None = None) -> Report:
    if records is None:
        methods = {"lora": 0.8, "adapter": 0.7, "unet": 0.6}
        records = [
            make_record(
                make_cell(method, seed=seed, dataset=dataset),
                dice=dice + seed / 100,
                cost=make_cost(int(1e5 * dice)),
            )
            for dataset in ("steel", "nuclei")
            for method, dice in methods.items()
            for seed in (0, 1)
        ]
        records = [*records, make_record(make_cell("sam", seed=0), prompts="oracle", dice=0.9)]
        records.append(make_failure(make_cell("full"), error=MALICIOUS))
    frame = to_frame(records)
    return Report(records, frame, make_comparisons(frame))


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report()


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return build_page(report)


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_every_comparison_stands_in_the_contents(outline: Outline) -> None:
    sections = {found["id"] for found, _ in outline.named("section") if "id" in found}
    assert sections == {"overview", "comparison-nuclei", "comparison-steel", "failures"}
    links = {found["href"] for found, _ in outline.named("a")}
    assert links == {"#main", *(f"#{name}" for name in sections)}
    ids = [found["id"] for _, found, _ in outline.elements if "id" in found]
    assert len(ids) == len(set(ids))
    assert outline.unclosed == []


def test_a_lone_row_beside_whole_tables_is_not_in_the_overview() -> None:
    short = dataclasses.replace(make_cell().recipe, steps=50)
    records = [make_record(make_cell(method)) for method in ("lora", "unet")]
    records.append(make_record(make_cell(recipe=short)))
    for given, there in ((records, False), (records[2:], True)):
        found = make_report(given)
        slug = next(one.slug for one in found.comparisons if len(one.rows) == 1)
        page = build_page(found)
        overview = page[page.index('id="overview"') :].partition("</section>")[0]
        assert (f"comparison-{slug} " in overview) is there
        assert f'id="comparison-{slug}"' in page


def test_no_name_of_a_dataset_doubles_an_id() -> None:
    names = ("overview", "failures", "record", "main", "ledger-x", "steel-labels", "鋼")
    records = [make_record(make_cell(dataset=name)) for name in names]
    records += [make_record(make_cell(labels=n), env=_split(n)) for n in (1, 2)]
    found = Outline(build_page(make_report(records)))
    ids = [one["id"] for _, one, _ in found.elements if "id" in one]
    assert len(ids) == len(set(ids))
    assert {"record", "comparison-record", "labels-steel", "comparison-鋼"} <= set(ids)
    places = {str(one["data-at"]).split()[0] for one, _ in found.named("td") if "data-at" in one}
    assert places <= set(ids)


def _split(images: int) -> dict[str, Any]:
    return {"split": {"train": images, "val": 1, "test": 1}}


def test_figures_are_those_of_the_tables(report: Report, outline: Outline) -> None:
    for found in report.comparisons:
        tables = {
            (f"comparison-{found.slug} {place}", column.key): text
            for texts, place in zip(
                (line for block in found.blocks for line in cells(block, found.columns, _plain)),
                range(len(found.rows)),
                strict=True,
            )
            for column, text in zip(found.columns, texts[5:], strict=True)
        }
        shown = {
            (found["data-at"], found["data-key"]): (text, found)
            for found, text in outline.named("td")
            if found.get("data-key") and not str(found["data-key"]).startswith("dice/")
        }
        for (at, key), text in tables.items():
            assert shown[at, key][0].lstrip("≈↓? ").replace(" best", "") == text, (at, key)
            value = found.rows[int(at.split()[1])].values[key].figure
            assert shown[at, key][1].get("data-value") == (None if value is None else str(value))


def _plain(text: str, mark: str | None) -> str:
    return text


def test_marks_are_those_of_the_blocks(report: Report, outline: Outline) -> None:
    (steel,) = (one for one in report.comparisons if one.slug == "steel")
    marks: dict[tuple[str, str], str] = {}
    start, at = 0, "comparison-steel "
    for block in steel.blocks:
        marks |= {(f"{at}{start + p}", key): mark for (p, key), mark in block.marks.items()}
        start += len(block.rows)
    assert marks
    shown = {
        (found["data-at"], found["data-key"]): found["class"]
        for found, _ in outline.named("td")
        if found.get("class") in ("best", "tied", "worse", "untestable")
        and str(found["data-at"]).startswith(at)
    }
    assert shown == marks


def test_prompts_from_the_truth_have_a_block_of_their_own(page: str) -> None:
    steel = page[page.index('<section class="view" id="comparison-steel"') :]
    bodies = re.findall(r"<tbody[^>]*>(.*?)</tbody>", steel, re.DOTALL)
    assert "No prompts" in bodies[0]
    assert ">sam<" not in bodies[0]
    assert "Oracle prompts" in bodies[1]
    assert ">sam<" in bodies[1]


def test_rows_tell_backbone_and_weights(report: Report, outline: Outline) -> None:
    heads = [text for found, text in outline.named("th", scope="row") if "data-value" in found]
    assert heads
    assert all(text.endswith("sam_nano, pretrained") for text in heads)


def test_what_records_say_is_no_markup(report: Report, page: str, outline: Outline) -> None:
    assert "alert(1)</script>" not in page
    assert not [found for found, _ in outline.named("img") if "onerror" in found]
    assert MALICIOUS in [text for found, text in outline.named("td") if found.get("class")][-1]


def test_folds_are_counted_from_1() -> None:
    report = make_report([make_failure(make_cell(fold=fold, folds=2)) for fold in range(2)])
    assert any(
        "lora (sam_nano, pretrained), seed 0 fold 1, 0 fold 2" in note
        for note in report.comparisons[0].notes
    )
    told = [text for _, text in Outline(build_page(report)).named("td", **{"class": "text"})]
    assert [text for text in told if text.startswith("0, ")] == ["0, 1", "0, 2"]


def test_nothing_is_asked_of_anywhere(page: str, outline: Outline) -> None:
    (policy,) = (f["content"] for f, _ in outline.named("meta") if "http-equiv" in f)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    allowed = re.findall(r"'sha256-(.*?)'", policy)
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    assert [base64.b64encode(digest).decode() for digest in digests] == allowed
    for _, found, _ in outline.elements:
        assert not {"srcset", "onclick", "action"} & found.keys()
        assert str(found.get("src", "data:")).startswith("data:")
    own = page
    for script in scripts[:2]:  # the libraries name namespaces and their own home
        own = own.replace(script, "")
    assert "http:" not in own
    assert "https:" not in own


def test_libraries_are_as_published() -> None:
    stated = dict(
        re.findall(r"\| `(\S+\.js)` .* `([0-9a-f]{64})` \|", (VENDOR / "README.md").read_text())
    )
    files = {path.name: path.read_bytes() for path in VENDOR.glob("*.js")}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == stated


def test_every_record_stands_behind_its_row(report: Report, page: str) -> None:
    packed = re.findall(r'data-name="records">(.*?)</script>', page)
    found = [unpack(text) for text in packed]
    told = [run for one in found for runs in one["runs"] for run in runs]
    assert sorted(run["id"] for run in told) == sorted(r.cell.id for r in report.records)
    run = next(run for run in told if run["told"]["status"] == "ok")
    record = report.by_id[run["id"]]
    assert run["metrics"] == dict(record.metrics)
    assert run["cost"] == dataclasses.asdict(record.cost) if record.cost else False
    assert run["asked"]["recipe"]["lr"] == record.cell.recipe.lr
    assert found[0]["places"][run["place"]] == dict(record.env)


def test_fronts_never_mix_origins_of_prompts(page: str) -> None:
    charts = [unpack(text) for text in re.findall(r'data-name="charts">(.*?)</script>', page)]
    steel = next(one for one in charts if len(one["rows"]) == 5)
    fronts = steel["fronts"]["trainable_params dice_dataset"]
    origins = [{steel["rows"][place]["prompts"] for place in front} for front in fronts]
    assert origins == [{"none"}, {"oracle"}]
    names = [steel["rows"][place]["name"] for place in fronts[0]]
    assert names == ["unet", "adapter", "lora"]  # more parameters, better scores


def test_hovering_tells_the_spread_in_the_digits_of_the_table() -> None:
    records = [make_record(make_cell(seed=n), s_alpha=0.64 + 0.012 * n) for n in (0, 1)]
    frame = to_frame(records)
    (found,) = make_comparisons(frame)
    charts = charts_of(found, assign(frame, found.rows))
    (s_alpha,) = (one["key"] for one in charts["accuracies"] if one["title"] == "S-alpha")
    assert charts["figures"][s_alpha][0][2:] == ["0.646", " ± 0.008"]
    assert charts["figures"]["dice_dataset"][0][2:] == ["80.0", " ± 0.0"]
    assert " 0.646 ± 0.008 " in markdown(found)


def test_the_same_records_give_the_same_page(report: Report, page: str) -> None:
    assert build_page(report) == page
    assert build_page(make_report(list(report.records))) == page


def test_pictures_of_shown_datasets_only(tmp_path: Path) -> None:
    records = [make_record(make_cell(m), image_dice=d) for m, d in _SCORES.items()]
    mask = np.tile(np.array([[0, 1], [2, 255]], np.uint8), (8, 8))
    for record in records:
        for image in record.per_image:
            path = tmp_path / record.cell.id / f"{image['name']}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.where(mask == 2, 1, mask % 255)).save(path)
    shown = np.full((*mask.shape, 3), 90, np.uint8)
    plain = make_report(records)
    with_images = dataclasses.replace(
        plain, images={"steel": lambda name: (shown, mask)}, predictions=tmp_path
    )
    pictures = Outline(build_page(with_images))
    heads = [text for _, text in pictures.named("h4")]
    assert heads == ["Best: image_2", "Worst: image_0", "Most disputed: image_1"]
    assert len(pictures.named("img", alt="true classes")) == 3
    assert len(pictures.named("img", alt="errors of lora")) == 3
    assert not Outline(build_page(plain)).named("img")


_SCORES = {"lora": [0.1, 0.9, 0.9, 0.8], "unet": [0.2, 0.3, 0.9, 0.7]}


def test_ledgers_are_those_of_the_requests_in_the_folder(tmp_path: Path) -> None:
    items = tuple(
        Item(f"image_{i}", np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), f"group_{i}")
        for i in range(12)
    )
    collections = {"steel": Collection("steel", ("matrix", "carbide", "spheroidite"), items)}
    records = [make_record(make_cell("unet"))]
    assert find_ledgers(tmp_path, records, collections) == ([], [])
    folder = tmp_path / "ledger"
    folder.mkdir()
    for name, suite in (("a", "steel-baselines"), ("b", "samed-rank"), ("c", "of another version")):
        note = {"suite": suite, "dataset": None, "seeds": "1"}
        (folder / f"{name}.md").write_text(f"<!-- asked: {json.dumps(note)} -->")
    (folder / "d.md").write_text("no note")
    (folder / "e.md").write_bytes(b"\xff")
    ledgers, left_out = find_ledgers(tmp_path, records, collections)
    assert ([one.suite.name for one in ledgers], left_out) == (["steel-baselines"], [])
    changed: dict[str, dict[str, object]] = {
        "f": {"seeds": 3},
        "g": {"loss": ["x"]},
        "h": {"folds": 2},
    }
    for name, changes in changed.items():
        first: dict[str, object] = {"suite": "steel-baselines", "dataset": None, "seeds": "1"}
        asked = {**first, **changes}
        (folder / f"{name}.md").write_text(f"<!-- asked: {json.dumps(asked)} -->")
    assert find_ledgers(tmp_path, records, collections)[1] == [
        "no ledger of f.md: its note was changed: seeds is 3: input should be a valid string",
        "no ledger of g.md: its note was changed: loss is ['x']: input should be a valid string",
        "no ledger of h.md: its note was changed: the suite leaves no choice of folds",
    ]
    report = dataclasses.replace(make_report(records), ledgers=ledgers)
    outline = Outline(build_page(report))
    assert [text for _, text in outline.named("h2", id="ledgers--title")]
    assert outline.named("a", href="#ledger-steel-baselines")
    assert {text for _, text in outline.named("span", **{"class": "status not-run"})} == {"not run"}


@pytest.mark.slow
def test_the_command_line_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(tmp_path)
    for method in ("lora", "unet"):
        store.write(make_record(make_cell(method)))
    assert main(["report", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"{tmp_path / 'report.html'}")
    page = Outline((tmp_path / "report.html").read_text())
    assert {"overview", "comparison-steel"} <= {
        found.get("id") for found, _ in page.named("section")
    }
    assert not page.named("img"), "the images are not those of the records"
