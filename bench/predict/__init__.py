"""Predict images without masks, with a kept model."""
