"""Models in spheres: what the plan refuses, and a whole run with its outputs."""

import nibabel as nib
import numpy as np
import pytest
from things_betas import ANIMATE, NAMES, SHAPE, words_for, write_dataset, write_model

from bids_decoder.bids.writer import read_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError
from bids_decoder.files import read_json
from bids_decoder.reports.results import Results, numeric

RSA = ("--searchlight-estimator", "rsa")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("things") / "data")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    other = ("cat", "cup", "jar")
    return [
        write_model(folder / "animate.tsv", lambda a, b: (a in ANIMATE) != (b in ANIMATE)),
        write_model(folder / "other.tsv", lambda a, b: (a in other) != (b in other)),
    ]


@pytest.fixture
def plan(data, tmp_path):
    def make(*words):
        settings, _ = parse_args(words_for(data, tmp_path / "out", *words))
        return make_plan(settings, tmp_path / "work")

    return make


def refused(plan, *words):
    with pytest.raises(FindingsError) as caught:
        plan(*words)
    return [f for f in caught.value.findings if f.severity == "error"]


def test_maps_are_planned_where_the_estimator_asks_for_them(plan, models):
    def jobs(*words):
        made = plan("--rsa", *models, *words)
        return {job.name: job for job in made.jobs if job.name.endswith("01_wf")}

    stages = ("--stage", "prepare", "searchlight", "rsa")
    both = jobs("--searchlight", "5mm", *stages)
    assert "searchlight_01_wf" in both and "rsasearch_01_wf" not in both
    found = jobs("--searchlight", "5mm", *RSA)
    assert "rsasearch_01_wf" in found and "searchlight_01_wf" not in found
    assert found["rsasearch_01_wf"].spec.n_permutations == 100
    assert found["rsa_01_wf"].key.key == both["rsa_01_wf"].key.key
    other = jobs("--searchlight", "6mm", *RSA)
    assert other["rsasearch_01_wf"].key.key != found["rsasearch_01_wf"].key.key


@pytest.mark.parametrize(("words", "parts"), [
    (("--searchlight", "5mm"), ["no model is named"]),
    (("--rsa", "MODEL"), ["no size of the spheres"]),
    (("--rsa", "MODEL", "--searchlight", "2mm"), ["no other voxel"] * 2),
    (("--rsa", "MODEL", "--searchlight", "61vox"), ["60 voxels only"] * 2),
    (("--rsa", "MODEL", "--searchlight", "5mm", "--stage", "prepare", "searchlight"),
     ["made by another stage"]),
])
def test_what_makes_no_maps_is_refused(plan, models, words, parts):
    words = [str(models[0]) if word == "MODEL" else word for word in words]
    found = refused(plan, *RSA, *words)
    assert len(found) == len(parts)
    assert {finding.code for finding in found} == {64}
    for finding, part in zip(found, parts, strict=True):
        assert part in finding.why


def test_models_and_spheres_are_refused_together(plan, tmp_path):
    short = write_model(tmp_path / "short.tsv", lambda a, b: a != b, NAMES[:4])
    config = tmp_path / "settings.toml"
    config.write_text("[searchlight]\nshrinkage = 0.3\n")
    words = ("--rsa", short, "--searchlight", "1mm", "--config-file", config)
    whys = " ".join(finding.why for finding in refused(plan, *RSA, *words))
    for part in ("no row and column for", "no other voxel", "estimates it in each sphere"):
        assert part in whys


@pytest.fixture(scope="module")
def run(data, models, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    words = words_for(data, out, "--rsa", *models, "--n-permutations", 99, "--searchlight", "5mm",
                      *RSA)
    assert main([*words, "--stage", "prepare", "rsa"]) == 0
    return Results(out, "01")


def stat(run, model, name):
    (path,) = run.files("rsa_search_map", stat=name, label=model)
    return np.asarray(nib.load(path).dataobj), read_json(
        path.with_name(path.name.replace(".nii.gz", ".json"))
    )


@pytest.mark.slow
def test_the_model_of_the_patterns_fits_everywhere(run):
    fit, card = stat(run, "animate", "whitenedcorrelation")
    assert fit.shape == SHAPE and fit.min() > 0.4
    (mask,) = run.files("rsa_search_mask")
    assert np.asarray(nib.load(mask).dataobj).sum() == card["Spheres"]
    assert fit.mean() > stat(run, "other", "whitenedcorrelation")[0].mean() + 0.5
    assert (card["Model"], card["Conditions"], card["Runs"]) == ("animate", 6, 4)
    assert (card["Permutations"], card["Radius"], card["Chance"]) == (99, 5, 0)
    assert card["SmallestP"] > 0.05
    assert card["SpheresWithoutDistances"] == 0


@pytest.mark.slow
def test_maps_are_corrected_for_spheres_and_models(run):
    single, largest, clusters = (
        10 ** -stat(run, "animate", name)[0] for name in ("logp", "logpmax", "logptfce")
    )
    assert (largest >= single - 1e-6).all() and (clusters >= 0.01 - 1e-6).all()
    text = stat(run, "animate", "logpmax")[1]["Description"]
    assert "corrected for all spheres and models" in text


@pytest.mark.slow
def test_peaks_report_and_methods_of_maps(run):
    peaks = read_table(run.files("rsa_search_peaks")[0])
    assert set(peaks["model"]) == {"animate", "other"}
    own = numeric(peaks[peaks["model"] == "animate"], "value")["value"]
    assert own.is_monotonic_decreasing and own.iloc[0] > 0.7
    page = (run.output_dir / "sub-01.html").read_text(encoding="utf-8")
    for part in ("Representational similarity in spheres", "animate: peaks", "None can be"):
        assert part in page
    assert list(run.output_dir.glob("sub-01/figures/*desc-rsasearchanimate_figure.png"))
    text = (run.output_dir / "logs" / "CITATION.md").read_text(encoding="utf-8")
    for part in ("sphere around each of 60 voxels", "exchanged 99 times, the same way in all"):
        assert part in text
