"""Synthetic datasets with known truth."""
