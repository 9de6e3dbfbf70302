"""Splits, scores, baselines and statistics."""
