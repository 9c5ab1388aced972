"""The page: its sections, their data, and everything that shows them, in one file."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.files import write_atomic
from bench.report.page.choices import filters_of, sliders_of
from bench.report.page.packing import unpack
from bench.report.page.sections import SECTIONS, Report
from bench.report.records.columns import column_names

LIBRARIES = ("d3.min.js", "plot.umd.min.js")
_PICTURES = re.compile(r'<section class="gallery">.*?</section>', re.DOTALL)
_PACKED = re.compile(r'(?<=">)H4sI[\w+/=]+(?=</script>)')  # what every gzip starts with
SCRIPTS = (
    *("data.js", "state.js", "table.js", "filter.js", "record.js", "marks.js", "pareto.js"),
    *("ranks.js", "charts.js", "verdict.js", "sides.js", "download.js", "contents.js"),
    *("limits.js", "page.js"),
)


def write_page(report: Report, path: Path) -> Path:
    """Write the page to a file in one step.

    Args:
        report: contents of the page.
        path: of the HTML file; its folder is created if needed.

    Returns:
        `path`.

    Raises:
        UserError: the file cannot be written.
        OSError, ValueError: as `build_page`, which also passes on what `report.images` raise.
    """
    return write_atomic(path, build_page(report))


def build_page(report: Report) -> str:
    """Return the page as HTML. The page loads nothing from other files or from the network.

    The same report, with the same stored predictions and versions of libraries, always gives the
    same text.

    Raises:
        OSError: a stored prediction cannot be read.
        ValueError: a stored prediction has another size than its mask, or a number is not finite.
    """
    sections = [section for find in SECTIONS for section in find(report)]
    scripts = [_asset("vendor", name).strip() for name in LIBRARIES]
    scripts.append("\n".join(_asset("assets", name) for name in SCRIPTS))
    settings = Environment(
        loader=PackageLoader("bench.report.page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return settings.get_template("page.html.j2").render(
        sections=sections,
        summary=_summary(report),
        limits=_limits(report),
        style=_asset("assets", "page.css"),
        scripts=[f"\n{script}\n" for script in scripts],
        hashes=[_hash(f"\n{script}\n") for script in scripts],
    )


def read_page(page: str) -> str:
    """Return the text of a page without galleries and with unpacked data, to compare two pages.

    The bytes of pictures and of packed data depend on the versions of libraries.

    Args:
        page: HTML of `build_page`.

    Raises:
        ValueError: its data are damaged.
    """
    try:
        text = _PICTURES.sub("", page)
        return _PACKED.sub(lambda packed: f"\n{json.dumps(unpack(packed[0]))}\n", text)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error


def _summary(report: Report) -> Mapping[str, Any]:
    frame = report.frame
    return {
        "records": len(frame),
        "ok": int((frame["status"] == "ok").sum()),
        "methods": frame["label"].nunique(),
        "datasets": frame["dataset"].nunique(),
        "backbones": sorted(set(frame["backbone"]) - {"none"}),
    }


def _limits(report: Report) -> Mapping[str, Any]:
    """What the form of limits and filters offers."""
    columns = {column for one in report.comparisons for column in one.columns}
    return {
        "sliders": sliders_of(report.choices),
        "filters": filters_of(report.choices),
        "columns": {name: one for name, one in column_names().items() if one in columns},
    }


def _asset(folder: str, name: str) -> str:
    return resources.files("bench.report.page").joinpath(folder, name).read_text("utf-8")


def _hash(script: str) -> str:
    """What lets a browser run this script and no other."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
