"""Figures and the self-contained HTML, from results on disk."""
