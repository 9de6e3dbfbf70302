import nibabel as nib
import numpy as np
import pytest

from bids_decoder.errors import MissingInputError, UsageError
from bids_decoder.preprocessing.templates import (
    FUNC,
    OutputSpace,
    load_template,
    parse_space,
    response_space,
)


def test_packaged_template_is_a_brain():
    template = load_template(parse_space("MNI152NLin2009aSym"))
    np.testing.assert_allclose(np.abs(np.diag(template.affine)[:3]), 2)
    litres = template.mask.sum() * 8 / 1e6
    assert 1.5 < litres < 2.2
    assert template.volume[template.mask].mean() > 5 * abs(template.volume[~template.mask]).mean()


@pytest.fixture
def flow(monkeypatch, tmp_path):
    """A TemplateFlow folder with one template, whose files are empty until they are fetched."""
    from templateflow import conf

    monkeypatch.setattr(conf, "TF_HOME", tmp_path, raising=False)
    folder = tmp_path / "tpl-MNI152NLin2009cAsym"
    folder.mkdir()
    for res in ("01", "02"):
        for ending in ("T1w", "desc-brain_T1w", "desc-brain_mask", "atlas-A_desc-brain_mask"):
            (folder / f"{folder.name}_res-{res}_{ending}.nii.gz").touch()
    return folder


def test_missing_template_says_how_to_fetch_it(flow):
    for path in flow.iterdir():
        path.unlink()
    with pytest.raises(MissingInputError) as caught:
        load_template(OutputSpace("MNI152NLin2009cAsym", 1))
    assert "api.get('MNI152NLin2009cAsym', resolution=1" in str(caught.value)


def test_empty_skeleton_files_count_as_missing(flow):
    with pytest.raises(MissingInputError):
        load_template(OutputSpace("MNI152NLin2009cAsym", 2))


def test_files_of_the_resolution_are_read(flow):
    """The whole head and the mask of the brain: not the brain alone, nor masks of atlases."""
    for size, path in enumerate(sorted(flow.iterdir()), 2):
        nib.save(nib.Nifti1Image(np.full((3, 3, 3), size, np.uint8), np.eye(4)), path)
    names = [path.name for path in sorted(flow.iterdir())]
    template = load_template(OutputSpace("MNI152NLin2009cAsym", 2))
    expected = 2 + names.index("tpl-MNI152NLin2009cAsym_res-02_T1w.nii.gz")
    assert (template.volume == expected).all() and template.mask.all()
    (flow / "tpl-MNI152NLin2009cAsym_res-02_desc-brain_mask.nii.gz").unlink()
    with pytest.raises(MissingInputError, match="desc-brain_mask"):
        load_template(OutputSpace("MNI152NLin2009cAsym", 2))


def test_names_are_those_of_templateflow():
    from templateflow import api

    (found,) = api.ls("MNI152NLin2009cAsym", resolution=1, suffix="mask", desc="brain",
                      extension=".nii.gz", atlas=None)
    assert found.name == "tpl-MNI152NLin2009cAsym_res-01_desc-brain_mask.nii.gz"
    (found,) = api.ls("MNI152NLin2009cAsym", resolution=1, suffix="T1w", desc=None,
                      extension=".nii.gz", atlas=None)
    assert found.name == "tpl-MNI152NLin2009cAsym_res-01_T1w.nii.gz"


@pytest.mark.parametrize("text", ["T1w:res-2", "MNI152NLin2009cAsym:cohort-1", "func:x"])
def test_modifiers_that_mean_nothing_are_refused(text):
    with pytest.raises(UsageError):
        parse_space(text)


def test_unknown_space_is_refused():
    with pytest.raises(UsageError, match="neither func"):
        load_template(OutputSpace("Atlantis", 2))


def test_templates_of_several_cohorts_are_refused(flow):
    folder = flow.with_name("tpl-MNIPediatricAsym")
    for cohort in (1, 2):
        path = folder / f"cohort-{cohort}" / f"{folder.name}_cohort-{cohort}_res-2_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        for name in (path, path.with_name(path.name.replace("T1w", "desc-brain_mask"))):
            nib.save(nib.Nifti1Image(np.full((3, 3, 3), cohort, np.uint8), np.eye(4)), name)
    with pytest.raises(UsageError, match="one for each cohort"):
        load_template(OutputSpace(folder.name.removeprefix("tpl-"), 2))


@pytest.mark.parametrize(("spaces", "chosen", "entities"), [
    ((), "func", {}),
    (("func", "T1w"), "func", {}),
    (("T1w", "func"), "T1w", {"space": "T1w"}),
    (("MNI152Lin", "func"), "MNI152Lin:res-2", {"space": "MNI152Lin", "res": "2"}),
])
def test_responses_are_in_the_first_space(spaces, chosen, entities):
    space = response_space(spaces)
    assert (str(space), space.entities) == (chosen, entities)
    assert parse_space(str(space)) == space
    assert (space == FUNC) == (chosen == "func")


def test_shape_is_that_of_the_template():
    space = OutputSpace("MNI152NLin2009aSym", 4)
    assert space.grid.shape == load_template(space).volume.shape
