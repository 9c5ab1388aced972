"""Running cells: one cell, its process, records on disk, and where it ran."""
