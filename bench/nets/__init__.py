"""What networks from scratch share; plugins import it from `bench`."""
