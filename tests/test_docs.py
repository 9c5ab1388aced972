"""The documentation names files, headings and commands that exist."""

import re
import shlex
from pathlib import Path

import pytest

from bench import cli

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / name / "README.md" for name in ("methods", "datasets")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
# Folders that a path in backticks may begin with; results/local and results/mine are made by runs.
FOLDERS = r"(?:bench|methods|datasets|tests|docs|results/(?:reference|published))"
FENCED = re.compile(r"```.*?```", re.S)


def _page(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchors(path: Path) -> set[str]:
    """Addresses of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", path.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def _code(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def _commands(text: str) -> list[list[str]]:
    """The words after `run_bench.py` of every command in code blocks and in backticks."""
    blocks = "\n".join(FENCED.findall(text)).replace("\\\n", " ")
    lines = [*blocks.splitlines(), *re.findall(r"`([^`\n]+)`", FENCED.sub("", text))]
    matches = [re.search(r"\brun_bench\.py ((?:[^&;|]|\|(?!\|))*)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in matches if match]


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    text = FENCED.sub("", page.read_text())
    for link in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r"^\[.+\]: (.+)", text, re.M)]:
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_paths_of_the_repository_exist(page: Path) -> None:
    paths = re.findall(rf"`({FOLDERS}/[\w./-]*)`", page.read_text())
    if page.name != "CHANGELOG.md":  # it may name what was removed later
        assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", [path for path in PAGES if path.stem != "CHANGELOG"], ids=_page)
def test_commands_are_understood_by_the_command_line(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_plugins" / "methods").mkdir(parents=True)  # the folder that the tutorial names
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAM_BENCH_PLUGINS", "")  # a command adds the folder: undone after the test
    for name in ("run", *cli.COMMANDS):
        module = cli.command_module(name)
        monkeypatch.setattr(module, "run", lambda *_: 0)
    commands = [words for words in _commands(page.read_text()) if words != words[:1]]
    assert [words for words in commands if cli.main(words) != 0] == []


@pytest.mark.parametrize("page", [path for path in PAGES if path.stem != "CHANGELOG"], ids=_page)
def test_commands_named_without_options_exist(page: Path) -> None:
    named = [words[0] for words in _commands(page.read_text()) if len(words) == 1]
    assert [name for name in named if name not in (*cli.COMMANDS, "--list", "--help")] == []


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_names_after_a_file_are_defined_in_it(page: Path) -> None:
    for path, names in re.findall(
        rf"`({FOLDERS}/[\w/]+\.py)` \(((?:`[\w.]+`(?:, )?)+)\)", page.read_text()
    ):
        text = (ROOT / path).read_text()
        for name in re.findall(r"(\w+)`", names):
            assert re.search(rf"^\s*(?:def|class) {name}\b|^{name}\b.* = ", text, re.M), (
                path,
                name,
            )


def test_pages_named_in_the_code_exist() -> None:
    files = [path for folder in ("bench", "methods", "datasets") for path in _code(folder)]
    pages = [page for path in files for page in re.findall(r"docs/[\w/-]+\.md", path.read_text())]
    assert pages
    assert [page for page in pages if not (ROOT / page).is_file()] == []


def test_the_readme_fits_a_terminal() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert not [line for line in lines if len(line) >= 100 and not line.startswith(("|", "["))]
