"""What to run: requests, the method language, grids of cells, and published suites."""
