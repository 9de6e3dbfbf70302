"""Kinds of grids: where voxels, vertices and grayordinates are, and which ones are neighbours."""
