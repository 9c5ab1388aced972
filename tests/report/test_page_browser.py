"""The page in a real browser: nothing asked, nothing complained of, readable, without a mouse."""

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from records import make_cell, make_cost, make_failure, make_record

from bench.report.compare.comparison import make_comparisons
from bench.report.page import Report, write_page
from bench.report.records.frame import to_frame
from bench.spec import Record

pytestmark = pytest.mark.slow

playwright = pytest.importorskip("playwright.sync_api")
WIDTHS = (1280, 390)
MANY = 2000


def _records(datasets: int, methods: int, seeds: int) -> list[Record]:
    records = [
        make_record(
            make_cell(f"method_{m:02}", dataset=f"set_{d}", seed=seed),
            dice=0.4 + 0.5 * m / methods + seed / 1000,
            image_dice=[0.3 + 0.6 * ((7 * m + 3 * i + seed) % 20) / 20 for i in range(20)],
            cost=make_cost(1000 * (m + 1) ** 2, images_per_s=5.0 + m),
            prompts="oracle" if m % 5 == 4 else "none",
        )
        for d in range(datasets)
        for m in range(methods)
        for seed in range(seeds)
    ]
    return [*records, make_failure(make_cell("failing", dataset="set_0"))]


def _write(records: list[Record], path: Path) -> Path:
    frame = to_frame(records)
    return write_page(Report(records, frame, make_comparisons(frame)), path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    known = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in known if (path := shutil.which(name))), None)
    with playwright.sync_playwright() as driver:
        try:
            opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium here: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(_records(2, 12, 2), tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(params=WIDTHS)
def view(request: pytest.FixtureRequest, browser: Any, file: Path) -> Iterator[Any]:
    """The first comparison with its plots drawn; fails if anything was asked or complained of."""
    page = browser.new_page(viewport={"width": request.param, "height": 850})
    told: list[str] = []
    page.on("console", lambda message: told.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: told.append(f"error: {error}"))
    page.on("request", lambda asked: told.append(f"request: {asked.url}"))
    page.goto(f"{file.as_uri()}#comparison-set-0")
    page.wait_for_selector("#comparison-set-0 [data-draw=images] .plot svg")
    yield page
    page.close()
    assert told[0] == f"request: {file.as_uri()}"
    assert [one for one in told[1:] if not one.startswith("request: data:")] == []


def test_it_fits_the_screen(view: Any) -> None:
    for name in ("overview", "comparison-set-0", "failures"):
        view.evaluate(f"location.hash = '{name}'")
        view.wait_for_selector(f"#{name}:not([hidden])")
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


@pytest.mark.parametrize("name", ["nothing", "%"])
def test_an_address_of_nothing_shows_the_overview(view: Any, name: str) -> None:
    view.evaluate(f"location.hash = '{name}'")
    view.wait_for_selector("#overview:not([hidden])")
    assert not view.locator("#comparison-set-0").is_visible()


def test_all_plots_are_drawn(view: Any) -> None:
    for kind in ("pareto", "curves", "memory", "images"):
        assert view.locator(f"#comparison-set-0 [data-draw={kind}] .plot svg").count() > 0, kind
    assert view.locator("#comparison-set-0 [data-draw=pareto] g[data-mark=dot] path").count() == 12
    assert view.locator("#comparison-set-1 .plot svg").count() == 0, "drawn before it is looked at"


def test_heads_sort_without_a_mouse(view: Any) -> None:
    head = view.locator("#comparison-set-0 table").first.locator("th", has_text="Trainable")
    button = head.locator("button")
    assert head.get_attribute("aria-sort") == "none"
    for order, first in (("ascending", "method_00"), ("descending", "method_11")):
        button.focus()
        view.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == order
        lines = view.locator("#comparison-set-0 tbody").first.locator("tr .label")
        assert lines.first.inner_text() == first
        assert "method_04" not in lines.all_inner_texts(), "prompts from the truth stand apart"


def test_a_figure_opens_its_records_without_a_mouse(view: Any) -> None:
    view.locator("#comparison-set-0 td[tabindex='0']").first.focus()
    view.keyboard.press("ArrowDown")
    view.keyboard.press("ArrowRight")
    cell = view.locator(":focus")
    assert cell.get_attribute("data-key") == "iou_dataset"
    view.keyboard.press("Enter")
    sheet = view.locator("dialog[open]")
    sheet.wait_for()
    assert "method_10" in sheet.locator("h2").inner_text()
    runs = sheet.locator("details.run")
    assert runs.count() == 2
    runs.first.locator("summary").press("Enter")
    text = runs.first.inner_text()
    for word in ("recipe.lr", "dataset_sha", "Example CPU", "trainable_params", "records/"):
        assert word in text
    view.keyboard.press("Escape")
    assert view.locator("dialog[open]").count() == 0
    assert view.evaluate("document.activeElement.dataset.key") == "iou_dataset"


def test_a_point_opens_its_records_without_a_mouse(view: Any) -> None:
    point = view.locator("#comparison-set-0 [data-draw=pareto] [role=button]").first
    point.focus()
    view.keyboard.press("Enter")
    view.locator("dialog[open]").wait_for()
    assert "method_" in view.locator("dialog[open] h2").inner_text()


def test_hovering_tells_the_figures(view: Any) -> None:
    point = view.locator("#comparison-set-0 [data-draw=pareto] [role=button]").first
    name = str(point.get_attribute("aria-label")).split(",")[0]
    point.scroll_into_view_if_needed()
    point.hover()
    tip = view.locator("#comparison-set-0 [data-draw=pareto] g[aria-label=tip]")
    assert name in tip.text_content()
    assert "trainable parameters" in tip.text_content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_names_and_roles(view: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    view.emulate_media(color_scheme=scheme)
    view.wait_for_timeout(500)  # plots are drawn anew
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]}
    for name in ("comparison-set-0", "overview"):
        view.evaluate(f"location.hash = '{name}'")
        view.wait_for_selector(f"#{name}:not([hidden])")
        assert _violations(axe, view, rules) == []
    view.evaluate("document.querySelector('#overview td[data-at]').click()")
    view.locator("dialog[open] summary").first.click()
    assert _violations(axe, view, rules) == []


def _violations(axe: Any, view: Any, rules: dict[str, Any]) -> list[tuple[str, str]]:
    found = axe.run(view, options=rules).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found]


@pytest.mark.parametrize("name", ["鋼", "record"])
def test_any_name_of_a_dataset_has_a_view(browser: Any, tmp_path: Path, name: str) -> None:
    records = [make_record(make_cell(dataset=one)) for one in (name, "steel")]
    page = browser.new_page()
    page.goto(f"{_write(records, tmp_path / 'report.html').as_uri()}#comparison-{name}")
    page.wait_for_selector(f"[id='comparison-{name}'] .plot svg")
    assert page.locator("nav a[aria-current]").all_inner_texts() == [name]
    page.locator("td[data-at]:visible").first.click()
    page.wait_for_selector("dialog[open] details.run")
    page.close()


def test_many_records_open_fast(browser: Any, tmp_path: Path, capsys: Any) -> None:
    file = _write(_records(8, 25, 10)[:MANY], tmp_path / "many.html")
    size = file.stat().st_size
    assert size < 8e6
    page = browser.new_page(viewport={"width": 1280, "height": 850})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    start = time.perf_counter()
    page.goto(file.as_uri())
    page.wait_for_selector("#overview table")
    page.evaluate("new Promise(requestAnimationFrame)")
    opened = time.perf_counter() - start
    metrics = session.send("Performance.getMetrics")["metrics"]
    worked = {one["name"]: one["value"] for one in metrics}["TaskDuration"]
    page.close()
    told = f"{size / 1e6:.2f} MB, open after {opened:.2f} s, {worked:.2f} s of work"
    with capsys.disabled():
        sys.stdout.write(f"\n{MANY} records: {told}\n")
    assert opened < 20, "far beyond the 2 s of a machine that is free"
