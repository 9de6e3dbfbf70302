"""Decoders: pretraining, voxel selection, fine-tuning."""
