"""What all analyses with a decoder check."""

from types import SimpleNamespace

import numpy as np
import pytest

from bids_decoder.analyses.fitting import check_decoder
from bids_decoder.analyses.jobs import Notes
from bids_decoder.analyses.registry import section_kinds
from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.writer import save_nifti
from bids_decoder.config import default_settings


@pytest.mark.parametrize(("shape", "n_found"), [((6, 5, 4, 3), 0), ((60, 1, 1, 3), 1), (None, 0)])
def test_a_file_without_content_is_left_to_the_check_of_files(tmp_path, shape, n_found):
    path = tmp_path / "sub-01_task-see_bold.nii.gz"
    if shape is None:
        path.symlink_to("../.git/annex/objects/x.nii.gz")
    else:
        save_nifti(path, np.ones(shape, np.float32), np.eye(4), t_r=2.0)
    run = BoldRun("01", None, "see", None, "raw", {}, {}, path)
    settings = default_settings(section_kinds()).replaced(troi={"budget_mm3": 30.0})
    study = SimpleNamespace(
        settings=settings, targets=SimpleNamespace(kind="category"),
        involved=[Participant("01", (), (run,))],
    )
    notes = Notes()
    check_decoder(study, notes)
    assert ["--budget" in found.what for found in notes.findings] == [True] * n_found
