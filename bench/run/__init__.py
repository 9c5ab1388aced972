"""Run cells: one cell, its process, the records on disk, and the environment of a run."""
