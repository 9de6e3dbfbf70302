"""Analyses: one folder each, with one contract (``base``) and one list (``registry``)."""
