"""The same predictions scored as other projects score them."""
