"""Regions on surfaces, end to end: an annotation of two regions, on the data of the patch."""

import json

import nibabel as nib
import numpy as np
import pytest
import surface_derivatives as surface

from bids_decoder.bids.surfaces import hemisphere_names
from bids_decoder.bids.writer import read_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError

POINTS, _ = surface.sphere()
UPPER = surface.patch_of(POINTS)


def write_annotation(folder, n=None):
    """Upper and lower part of both hemispheres; the front of the lower part is unknown."""
    folder.mkdir(exist_ok=True)
    labels = np.where(UPPER, 1, np.where(POINTS[:, 1] > 20, 0, 2))[:n]
    colours = np.array([[25, 5, 25, 0], [100, 25, 0, 0], [125, 100, 160, 0]])
    for side in "lr":
        nib.freesurfer.write_annot(folder / f"{side}h.two.annot", labels, colours,
                                   ["unknown", "upper", "lower"], fill_ctab=True)
    return folder / "lh.two.annot"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surfaces")
    surface.write_surface_dataset(folder)
    write_annotation(folder / "label")
    return folder


def words_for(data, *words):
    return [str(word) for word in (
        data / "raw", data / "out", "participant", "-d", f"fmriprep={data / 'prep'}",
        "--output-spaces", "fsnative", "--from-scratch", "--nprocs", "1", "--stage", "prepare",
        "regions", "--n-permutations", "39", "-w", data / "work", *words,
    )]


def refused(data, *words):
    settings, _ = parse_args(words_for(data, "--regions", *words))
    with pytest.raises(FindingsError) as caught:
        make_plan(settings, data / "work")
    return [f for f in caught.value.findings if f.severity == "error"]


def test_atlases_of_volumes_are_refused(data):
    findings = refused(data, "aparcaseg", "Schaefer2018:100Parcels7Networks")
    assert [f.code for f in findings] == [64, 64]
    assert all("lh.NAME.annot" in f.fix and "is in a volume" in f.why for f in findings)


def test_annotations_of_other_surfaces_are_refused(data, tmp_path):
    (finding,) = refused(data, write_annotation(tmp_path, 100))
    assert finding.code == 65 and "100 and 100 vertices" in finding.why
    assert "162 and 162" in finding.why


@pytest.fixture(scope="module")
def out(data):
    # Both hemispheres by name are the same annotation.
    words = [data / "label" / f"{side}h.two.annot" for side in "lr"]
    assert main(words_for(data, "--regions", *words)) == 0
    return data / "out"


@pytest.mark.slow
def test_the_region_with_signal_wins(out):
    path = next(out.glob("sub-01/func/*_desc-regions_metrics.tsv"))
    table = read_table(path).set_index("region")
    assert sorted(table.index) == ["lh_lower", "lh_upper", "rh_lower", "rh_upper"]
    assert set(table["atlas"]) == {"two"}
    value, p = table["value"].astype(float), table["p_max"].astype(float)
    assert value["lh_upper"] > 0.75 and (value.drop("lh_upper") < 0.7).all()
    assert p["lh_upper"] == pytest.approx(1 / 40) and (p.drop("lh_upper") > 0.05).all()
    card = json.loads(path.with_suffix(".json").read_text())
    assert (card["Grid"], card["LeftOut"]) == ("surface", [])


@pytest.mark.slow
def test_maps_are_gifti_and_drawn(out):
    path = next(out.glob("sub-01/func/*_stat-accuracy_desc-regions_statmap.nii.gz"))
    values = nib.load(path).get_fdata().ravel()
    left, right = np.split(values, 2)
    assert len(set(left[UPPER])) == 1 and left[UPPER][0] > 0.75
    assert (left[~UPPER & (POINTS[:, 1] > 20)] == 0).all() and (right[UPPER] < 0.7).all()
    sides = [nib.load(side).darrays[0].data for side in hemisphere_names(path)]
    np.testing.assert_allclose(np.concatenate(sides), values, rtol=1e-6)
    for kind in ("regions_figure.svg", "regionsmap_figure.png", "regionssignificant_figure.png"):
        assert list(out.glob(f"sub-01/figures/*desc-{kind}")), kind
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "in each region, where above 0, on the surfaces" in page
    text = (out / "logs" / "CITATION.md").read_text(encoding="utf-8")
    assert "Each of 4 regions (two)" in text and "those of the same vertices" in text
