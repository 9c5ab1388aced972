"""Training: the loop and the losses."""
