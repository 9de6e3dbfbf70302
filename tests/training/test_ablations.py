"""Parts of the decoder that are left out: only those that it has."""

from dataclasses import replace

import numpy as np
import pytest

from bids_decoder.config import Network, Troi
from bids_decoder.models.store import Model
from bids_decoder.training.ablations import fit_ablation, list_ablations
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.troi import TroiDecoder
from bids_decoder.trials import Targets, VoxelGrid

PLAIN = FitContext(Network(pretrain_epochs=1), Troi(budget_voxels=48), 1, "cpu")
MODEL = Model({"common.mask": np.ones(1)}, {"common": {"space": "MNI152NLin6Asym"}})


STIMULI = Targets(("a",), np.ones((1, 2), np.float32), "features")
LABELS = replace(STIMULI, kind="category")


def names(person, pretrained, context, targets=LABELS):
    return [
        a.name.removeprefix("without-")
        for a in list_ablations(person, targets, pretrained, context)
    ]


def test_only_parts_that_are_there_are_left_out(known):
    person, _ = known
    assert names(person, None, PLAIN) == ["selection", "low-pass", "spatial-prior"]
    assert names(person, Model({}, {}), PLAIN)[0] == "pretraining"
    assert "group-prior" not in names(person, MODEL, PLAIN)
    in_space = replace(person, space="MNI152NLin6Asym")
    assert names(in_space, MODEL, PLAIN) == [
        "pretraining", "group-prior", "selection", "low-pass"]
    assert names(in_space, MODEL, PLAIN, STIMULI)[-1] == "stage-2"
    crossed = replace(in_space, trials=in_space.trials.assign(fold=1))
    assert "stage-2" not in names(crossed, None, PLAIN, STIMULI), "few stimuli are not trained on"
    assert names(crossed, MODEL, PLAIN, STIMULI)[-1] == "stage-2"
    assert "group-prior" not in names(replace(person, space="MNI152NLin2009cAsym"), MODEL, PLAIN)
    off = replace(PLAIN, network=Network(group_prior=False))
    assert "group-prior" not in names(in_space, MODEL, off)
    bare = replace(PLAIN, troi=Troi(selector="all", stage2="none", spatial_prior="never"))
    assert names(person, None, bare) == []
    trained = replace(PLAIN, network=Network(finetune_epochs=3))
    assert "spatial-prior" not in names(person, None, trained)
    assert names(person, None, trained)[-1] == "stage-2"
    flat = VoxelGrid(np.ones((person.grid.n_voxels, 1, 1), bool), np.eye(4))
    assert "low-pass" not in names(replace(person, grid=flat), None, PLAIN)
    assert "spatial-prior" not in names(replace(person, grid=flat), None, PLAIN)
    assert "spatial-prior" in names(person, None, PLAIN, STIMULI)
    assert "spatial-prior" not in names(replace(person, grid=flat), None, PLAIN, STIMULI)


@pytest.mark.parametrize("name", ["without-selection", "without-low-pass", "without-spatial-prior"])
def test_a_part_left_out_is_left_out(known, name):
    person, vectors = known
    targets = Targets(tuple(f"s{i}" for i in range(len(vectors))), vectors, "features")
    (ablation,) = (a for a in list_ablations(person, targets, None, PLAIN) if a.name == name)
    model = fit_ablation(TroiDecoder(), ablation, person, targets)
    notes = model.card["selection"]
    if name == "without-selection":
        assert notes["budget"] == person.grid.n_voxels
        assert "spatial_prior" in model.card
    elif name == "without-spatial-prior":
        assert "spatial_prior" not in model.card
        _, whole = TroiDecoder().fit(person, targets, None, PLAIN)
        assert "spatial_prior" in whole.card
    else:
        assert notes["field_fwhm_mm"] == 0 and notes["budget"] == 48
