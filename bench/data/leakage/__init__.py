"""Finding images of different parts that show the same."""
