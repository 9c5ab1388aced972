PYTHON ?= python

.PHONY: help install check test slow guard bench wheel report constraints clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install:  ## this checkout and the tools to work on it, in the versions of constraints.txt
	$(PYTHON) -m pip install -e ".[dev]" -c constraints.txt

check:  ## style and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

test:  ## the fast tests: offline, CPU
	$(PYTHON) -m pytest -n 2 --dist worksteal

slow:  ## run the tests that train whole cells or build the wheel
	$(PYTHON) -m pytest -m slow

guard:  ## compare a small grid and all counts with the baseline
	$(PYTHON) run_bench.py guard

bench:  ## running times on this machine
	$(PYTHON) -m pytest tests/benchmarks --benchmark-enable

wheel:  ## build the wheel into dist/
	$(PYTHON) -m pip wheel --no-deps --wheel-dir dist .

report:  ## write tables, plots and page from the committed records
	$(PYTHON) run_bench.py report --out results/reference

constraints:  ## resolve constraints.txt again; needs uv
	echo "# The versions that results and CI rest on. Regenerate: make constraints" > constraints.txt
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade --quiet \
		--no-annotate --no-header --no-emit-index-url >> constraints.txt

clean:  ## remove files of builds and tools
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
