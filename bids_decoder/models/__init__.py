"""Networks, losses, and model files."""
