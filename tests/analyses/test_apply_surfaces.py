"""Models of other participants on vertices: only the same vertices can be looked up."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bids_decoder.analyses.apply.plan import _has_places

GIFTI = Path("sub-01_task-see_hemi-L_space-fsaverage6_bold.func.gii")


@pytest.mark.parametrize(("file", "shape", "there", "expected"), [
    (GIFTI, (324, 1, 1), [324, 1, 1], True),
    (GIFTI, (324, 1, 1), [642, 1, 1], False),
    (GIFTI, (324, 1, 1), None, False),
    (Path("sub-01_task-see_betaseries.nii.gz"), (324, 1, 1), [324, 1, 1], False),
    (Path("sub-01_task-see_betaseries.nii.gz"), (6, 6, 9), None, True),
])
def test_places_are_positions_or_the_vertices_of_the_maps(file, shape, there, expected):
    run = SimpleNamespace(
        image_file=file, header=SimpleNamespace(shape=(*shape, 20), affine=np.eye(4))
    )
    person = SimpleNamespace(participant=SimpleNamespace(runs=(run,)))
    card = {} if there is None else {"common": {"space": "fsaverage6", "shape": there}}
    assert _has_places(person, card) == expected
