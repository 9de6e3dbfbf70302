"""What ``import bids_decoder`` offers in Python; users import the names from the top package."""
