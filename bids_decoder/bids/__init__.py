"""The only package that knows BIDS layouts, names and sidecars."""
