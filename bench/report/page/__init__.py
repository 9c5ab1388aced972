"""The report as one HTML file that opens offline: tables, plots, pictures, ledgers, provenance."""

from bench.report.page.build import build_page, read_page, write_page
from bench.report.page.ledgers import find_ledgers
from bench.report.page.packing import unpack
from bench.report.page.sections import Report

__all__ = ["Report", "build_page", "find_ledgers", "read_page", "unpack", "write_page"]
