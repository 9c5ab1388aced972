"""Predict images without masks, with a kept model.

`bench.cost.predict` is something else: it estimates the memory of a training step without a run.
"""
