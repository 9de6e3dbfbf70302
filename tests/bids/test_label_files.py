"""Images of labels and tables of their names; atlases of TemplateFlow."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.atlases import find_atlas
from bids_decoder.bids.label_files import (
    describe_file,
    find_label_table,
    label_names,
    read_labels,
)
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.errors import InputError, MissingInputError, UsageError

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def labels_at(path, values=None, table=None):
    values = np.arange(24).reshape(2, 3, 4) % 4 if values is None else values
    save_nifti(path, values.astype(np.float32), AFFINE)
    if table is not None:
        save_table(path.with_name(path.name.replace(".nii.gz", ".tsv")), pd.DataFrame(table))
    return path


def test_labels_with_names_of_the_table_beside(tmp_path):
    path = labels_at(tmp_path / "rois.nii.gz", table={"index": [1, 2], "name": ["V1", "V2"]})
    labels, affine = read_labels(path)
    assert labels.dtype == np.int64 and labels.shape == (2, 3, 4)
    np.testing.assert_array_equal(affine, AFFINE)
    assert label_names(describe_file(path), [1, 2, 3]) == {1: "V1", 2: "V2", 3: "3"}


@pytest.mark.parametrize(("name", "expected"), [
    ("sub-01_space-T1w_label-FFA_mask.nii.gz", "FFA"),
    ("sub-01_hemi-R_label-FFA_mask.nii.gz", "FFA R"), ("ffa.nii.gz", "ffa"),
])
def test_a_mask_is_called_like_its_file(tmp_path, name, expected):
    path = labels_at(tmp_path / name, np.ones((2, 2, 2)))
    assert label_names(describe_file(path), [1]) == {1: expected}


@pytest.mark.parametrize(("name", "space"), [
    ("func/sub-01_space-T1w_dseg.nii.gz", "T1w"), ("x/tpl-MNI152NLin6Asym_dseg.nii.gz",
                                                   "MNI152NLin6Asym"),
    ("anat/sub-01_dseg.nii.gz", "T1w"), ("x/rois.nii.gz", None),
    ("func/sub-01_space-boldref_dseg.nii.gz", "func"),
])
def test_names_of_files_say_their_space(tmp_path, name, space):
    assert describe_file(tmp_path / name).space == space


def test_tables_are_inherited_from_the_top_of_the_dataset(tmp_path):
    (tmp_path / "d" / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "d" / "dataset_description.json").write_text("{}")
    for name in ("d/desc-aparcaseg_dseg.tsv", "d/desc-aseg_dseg.tsv", "space-x_dseg.tsv"):
        (tmp_path / name).write_text("index\tname\n")
    image = tmp_path / "d" / "sub-01" / "anat" / "sub-01_desc-aparcaseg_dseg.nii.gz"
    assert find_label_table(image).name == "desc-aparcaseg_dseg.tsv"
    assert find_label_table(image.with_name("sub-01_space-x_dseg.nii.gz")) is None


@pytest.mark.parametrize(("values", "part"), [
    (np.full((2, 2, 2), 0.4), "not whole numbers"), (np.zeros((2, 2, 2)), "0 labels"),
    (np.ones((2, 2, 2, 3)), "not one volume"),
])
def test_what_is_no_image_of_labels(tmp_path, values, part):
    with pytest.raises(InputError, match=part) as caught:
        read_labels(labels_at(tmp_path / "x.nii.gz", values))
    assert caught.value.code == 65


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MissingInputError, match="no such file"):
        read_labels(tmp_path / "absent.nii.gz")
    (tmp_path / "text.nii.gz").write_text("no image")
    with pytest.raises(InputError, match="readable"):
        read_labels(tmp_path / "text.nii.gz")
    whole = labels_at(tmp_path / "cut.nii", rng_labels((20, 20, 20)))
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(whole)


def rng_labels(shape):
    return np.random.default_rng(0).integers(0, 9, shape)


@pytest.mark.parametrize(("table", "part"), [
    ({"index": [1], "label": ["V1"]}, "no column name"),
    ({"index": ["one"], "name": ["V1"]}, "no whole number"),
])
def test_tables_without_what_is_needed(tmp_path, table, part):
    path = labels_at(tmp_path / "rois.nii.gz", table=table)
    with pytest.raises(InputError, match=part):
        label_names(describe_file(path), [1, 2])


@pytest.fixture
def flow(tmp_path, monkeypatch):
    """A TemplateFlow of two templates, of which one image is stored."""
    from templateflow import api, conf

    names = ["tpl-MNIa_res-01_atlas-Coarse_dseg.nii.gz", "tpl-MNIa_res-02_atlas-Coarse_dseg.nii.gz",
             "tpl-MNIa_res-01_atlas-Fine_desc-9Parcels_dseg.nii.gz",
             "tpl-MNIa_res-01_atlas-Fine_desc-99Parcels_dseg.nii.gz",
             "tpl-MNIb_res-01_atlas-Fine_desc-9Parcels_dseg.nii.gz",
             "tpl-MNIa_atlas-Coarse_dseg.tsv"]
    for name in names:
        (tmp_path / name[:8]).mkdir(exist_ok=True)
        (tmp_path / name[:8] / name).touch()
    (tmp_path / "tpl-MNIa" / names[1]).write_bytes(b"stored")
    (tmp_path / "tpl-MNIa" / names[-1]).write_text("index\tname\n")

    def refuse(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(conf, "TF_HOME", tmp_path)
    monkeypatch.setattr(api, "get", refuse)
    return tmp_path


def test_a_stored_atlas_is_found_with_its_names(flow):
    file = find_atlas("Coarse", ["MNIb", "MNIa"])
    assert file.path.name == "tpl-MNIa_res-02_atlas-Coarse_dseg.nii.gz"
    assert (file.space, file.atlas) == ("MNIa", "Coarse")
    assert file.table.name == "tpl-MNIa_atlas-Coarse_dseg.tsv"


def test_an_atlas_is_fetched_where_it_is_not_stored(flow, monkeypatch):
    from templateflow import api

    def get(template, **query):
        assert (template, query["atlas"], query["desc"]) == ("MNIb", "Fine", "9Parcels")
        name = "tpl-MNIb_res-01_atlas-Fine_desc-9Parcels_dseg.nii.gz"
        (flow / "tpl-MNIb" / name).write_bytes(b"fetched")

    monkeypatch.setattr(api, "get", get)
    assert find_atlas("Fine:9Parcels", ["MNIb"]).space == "MNIb"


@pytest.mark.parametrize(("word", "templates", "kind", "part"), [
    ("Corse", ["MNIa"], UsageError, "did you mean Coarse"),
    ("other", ["MNIa"], UsageError, "one of Coarse, Fine"),
    ("aparcasg", ["MNIa"], UsageError, "did you mean aparcaseg"),
    ("Fine", ["MNIa"], UsageError, "choose one: Fine:9Parcels, Fine:99Parcels"),
    ("Fine:9Parcel", ["MNIa"], UsageError, "did you mean Fine:9Parcels"),
    ("Coarse", ["MNIb"], UsageError, "has it in MNIa"),
    ("Coarse", [], UsageError, "no template"),
    ("Fine:9Parcels", ["MNIa"], MissingInputError, r"api.get\('MNIa', resolution='01'"),
])
def test_atlases_that_cannot_be_used(flow, word, templates, kind, part):
    with pytest.raises(kind, match=part) as caught:
        find_atlas(word, templates)
    assert caught.value.code == (66 if kind is MissingInputError else 64)


def test_the_word_for_a_path_is_kept():
    assert describe_file(Path("/x/a.nii")).atlas == "a"
