import numpy as np
import pytest

from bids_decoder.errors import MissingInputError, UsageError
from bids_decoder.preprocessing.templates import (
    FUNC,
    OutputSpace,
    load_template,
    parse_space,
    response_space,
    template_grid,
)


def test_packaged_template_is_a_brain():
    template = load_template(parse_space("MNI152NLin2009aSym"))
    np.testing.assert_allclose(np.abs(np.diag(template.affine)[:3]), 2)
    litres = template.mask.sum() * 8 / 1e6
    assert 1.5 < litres < 2.2
    assert template.volume[template.mask].mean() > 5 * abs(template.volume[~template.mask]).mean()


def test_missing_template_says_how_to_fetch_it(monkeypatch):
    from templateflow import api

    asked = api.ls("MNI152NLin2009cAsym", resolution=1, suffix="T1w", desc=None, atlas=None,
                   extension=".nii.gz")
    assert [path.name for path in asked] == ["tpl-MNI152NLin2009cAsym_res-01_T1w.nii.gz"]
    monkeypatch.setattr(api, "ls", lambda *args, **kwargs: [])
    with pytest.raises(MissingInputError) as caught:
        load_template(OutputSpace("MNI152NLin2009cAsym", 1))
    assert "api.get('MNI152NLin2009cAsym', resolution=1" in str(caught.value)


def test_empty_skeleton_files_count_as_missing(monkeypatch, tmp_path):
    from templateflow import api

    skeleton = tmp_path / "tpl_T1w.nii.gz"
    skeleton.touch()
    monkeypatch.setattr(api, "ls", lambda *args, **kwargs: [skeleton])
    with pytest.raises(MissingInputError):
        load_template(OutputSpace("MNI152NLin2009cAsym", 2))


@pytest.mark.parametrize("text", ["T1w:res-2", "MNI152NLin2009cAsym:cohort-1", "func:x"])
def test_modifiers_that_mean_nothing_are_refused(text):
    with pytest.raises(UsageError):
        parse_space(text)


def test_unknown_space_is_refused():
    with pytest.raises(UsageError, match="neither func"):
        load_template(OutputSpace("Atlantis", 2))


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
    assert template_grid(space).shape == load_template(space).volume.shape
