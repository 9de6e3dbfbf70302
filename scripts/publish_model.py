"""Write a folder with pretrained models that a model hub takes, and check it offline.

    python scripts/publish_model.py FOLDER OUT/group/desc-pretrained_model.safetensors \
        --title "Decoder of seen faces" --licence cc0-1.0 \
        --consent "Participants agreed to sharing of derived data (ethics board, number)."
    python scripts/publish_model.py FOLDER --check

Nothing is uploaded. The exit code is that of the first problem found, and 0 when there is none.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bids_decoder.errors import BidsDecoderError
from bids_decoder.models.publishing import LICENCES, About, check_folder, publish


def main(words: list[str] | None = None) -> int:
    """Publish or check, and return the exit code."""
    given = _parse(words)
    about = About(given.title, given.licence, given.consent, tuple(given.author), given.citation)
    try:
        if not given.check:
            publish(given.models, given.folder, about)
        found = check_folder(given.folder)
    except BidsDecoderError as error:
        found = [error.finding]
    for finding in found:
        print(finding, file=sys.stderr)  # noqa: T201
    if not found:
        print(f"{given.folder} is complete")  # noqa: T201
    return int(found[0].code) if found else 0


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", type=Path, nargs="*", help="*_model.safetensors, or none "
                        "with --check")
    parser.add_argument("--check", action="store_true", help="only check the folder")
    parser.add_argument("--title", default="Pretrained decoder")
    parser.add_argument("--licence", default="", help=", ".join(LICENCES))
    parser.add_argument("--consent", default="", help="what the participants agreed to")
    parser.add_argument("--author", action="append", default=[])
    parser.add_argument("--citation", default="")
    given = parser.parse_args(words)
    if given.check and given.models:
        parser.error("--check takes a folder only")
    return given


if __name__ == "__main__":
    sys.exit(main())
