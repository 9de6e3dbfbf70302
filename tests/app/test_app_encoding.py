"""Encoding models through the whole program: from files to report."""

import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bids_decoder.bids.writer import read_table, save_nifti
from bids_decoder.files import read_json, write_text
from bids_decoder.simulate.betas import ENCODING, write_encoding_dataset
from bids_decoder.training.encoders import ENCODERS

SETTINGS = """
[encoding]
image_size = 24
channels = 12
epochs = 60
learning_rate = 2e-3
n_selected = 40

[evaluation]
n_permutations = 199
"""


# The default network embeds the pictures of one call in several seconds; the first test has it.
QUICK = ("--encoder", "etecrm", "--image-encoder", "gabor")


def make_data(folder, **settings):
    design = replace(ENCODING, n_train=128, n_test=16, **settings)
    return write_encoding_dataset(
        folder, design, shape=(6, 6, 4), region=(4, 4, 3), signal_to_noise=2.5
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("encoding") / "data")


@pytest.fixture
def encode(main, tmp_path):
    def run(data, output, *words, settings=SETTINGS, pages=False):
        toml = write_text(tmp_path / "settings.toml", settings)
        return main(data, output, "participant", "-d", f"betas={data}", "--config-file", toml,
                    "--device", "cpu", "--nprocs", 1, "--stage", "prepare", "encode", *words,
                    pages=pages)

    return run


def one(output, pattern):
    (path,) = output.glob(f"sub-01/**/{pattern}")
    return path


def image(output, pattern):
    return np.asarray(nib.load(one(output, pattern)).dataobj)


def metric(output, **wanted):
    table = read_table(one(output, "*_desc-encoder_metrics.tsv"))
    for name, value in wanted.items():
        table = table[table[name] == value]
    (row,) = table.to_dict("records")
    return row


@pytest.mark.slow
def test_from_pictures_to_report(encode, data, tmp_path):
    out = tmp_path / "out"
    done = encode(data, out, "--encoder", "etecrm", pages=True)
    assert done.code == 0, done.text
    assert set(done.todo()) == {("sub-01", "betas"), ("sub-01", "encode")}
    assert "etecrm predicts 40 voxels with a mean correlation of" in done.text

    path = data / "derivatives" / "truth" / "sub-01_label-responsive_mask.nii.gz"
    truth = np.asarray(nib.load(path).dataobj)
    for stat in ("score", "strength", "correlation"):
        values = image(out, f"*_label-etecrm_stat-{stat}_desc-encoder_statmap.nii.gz")
        assert roc_auc_score(truth.ravel() > 0, values.ravel()) > 0.85, stat
    assert image(out, "*_desc-encoder_mask.nii.gz").sum() == 40
    for name in ENCODERS:
        row = metric(out, model=name, metric="correlation", voxels="common")
        assert float(row["value"]) > 0.2 and float(row["p"]) < 0.05
        label = name.replace("-", "")
        assert one(out, f"*_label-{label}_stat-correlation_desc-encoder_statmap.nii.gz")
    assert len(read_table(one(out, "*_desc-encoder_comparisons.tsv"))) == 12
    nulls = read_table(one(out, "*_desc-encodernull_metrics.tsv"))
    assert {"correlation", "top1", "median_rank"} <= set(nulls["metric"])
    assert read_json(one(out, "*_desc-encodernull_metrics.json"))["Null"] == "fixed"
    card = read_json(one(out, "*_desc-encoder_model.json"))
    assert card["encoder"] == "etecrm" and card["ceiling_from"] == "test"

    page = (out / "sub-01.html").read_text(encoding="utf-8")
    for text in ('id="encoding"', "Where a gain comes from", "noise ceiling",
                 "etecrm predicts the responses of the selected voxels"):
        assert text in page
    methods = (out / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert "end to end" in methods and "Qiao" in methods
    ignored = (out / ".bidsignore").read_text(encoding="utf-8")
    assert "*_comparisons.*" in ignored

    again = encode(data, out, "--encoder", "etecrm")
    assert (again.code, again.todo()) == (0, {})
    one(out, "*_desc-encoder_metrics.tsv").unlink()
    lost = encode(data, out, "--encoder", "etecrm", "--dry-run")
    assert set(lost.todo()) == {("sub-01", "encode")}


@pytest.mark.slow
def test_held_out_responses_play_no_part(encode, data, tmp_path):
    """Other responses to held-out pictures: the same model, voxels and selection."""
    other = shutil.copytree(data, tmp_path / "other")
    rng = np.random.default_rng(0)
    for table in other.glob("sub-01/func/*_trials.tsv"):
        held = read_table(table)["stimulus"].str.startswith("shared").to_numpy()
        path = table.with_name(table.name.replace("_trials.tsv", "_betaseries.nii.gz"))
        volumes = nib.load(path)
        values = volumes.get_fdata(dtype=np.float32).copy()
        values[..., held] = rng.standard_normal(values[..., held].shape)
        save_nifti(path, values, volumes.affine)
    few = SETTINGS.replace("epochs = 60", "epochs = 4").replace("= 199", "= 9")
    outputs = []
    for number, folder in enumerate((data, other)):
        outputs.append(tmp_path / f"out{number}")
        done = encode(folder, outputs[-1], *QUICK, settings=few)
        assert done.code == 0, done.text
    for pattern in ("*_desc-encoder_model.safetensors", "*_desc-encoder_mask.nii.gz",
                    "*_stat-score_desc-encoder_statmap.nii.gz", "*_desc-encoder_learning.tsv"):
        first, second = (one(output, pattern).read_bytes() for output in outputs)
        assert first == second
    first, second = (image(output, "*_label-etecrm_stat-correlation_*.nii.gz")
                     for output in outputs)
    assert (first != second).any()


@pytest.mark.slow
def test_permuted_pictures_are_at_chance(encode, tmp_path):
    values, p_values = [], []
    for seed in (1, 2):
        data = make_data(tmp_path / f"data{seed}", seed=seed, permute_labels=True)
        few = SETTINGS.replace("epochs = 60", "epochs = 10")
        done = encode(data, tmp_path / f"out{seed}", *QUICK, settings=few)
        assert done.code == 0, done.text
        row = metric(tmp_path / f"out{seed}", model="etecrm", metric="correlation",
                     voxels="common")
        values.append(float(row["value"]))
        p_values.append(float(row["p"]))
    # One varies by 0.26 at most (16 pictures that all voxels share), two by 0.18.
    assert abs(np.mean(values)) < 0.5
    assert min(p_values) > 0.002 and max(p_values) > 0.05


def test_ridge_from_a_feature_table_needs_no_pictures(main, betas, tmp_path):
    out = tmp_path / "out"
    done = main(betas.folder, out, "participant", *betas.options, "--nprocs", 1,
                "--participant-label", "01", "--encoder", "ridge", "--stage", "prepare", "encode")
    assert done.code == 0, done.text
    assert set(done.todo()) == {("sub-01", "betas"), ("sub-01", "encode")}
    row = metric(out, model="ridge", metric="correlation", voxels="common")
    assert float(row["value"]) > 0.3 and float(row["p"]) <= 0.01
    assert len(read_table(one(out, "*_desc-encoder_comparisons.tsv"))) == 0


@pytest.mark.parametrize(("words", "code", "text"), [
    (("--encoder", "etecrm"), 66, "have no picture"),
    (("--stage", "encode"), 64, "no encoder is chosen"),
    (("--encoder", "ridge", "--target", "category"), 65, "describe no single stimulus"),
])
def test_what_cannot_be_encoded_is_refused(main, betas, tmp_path, words, code, text):
    done = main(betas.folder, tmp_path / "out", "participant", *betas.options, *words)
    assert done.code == code
    assert text in done.text
    assert not (tmp_path / "out").exists()
