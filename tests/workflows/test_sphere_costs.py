"""Warnings of searchlights that take long."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.writer import save_nifti
from bids_decoder.config import Settings, Troi
from bids_decoder.preprocessing.templates import FUNC
from bids_decoder.training.searchlight_settings import Searchlight
from bids_decoder.workflows.sphere_checks import densities_of
from bids_decoder.workflows.sphere_costs import check_time, label_work, model_work

TRIALS = pd.DataFrame({
    "fold": np.repeat(np.arange(1, 9), 8), "label": np.tile(list("abcdefgh"), 8),
})


@pytest.fixture(scope="module")
def participant(tmp_path_factory):
    image = save_nifti(
        tmp_path_factory.mktemp("raw") / "sub-01_task-see_bold.nii.gz",
        np.zeros((80, 100, 80, 1), np.int8), np.diag([2.0, 2.0, 2.0, 1.0]), t_r=2.0,
    )
    return Participant("01", (), (BoldRun("01", None, "see", "1", "raw", bold_file=image),))


def settings_of(region="brain", **size):
    settings = Settings()
    return replace(
        settings, troi=Troi(region=region),
        sections={**settings.sections, "searchlight": Searchlight(**size)},
    )


def warned(participant, work, *, region="brain", **size):
    densities = densities_of(participant, FUNC)
    found = check_time("01", densities, settings_of(region, **size), work)
    assert all(one.severity == "warning" for one in found)
    return [one.why for one in found]


def test_a_usual_map_is_no_warning_and_many_permutations_are(participant):
    linear = Searchlight(radius_mm=8)
    assert not warned(participant, label_work(TRIALS, linear, 100), radius_mm=8)
    (why,) = warned(participant, label_work(TRIALS, linear, 5000), radius_mm=8)
    assert "230,000 spheres of 268 voxels" in why and "8 fold(s), 5000 permutations" in why
    # 230,000 spheres, 8 folds, 5000 permutations of .03 ms, more for larger spheres.
    assert "about 89 hours" in why


def test_a_fixed_split_repeats_nothing(participant):
    fixed = label_work(TRIALS.assign(fold=np.nan), Searchlight(radius_mm=8), 5000)
    assert fixed.repeated == 0
    assert not warned(participant, fixed, radius_mm=8)


def test_naive_bayes_repeats_everything():
    settings = (Searchlight(radius_mm=8, estimator=name) for name in ("gnb", "lda"))
    slow, quick = (label_work(TRIALS, one, 1000) for one in settings)
    assert slow.repeated > quick.repeated and slow.fixed < quick.fixed


def test_models_of_many_conditions_are_a_warning(participant):
    assert not warned(participant, model_work(3, 8, 8, 100), radius_mm=8)
    (why,) = warned(participant, model_work(10, 200, 8, 1000), radius_mm=8)
    assert "200 conditions in 8 runs, 10 model(s), 1000 permutations" in why


def test_regions_are_not_a_brain(participant):
    work = label_work(TRIALS, Searchlight(radius_mm=8), 5000)
    assert not warned(participant, work, region="occipital", radius_mm=8)
    assert warned(participant, work, n_voxels=250)
    assert not warned(participant, work, n_voxels=30)
