"""Building blocks of networks that are trained from scratch; plugins import them from `bench`."""
