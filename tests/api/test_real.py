"""From BOLD to accuracy on real data, with a few lines of Python."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold, cross_val_score

from bids_decoder import TrialEstimator, TROIDecoder

DATA = Path(__file__).resolve().parents[2] / "../shared/data/haxby-1slice/sub-1/func"

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="data not beside the project"),
]


def blocks_of(path):
    """Blocks of one category as trials."""
    events = pd.read_csv(path, sep="\t")
    number = (events["trial_type"] != events["trial_type"].shift()).cumsum()
    grouped = events.groupby(number)
    first = grouped[["onset", "trial_type"]].first()
    return first.assign(duration=grouped["onset"].max() + 2 - first["onset"])


def test_blocks_of_eight_categories():
    paths = sorted(DATA.glob("*_bold.nii*"))
    events = [blocks_of(next(DATA.glob(path.name.split("_bold")[0] + "_events.tsv")))
              for path in paths]
    first = nib.load(paths[0])
    mean = first.get_fdata().mean(axis=-1)
    mask = nib.Nifti1Image((mean > 0.4 * np.quantile(mean, 0.98)).astype(np.uint8), first.affine)
    betas, trials = TrialEstimator(t_r=2.5, mask_img=mask).fit_transform(paths, events)
    assert len(trials) == 96
    decoder = TROIDecoder(mask_img=mask, calibration_folds=0, random_state=0)
    runs = trials["run"].to_numpy()
    scores = cross_val_score(
        decoder, betas, trials["trial_type"].to_numpy(), groups=runs, cv=GroupKFold(4),
        params={"groups": runs},
    )
    assert scores.mean() > 0.7
