"""What voxel selectors share, and families of them beside the default ones."""
