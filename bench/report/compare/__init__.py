"""Comparisons: what belongs in one table, ranks, and what can be told apart."""
