"""Score stored predictions by the rules of other projects, and compare the order of the methods."""
