"""Voxel selectors beside the default ones, one module per family."""
