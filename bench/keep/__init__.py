"""Kept models: the file of a trained model, its header, and its model card."""
