"""``python -m bids_decoder``."""

import sys

from bids_decoder.cli.guard import start

if __name__ == "__main__":
    sys.exit(start())
