"""Metrics that compare predicted class maps with their masks; see docs/protocol/metrics.md."""
