"""Comparisons: which runs belong in one table, ranks, and significant differences."""
