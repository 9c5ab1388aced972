"""Find, register and look up methods and datasets by name."""
