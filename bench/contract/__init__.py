"""The contract of methods and datasets, as checks for `check-method`, `check-dataset` and tests."""
