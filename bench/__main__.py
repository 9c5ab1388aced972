"""`python -m bench`: the same command line as `sam-bench`."""

from bench.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
