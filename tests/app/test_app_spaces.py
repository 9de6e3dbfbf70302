"""Raw data decoded in a template's space and in the T1w image's: one call after the other."""

import json

import nibabel as nib
import numpy as np
import pytest
from app_calls import Done

from bids_decoder.bids.names import parse_entities
from bids_decoder.reports.results import Results
from bids_decoder.simulate.dataset import write_category_dataset

pytestmark = pytest.mark.slow

COARSE = "MNI152NLin2009aSym:res-8"
IN_TEMPLATE = {"space": "MNI152NLin2009aSym", "res": "8"}
HELD = ("--holdout-label", "02", "--device", "cpu", "--region", "occipital",
        "--n-permutations", 2)


class Person:
    """A dataset of two people, and the results that calls on it leave."""

    def __init__(self, main, folder):
        self.main, self.folder = main, folder
        write_category_dataset(folder / "data", n_runs=3, n_blocks=1, anatomical=True)

    def words(self, *options):
        return (self.folder / "data", self.folder / "out", *options, *HELD,
                "--nprocs", 1, "--work-dir", self.folder / "work")

    def __call__(self, *options) -> Done:
        return self.main(*self.words(*options))

    def files(self, pattern):
        return sorted((self.folder / "out").glob(pattern))


@pytest.fixture(scope="module")
def people(main, tmp_path_factory):
    return Person(main, tmp_path_factory.mktemp("spaces"))


@pytest.fixture(scope="module")
def in_template(people):
    done = people("group", "participant", "--output-spaces", COARSE, "func")
    assert done.code == 0, done.text
    return done


def space_of(path):
    return {key: value for key, value in parse_entities(path).items() if key in ("space", "res")}


def test_everybody_is_on_the_grid_of_the_template(people, in_template):
    series = [nib.load(path) for path in people.files("sub-*/func/*_betaseries.nii.gz")]
    assert len(series) == 6
    for image in series[1:]:
        assert image.shape[:3] == series[0].shape[:3]
        np.testing.assert_array_equal(image.affine, series[0].affine)
    np.testing.assert_allclose(np.diag(series[0].affine), [8, 8, 8, 1])
    endings = ("betaseries.nii.gz", "trials.tsv", "metrics.tsv", "TROI_mask.nii.gz",
               "statmap.nii.gz", "decoder_model.safetensors")
    made = [path for ending in endings for path in people.files(f"sub-*/*/*{ending}")]
    assert len(made) > 20
    assert all(space_of(path) == IN_TEMPLATE for path in made)
    assert f"decoding space: {COARSE} (first of --output-spaces)" in in_template.text


def test_responses_lie_in_the_masks_of_all_runs(people, in_template):
    for label in ("01", "02"):
        masks = [np.asarray(nib.load(path).dataobj) > 0 for path in people.files(
            f"sub-{label}/func/*_space-*_desc-brain_mask.nii.gz")]
        (used,) = people.files(f"sub-{label}/func/*_desc-singletrial_mask.nii.gz")
        used = np.asarray(nib.load(used).dataobj) > 0
        assert len(masks) == 3
        assert used.sum() > 0.9 * masks[0].sum() > 1000
        assert not (used & ~np.logical_and.reduce(masks)).any()


def test_the_prior_of_the_group_serves_raw_data(people, in_template):
    (model,) = people.files("group/desc-pretrained_model.json")
    assert json.loads(model.read_text())["common"]["space"] == IN_TEMPLATE["space"]
    (card,) = people.files("sub-02/model/*_desc-decoder_model.json")
    assert json.loads(card.read_text())["group_prior"] == IN_TEMPLATE["space"]


def test_the_region_is_at_the_back_of_the_template(people, in_template):
    (path,) = people.files("sub-02/func/*_label-TROI_mask.nii.gz")
    mask = nib.load(path)
    chosen = np.argwhere(np.asarray(mask.dataobj) > 0)
    assert len(chosen)
    assert (nib.affines.apply_affine(mask.affine, chosen)[:, 1] <= -36).all()


def test_report_and_methods_say_where(people, in_template):
    report = (people.folder / "out/sub-02.html").read_text()
    assert "on the T1w image in MNI152NLin2009aSym space" in report
    assert f"T1w image in the space {COARSE}" in report
    methods = (people.folder / "out/logs/CITATION.md").read_text()
    assert "estimated in the space MNI152NLin2009aSym, TemplateFlow resolution 8" in methods


def test_only_the_first_space_decides_about_responses(people, main, in_template):
    def todo(*spaces):
        words = people.words("group", "participant", "--output-spaces", *spaces, "--dry-run")
        return {stage for _, stage in main(*words).todo()}

    assert todo(COARSE, "func") == set()
    assert todo(COARSE, "T1w") == {"preprocess"}
    assert todo("func", COARSE) == {"preprocess", "betas", "pretrain", "decode", "controls"}


def test_templates_that_are_not_there_are_missed_in_the_plan(people, main):
    done = main(*people.words("group", "--output-spaces", "func", "Atlantis", "--dry-run"))
    assert done.code == 64
    assert "--output-spaces Atlantis" in done.text


def test_a_later_call_decodes_in_the_space_of_the_t1w(people, in_template):
    done = people("participant", "--participant-label", "02", "--output-spaces", "T1w", COARSE)
    assert done.code == 0, done.text
    assert {stage for _, stage in done.todo()} == {
        "preprocess", "betas", "decode", "controls",
    }
    results = Results(people.folder / "out", "02")
    (card,) = results.files("decoder_model")
    assert space_of(card) == {"space": "T1w"}
    # A model of the template's space is used without its prior, and that is said.
    assert not results.card("decoder_model")["group_prior"]
    assert "they cannot be used as a prior" in done.text
    # What the call before left stays on disk.
    assert len(people.files("sub-02/func/*_desc-decoder_metrics.tsv")) == 2
    assert [space_of(path) for path in results.files("metrics")] == [{"space": "T1w"}]
    assert f"in the space {COARSE}" in (people.folder / "out/sub-02.html").read_text()
