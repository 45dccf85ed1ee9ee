"""Measure what the calibrated line does on parts whose kind is known."""
