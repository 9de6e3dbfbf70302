"""Fill TEMPLATEFLOW_HOME while a container is built, so that no run needs a network.

``fetch_templates.py [TEMPLATE ...]``: makes the home and fetches whole-head and brain images,
and brain masks, of these templates at 1 and 2 mm. Without names it only makes the home.
"""

from __future__ import annotations

import sys

import templateflow.api


def main(names: list[str]) -> None:
    """Fetch the templates called *names*; an unknown one is an error."""
    for name in names:
        for query in ({"suffix": "T1w", "desc": None}, {"suffix": "mask", "desc": "brain"}):
            templateflow.api.get(
                name, resolution=[1, 2], extension=".nii.gz", raise_empty=True, **query
            )


if __name__ == "__main__":
    main(sys.argv[1:])
