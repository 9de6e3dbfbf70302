"""bids_decoder: a BIDS-App that decodes what participants saw or did from task fMRI."""

__version__ = "0.1.0"
