"""Participants whose CIFTI files have as many rows, but other grayordinates, are not matched."""

from pathlib import Path
from types import SimpleNamespace

import cifti_derivatives as cifti
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.apply.plan import _has_places
from bids_decoder.analyses.decode.models import ModelFile, _check_space
from bids_decoder.analyses.jobs import Notes
from bids_decoder.analyses.population.maps import read_maps
from bids_decoder.analyses.registry import section_kinds
from bids_decoder.bids.images import read_header
from bids_decoder.bids.map_files import save_beside
from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.writer import save_nifti
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.config import default_settings
from bids_decoder.errors import FindingsError, InputError
from bids_decoder.grids.grayordinates import Grayordinates
from bids_decoder.markers import StageKey, write_marker
from bids_decoder.models.store import Model
from bids_decoder.training.common_space import CommonMaps, gather_common
from bids_decoder.training.zero_shot import decoder_without_trials
from bids_decoder.trials import Person, Targets, VoxelGrid

MODELS = cifti.brain_models()
N = len(MODELS)
OTHER = MODELS[::-1]


def grid(models=MODELS):
    return VoxelGrid(np.ones((N, 1, 1), bool), np.eye(4), Grayordinates(models))


def findings_of(root):
    words = [root / "raw", root / "out", "group", "-d", f"fmriprep={root / 'prep'}",
             "--output-spaces", "fsLR:den-91k", "--nprocs", "1"]
    settings, _ = parse_args([str(word) for word in words])
    try:
        return make_plan(settings, root / "work").findings
    except FindingsError as error:
        return error.findings


def test_pretraining_is_refused_in_the_plan(tmp_path):
    cifti.write_cifti_dataset(tmp_path, n_runs=2)
    cifti.copy_person(tmp_path, "02")
    assert not [f for f in findings_of(tmp_path) if "grayordinates" in f.what]
    cifti.copy_person(tmp_path, "02", OTHER)
    (finding,) = [f for f in findings_of(tmp_path) if "grayordinates" in f.what]
    assert (finding.code, finding.severity, finding.participant) == (65, "error", "02")
    assert "than those of sub-01" in finding.why


def test_keys_tell_rows_apart():
    left = MODELS.name == "CIFTI_STRUCTURE_CORTEX_LEFT"
    keys = [grid(models).rows_key for models in (
        MODELS, OTHER, MODELS[np.r_[np.roll(np.flatnonzero(left), 1), np.flatnonzero(~left)]],
    )]
    assert len(set(keys)) == 3 and grid(cifti.brain_models()).rows_key == keys[0]
    assert VoxelGrid(np.ones((3, 3, 3), bool), np.eye(4)).rows_key == ""


def test_maps_of_others_are_used_for_the_same_rows_only():
    rng = np.random.default_rng(0)
    maps = CommonMaps(
        "fsLR", grid(), rng.normal(size=(N, 2)).astype(np.float32),
        np.full((3, N), 1 / 3, np.float32), 6.0, 0.1, grid().rows_key,
    )
    parts = {name.removeprefix("common."): part for name, part in maps.tensors().items()}
    stored = CommonMaps.restore(maps.card(), parts)
    people = {
        name: Person(name, grid(models), np.zeros((4, N), np.float32), None, np.arange(4), "fsLR")
        for name, models in (("same", MODELS), ("other", OTHER))
    }
    np.testing.assert_allclose(stored.prior_of(people["same"]).weight, maps.weight, atol=1e-2)
    assert stored.prior_of(people["other"]) is None
    targets = Targets(("a", "b"), np.eye(2, dtype=np.float32), "category")
    model = Model({}, {"targets": {"n_dims": 2}, "common": maps.card()})
    with pytest.raises(InputError, match="other grayordinates"):
        decoder_without_trials(model, grid(OTHER), targets, {})


def test_sources_with_other_rows_have_no_common_maps():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"run_group": np.repeat(["a", "b"], 8)})
    vectors = rng.normal(size=(16, 2)).astype(np.float32)

    def person(label, models):
        betas = rng.normal(size=(16, N)).astype(np.float32)
        return Person(label, grid(models), betas, table, np.arange(16), "fsLR")

    first = person("1", MODELS)
    assert gather_common([first, person("2", MODELS)], vectors).rows_key == grid().rows_key
    assert gather_common([first, person("2", OTHER)], vectors) is None


@pytest.mark.parametrize(("models", "expected"), [(MODELS, True), (OTHER, False)])
def test_models_are_looked_up_in_the_same_rows_only(tmp_path, models, expected):
    path = tmp_path / "sub-01_task-see_space-fsLR_den-91k_bold.dtseries.nii"
    series = nib.cifti2.SeriesAxis(0, 2, 3, "SECOND")
    path.write_bytes(nib.Cifti2Image(np.zeros((3, N), np.float32), (series, models)).to_bytes())
    run = SimpleNamespace(
        image_file=path, header=read_header(path), entities={"space": "fsLR", "den": "91k"}
    )
    person = SimpleNamespace(
        label="01", source="fmriprep", runs=(run,), participant=SimpleNamespace(runs=(run,))
    )
    card = {"common": {"space": "fsLR", "shape": [N, 1, 1], "rows_key": grid().rows_key}}
    assert _has_places(person, card) == expected
    notes = Notes()
    study = SimpleNamespace(settings=default_settings(section_kinds()))
    _check_space(study, person, ModelFile(Path("x_model.safetensors"), card), notes)
    assert [f.severity for f in notes.findings] == ([] if expected else ["warning"])
    assert all("cannot be used as a prior" in f.why for f in notes.findings)


def test_group_maps_leave_out_who_has_other_rows(tmp_path):
    for label, models in (("01", MODELS), ("02", MODELS), ("03", OTHER)):
        names = {"sub": label, "task": "see", "space": "fsLR", "den": "91k"}
        path = derivative_path(tmp_path, "troi_mask", **names)
        mask = np.ones((N, 1, 1), bool)
        save_nifti(path, mask, np.eye(4), metadata={"Type": "ROI"})
        save_beside(Grayordinates(models), path, mask, {})
        write_marker(tmp_path, StageKey("decode", f"sub-{label}", {}), [path])
    (found,), notes = read_maps(tmp_path, ["01", "02", "03"])
    assert found.people == ("01", "02")
    assert notes == ["Voxels that the decoder selected: sub-03 left out, on another grid of "
                     "fsLR, or with other grayordinates."]
