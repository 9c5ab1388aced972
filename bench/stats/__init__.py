"""Statistics: bootstrap and prediction intervals, paired tests, ranks over datasets."""
