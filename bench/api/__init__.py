"""The Python interface: run comparisons and read results, from scripts and notebooks."""
