"""The embedded model `sam_nano`: its training corpus, training and evaluation."""
