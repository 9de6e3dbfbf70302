"""Thin Nipype interfaces: read files, call the numerical packages, write files."""
