"""Searchlights over participants: cluster enhancement, and the share with information."""

import nibabel as nib
import numpy as np
import pytest

from bids_decoder.analyses.population.interfaces import _write_maps
from bids_decoder.analyses.population.maps import read_maps
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti
from bids_decoder.markers import StageKey, write_marker

PEOPLE, SPACE = [f"{k:02d}" for k in range(1, 7)], "MNI152NLin2009cAsym"


def write_search(out, label, with_signal):
    """Accuracies around chance, .25, and higher in a block; p-values that say so."""
    rng = np.random.default_rng(int(label))
    accuracy = rng.normal(0.25, 0.02, (5, 5, 4))
    log_p = np.zeros(accuracy.shape)
    accuracy[1:4, 1:4, 1:3] += 0.1
    # p = .05 counts, and 10 ** -1.2 does not. Less the chance level of the sidecar, neither would.
    log_p[1, 1, 1] = -np.log10(0.05) if with_signal else 1.2
    mask = derivative_path(out, "search_mask", sub=label, space=SPACE)
    save_nifti(mask, np.ones(accuracy.shape, np.uint8), np.diag([3.0, 3, 3, 1]))
    paths = [mask]
    for stat, volume in (("accuracy", accuracy), ("logp", log_p)):
        path = derivative_path(out, "search_map", sub=label, space=SPACE, stat=stat)
        save_nifti(path, volume.astype(np.float32), np.diag([3.0, 3, 3, 1]),
                   metadata={"Chance": 0.25})
        paths.append(path)
    write_marker(out, StageKey("searchlight", f"sub-{label}", {}), paths)


def test_searchlights_are_enhanced_and_their_prevalence_is_mapped(tmp_path):
    for number, label in enumerate(PEOPLE):
        write_search(tmp_path, label, with_signal=number < 4)
    maps, notes = read_maps(tmp_path, PEOPLE)
    assert notes == [] and [one.kind.is_mask for one in maps] == [False, True]
    written = {
        path.name.split("stat-")[1].split("_")[0]: np.asarray(nib.load(path).dataobj)
        for one in maps for path in _write_maps(tmp_path, one, 0) if path.suffix == ".gz"
    }
    assert set(written) == {"accuracymean", "accuracyt", "accuracylogp", "accuracytfce",
                            "accuracylogptfce", "prevalence"}
    p = 10.0 ** -written["accuracylogptfce"]
    assert p[1:4, 1:4, 1:3].max() <= 0.05 and p[0].min() > 0.05
    prevalence = written["prevalence"]
    assert prevalence[1, 1, 1] == pytest.approx(4 / 6) and prevalence.sum() == prevalence[1, 1, 1]


def test_searchlights_without_a_mask_are_left_out_and_that_is_said(tmp_path):
    for label in PEOPLE:
        write_search(tmp_path, label, with_signal=True)
    derivative_path(tmp_path, "search_mask", sub="02", space=SPACE).unlink()
    maps, notes = read_maps(tmp_path, PEOPLE)
    assert maps[0].people == ("01", "03", "04", "05", "06") and len(notes) == 1
    assert "sub-02 left out" in notes[0] and "run that stage again" in notes[0]
