"""Single trials from BOLD: the app's estimators on arrays and images of any number of runs."""

import numpy as np
import pandas as pd
import pytest
from simulated import make_mask, to_images
from sklearn.base import clone

from bids_decoder import TrialEstimator
from bids_decoder.errors import BidsDecoderError, InputError, UsageError
from bids_decoder.glm.base import EstimatorOptions, TrialRun, percent_signal_change
from bids_decoder.glm.design import Timing, nuisance_matrix, trial_regressors
from bids_decoder.glm.estimators import get_estimator
from bids_decoder.glm.hrf import get_hrf

T_R, N_SCANS, N_VOXELS = 2.0, 100, 59


def make_run(seed, noise=0.2):
    """BOLD with a response of known height to each trial, events and heights."""
    rng = np.random.default_rng(seed)
    onsets = np.arange(4, 180, 12.0)
    columns = trial_regressors(
        onsets, np.full(len(onsets), 2.0), Timing(N_SCANS, T_R), get_hrf("spm")
    )
    heights = rng.standard_normal((len(onsets), N_VOXELS))
    bold = 100 + columns @ heights + noise * rng.standard_normal((N_SCANS, N_VOXELS))
    events = pd.DataFrame({
        "onset": onsets, "duration": 2.0, "trial_type": np.tile(["a", "b", "c"], 5),
    })
    return bold.astype(np.float32), events, heights


@pytest.fixture(scope="module")
def runs():
    return [make_run(seed) for seed in (0, 1)]


@pytest.mark.parametrize("estimator", ["ridge", "lsa", "lss"])
def test_heights_of_responses_are_found(runs, estimator):
    bold, events, heights = zip(*runs, strict=True)
    betas, trials = TrialEstimator(estimator, t_r=T_R).fit_transform(list(bold), list(events))
    assert betas.shape == (30, N_VOXELS)
    assert trials["run"].tolist() == [1] * 15 + [2] * 15
    assert np.corrcoef(betas.ravel(), np.concatenate(heights).ravel())[0, 1] > 0.95


def test_one_implementation(runs):
    bold, events, _ = runs[0]
    betas, _ = TrialEstimator("lsa", t_r=T_R).fit_transform(bold, events)
    data, timing = bold.copy(), Timing(N_SCANS, T_R)
    percent_signal_change(data)
    run = TrialRun(
        data, timing, events["onset"].to_numpy(), events["duration"].to_numpy(),
        nuisance_matrix(timing, 1 / 128).to_numpy(), np.zeros(15, bool),
        events["trial_type"].to_numpy(str), crossed=np.ones(15, bool),
    )
    wanted = np.empty((15, N_VOXELS), np.float32)
    get_estimator("lsa", EstimatorOptions()).estimate([run], [wanted])
    assert np.array_equal(betas, wanted)


def test_images_are_read_within_the_mask(runs, tmp_path):
    bold, events, _ = runs[0]
    wanted, _ = TrialEstimator(t_r=T_R).fit_transform(bold, events)
    image = to_images(bold)
    image.to_filename(tmp_path / "bold.nii.gz")
    for given in (image, tmp_path / "bold.nii.gz", [image]):
        table = [events] if isinstance(given, list) else events
        estimator = TrialEstimator(t_r=T_R, mask_img=make_mask())
        betas, _ = estimator.fit_transform(given, table)
        assert betas == pytest.approx(wanted, abs=1e-5)
        assert estimator.mask_img_.shape == make_mask().shape


def test_bold_is_not_changed(runs):
    bold, events, _ = runs[0]
    before = bold.copy()
    TrialEstimator(t_r=T_R).fit(bold, events)
    assert np.array_equal(bold, before)


def test_confounds_are_removed(runs):
    bold, events, heights = runs[0]
    nuisance = np.random.default_rng(5).standard_normal(N_SCANS)
    spoilt = bold + 5 * nuisance[:, None].astype(np.float32)
    confounds = pd.DataFrame({"x": nuisance})
    with_them, _ = TrialEstimator("lsa", t_r=T_R).fit_transform(spoilt, events, confounds)
    without, _ = TrialEstimator("lsa", t_r=T_R).fit_transform(spoilt, events)
    agreement = [np.corrcoef(b.ravel(), heights.ravel())[0, 1] for b in (with_them, without)]
    assert agreement[0] > 0.95 > agreement[1]


def test_lost_trials_are_named(runs):
    bold, events, _ = runs[0]
    late = pd.DataFrame({"onset": [500.0, np.nan], "duration": 2.0, "trial_type": "a"})
    estimator = TrialEstimator(t_r=T_R)
    betas, trials = estimator.fit_transform(bold, pd.concat([events, late]))
    assert len(betas) == len(trials) == 15
    assert estimator.lost_["reason"].tolist() == ["no response within the run", "no onset"]


def test_labels_do_not_change_responses(runs):
    """Trials that may be test trials are not used for choices that depend on labels."""
    bold, events, _ = runs[0]
    other = events.assign(trial_type=np.random.default_rng(0).permutation(events["trial_type"]))
    for name in ("ridge", "glmsingle"):
        estimator = TrialEstimator(name, t_r=T_R)
        first, _ = estimator.fit_transform([bold, bold + 1], [events, events])
        second, _ = clone(estimator).fit_transform([bold, bold + 1], [other, other])
        assert np.array_equal(first, second), name


@pytest.mark.parametrize(("change", "error", "why"), [
    (lambda b, e: ([b, b], [e], None), ValueError, "2 BOLD runs, 1 events"),
    (lambda b, e: (b, e, pd.DataFrame({"x": [1.0]})), ValueError, "1 rows for 100 volumes"),
    (lambda b, e: (b, e.drop(columns="onset"), None), InputError, "not usable"),
    (lambda b, e: (to_images(b), e, None), ValueError, "which voxels to read"),
    (lambda b, e: ([b, b[:, :5]], [e, e], None), InputError, "differ between inputs"),
    (lambda b, e: (b - b.mean(axis=0), e, None), ValueError, "59 of 59 voxels is about zero"),
    (lambda b, e: (np.where(np.arange(N_VOXELS) == 3, np.nan, b), e, None), ValueError,
     "1 of 59 voxels have volumes that are not finite"),
    (lambda b, e: (b, e, pd.DataFrame({"fd": [np.nan] + [0.1] * 99})), ValueError,
     "1 columns hold other than finite numbers: fd"),
    (lambda b, e: (b, e, pd.DataFrame({"fd": ["x"] * 100})), ValueError, "other than finite"),
    (lambda b, e: (b, ["events.tsv"], None), ValueError, "of type str"),
])
def test_refusals(runs, change, error, why):
    bold, events, confounds = change(*runs[0][:2])
    with pytest.raises(error, match=why) as refused:
        TrialEstimator(t_r=T_R).fit(bold, events, confounds)
    assert isinstance(refused.value, BidsDecoderError)


def test_unknown_estimators_are_refused(runs):
    with pytest.raises(UsageError, match="no such single-trial estimator"):
        TrialEstimator("best", t_r=T_R).fit(*runs[0][:2])
    with pytest.raises(UsageError, match="no such noise model"):
        TrialEstimator(t_r=T_R, noise_model="AR1").fit(*runs[0][:2])
    with pytest.raises(ValueError, match="no cut-off"):
        TrialEstimator(t_r=T_R, high_pass=-1.0).fit(*runs[0][:2])
