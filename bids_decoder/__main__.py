"""``python -m bids_decoder``."""

import sys

from bids_decoder.cli.run import main

if __name__ == "__main__":
    sys.exit(main())
