"""Building blocks shared by the networks trained from scratch; plugins import them from `bench`."""
