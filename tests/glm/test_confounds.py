"""Nuisance regressors by name, compared with nilearn's strategies."""

import fmriprep_versions as samples
import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds_strategy

from bids_decoder.bids.confounds_files import read_confounds
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.errors import InputError
from bids_decoder.glm.confounds import (
    MOTION,
    censored_volumes,
    choose_columns,
    select_confounds,
    short_segments,
)


def confounds_table(n=50, seed=0):
    rng = np.random.default_rng(seed)
    names = [*MOTION, "a_comp_cor_00", "a_comp_cor_01", "csf", "motion_outlier00"]
    table = pd.DataFrame({name: rng.standard_normal(n) for name in names})
    for name in MOTION:
        table[f"{name}_derivative1"] = table[name].diff()
        table[f"{name}_power2"] = table[name] ** 2
        table[f"{name}_derivative1_power2"] = table[name].diff() ** 2
    table["non_steady_state_outlier00"] = (np.arange(n) == 0).astype(float)
    return table


@pytest.mark.parametrize(
    ("wanted", "count"), [((), 1), (("motion",), 7), (("motion24",), 25), (("acompcor",), 9),
                          (("csf", "motion"), 8), (("trans_?",), 4), (("a_comp*", "acompcor"), 9)],
)
def test_confound_sets(wanted, count):
    chosen, notes = select_confounds(confounds_table(), wanted, 50)
    assert chosen.shape == (50, count)
    assert "non_steady_state_outlier00" in chosen
    assert np.isfinite(chosen.to_numpy()).all()
    assert not notes


def test_first_row_empty_and_constant_columns():
    table = confounds_table()
    table["trans_x"] = 3.0
    table["rot_z_power2"] = None
    chosen, notes = select_confounds(table.astype(object), ("motion24",), 50)
    assert chosen.loc[0, "trans_y_derivative1"] == 0
    assert "trans_x" not in chosen and "rot_z_power2" not in chosen
    assert "trans_x" in notes[0] and "rot_z_power2" in notes[0]


def test_confounds_read_as_text():
    table = confounds_table().astype(str).replace("nan", None)
    chosen, _ = select_confounds(table, ("motion24",), 50)
    assert np.allclose(chosen["rot_x"], confounds_table()["rot_x"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.drop(columns="rot_x"), "columns missing.*rot_x"),
        (lambda t: t.iloc[:40], "40 rows for 50"),
        (lambda t: t.assign(rot_x=[1.0, 2.0, np.nan] + [1.0] * 47), "missing or infinite"),
        (lambda t: t.assign(rot_x="much"), "no numbers"),
    ],
)
def test_broken_confounds_are_refused(damage, message):
    with pytest.raises(InputError, match=message):
        select_confounds(damage(confounds_table()), ("motion",), 50)


@pytest.mark.parametrize(("wanted", "advice"), [
    ("simpel", "did you mean simple"), ("w_comp_cor_*", "columns of the table"),
    ("ica_aroma", "--use-aroma"), ("compcorr", "did you mean compcor"),
])
def test_what_is_not_there_is_refused(wanted, advice):
    table = confounds_table().drop(columns=["csf"])
    with pytest.raises(InputError, match=f"(?s)columns missing for {wanted[:4]}.*({advice})"):
        select_confounds(table, (wanted,), 50)


@pytest.fixture(scope="module")
def derived(tmp_path_factory):
    """Tables of versions beside images, as nilearn wants them; by version, the image."""
    found = {}
    for name in ("20.2", "25.2"):
        folder = tmp_path_factory.mktemp("derived")
        stem = "sub-01_task-see_run-1"
        version = samples.VERSIONS[name]
        save_table(folder / f"{stem}_desc-confounds_timeseries.tsv",
                   samples.confounds(version), samples.compcor_masks(version))
        found[name] = save_nifti(
            folder / f"{stem}_space-T1w_desc-preproc_bold.nii.gz",
            np.zeros((2, 2, 2, 40), np.float32), np.eye(4),
        )
    return found


@pytest.mark.parametrize(("name", "strategy", "nilearns"), [
    ("20.2", "simple", {}), ("25.2", "simple", {}), ("20.2", "compcor", {}),
    ("25.2", "compcor", {}), ("25.2", "scrubbing", {"std_dvars_threshold": 99}),
])
def test_strategies_are_those_of_nilearn(derived, name, strategy, nilearns):
    image = derived[name]
    theirs, _ = load_confounds_strategy(
        str(image), denoise_strategy=strategy, demean=False, **nilearns,
    )
    path = image.with_name("sub-01_task-see_run-1_desc-confounds_timeseries.tsv")
    chosen, _ = select_confounds(read_confounds(path), (strategy,), 40)
    ours = {c for c in chosen if not c.startswith(("non_steady", "motion_outlier", "scrubbed"))}
    assert ours == {c for c in theirs if not c.startswith("cosine")}
    for column in ours:
        np.testing.assert_allclose(chosen[column].iloc[1:], theirs[column].iloc[1:], atol=1e-6)


def test_aroma_of_nilearn_is_that_of_its_basic_kind(derived):
    path = derived["20.2"].with_name("sub-01_task-see_run-1_desc-confounds_timeseries.tsv")
    chosen, _ = select_confounds(read_confounds(path), ("ica_aroma",), 40)
    assert list(chosen) == ["csf", "white_matter", "aroma_motion_01", "aroma_motion_02",
                            "non_steady_state_outlier00"]


def flagged(n, early=(), moved=()):
    columns = {f"non_steady_state_outlier{k:02d}": np.arange(n) == row
               for k, row in enumerate(early)}
    columns |= {f"motion_outlier{k:02d}": np.arange(n) == row for k, row in enumerate(moved)}
    return pd.DataFrame(columns, index=range(n)).astype(float)


def test_scrubbing_censors_short_segments_as_nilearn_does():
    """Volumes 10 and 14 moved: those between them are three, those after 14 are many."""
    table = flagged(30, early=(0,), moved=(10, 14, 28))
    more = short_segments(table)
    assert np.flatnonzero(censored_volumes(more)).tolist() == [11, 12, 13, 29]
    assert short_segments(flagged(30, early=(0, 3))).shape == (30, 0)
    names = {**{f"{m}{end}": 1 for m in (*MOTION, "csf", "white_matter")
             for end in ("", "_derivative1", "_power2", "_derivative1_power2")}}
    rng = np.random.default_rng(0)
    whole = pd.concat([pd.DataFrame(rng.normal(size=(30, len(names))), columns=list(names)),
                       table], axis=1)
    chosen, _ = select_confounds(whole, ("scrubbing",), 30)
    assert np.flatnonzero(censored_volumes(chosen)).tolist() == [0, 10, 11, 12, 13, 14, 28, 29]
    single = [name for name in chosen if name not in names]
    assert np.linalg.matrix_rank(chosen[single].to_numpy()) == len(single) == 8


def test_a_volume_is_censored_once():
    table = flagged(12, early=(0, 1), moved=(1, 7))
    chosen, _ = select_confounds(table, ("motion_outlier*",), 12)
    assert chosen.shape[1] == 3 and np.flatnonzero(censored_volumes(chosen)).tolist() == [0, 1, 7]


def test_own_columns_are_always_used():
    assert choose_columns(["trans_x", "own_heart", "csf"], ["csf"]) == ["csf", "own_heart"]
