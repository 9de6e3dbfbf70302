"""A participant with two runs, for tests of the choice of fields."""

import numpy as np

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.fieldmaps import FieldmapImage
from bids_decoder.bids.writer import save_nifti
from bids_decoder.workflows.fieldmaps import plan_fieldmaps

SHAPE = (8, 10, 6)
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
READ = {"TotalReadoutTime": 0.05}
AP, PA = ({"PhaseEncodingDirection": way, **READ} for way in ("j-", "j"))
INTENDED = {"IntendedFor": [f"func/sub-01_task-see_run-{run}_bold.nii.gz" for run in (1, 2)]}


class Person:
    """A participant with two runs, and images that are added to it."""

    def __init__(self, folder, metadata=AP):
        self.folder = folder
        self.images = []
        self.runs = []
        for run in "12":
            path = folder / f"sub-01/func/sub-01_task-see_run-{run}_bold.nii.gz"
            save_nifti(path, np.ones((*SHAPE, 3), np.int16), AFFINE, t_r=2.0)
            self.runs.append(BoldRun("01", None, "see", run, "raw", {}, metadata, path))

    def add(self, name, metadata=None, affine=AFFINE):
        path = self.folder / f"sub-01/fmap/sub-01_{name}.nii.gz"
        save_nifti(path, np.ones(SHAPE, np.int16), affine)
        self.images.append(FieldmapImage(path, metadata or {}))
        return path

    def plan(self):
        person = Participant("01", (), tuple(self.runs), fieldmaps=tuple(self.images))
        return plan_fieldmaps(person, "no")
