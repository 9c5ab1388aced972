"""Kept models: the file of a trained model, and its model card."""
