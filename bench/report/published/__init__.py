"""Ledgers: published values next to our measured values."""
