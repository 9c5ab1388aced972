"""Regression check: whether a change of the code has changed accuracy, cost or speed."""
