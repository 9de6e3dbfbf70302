"""Representational similarity: what the plan refuses, and whole runs on labels and on stimuli."""

import numpy as np
import pandas as pd
import pytest
from things_betas import ANIMATE, NAMES, SHAPE, words_for, write_dataset, write_model

from bids_decoder.analyses.rsa.models import (
    apart,
    labels_of,
    make_model,
    model_of_vectors,
    read_model,
)
from bids_decoder.analyses.rsa.options import Rsa, model_name
from bids_decoder.analyses.rsa.region_outputs import read_regions_table
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError, InputError, MissingInputError, UsageError
from bids_decoder.reports.results import Results, numeric
from bids_decoder.stimuli.sketch import N_BINS, sketch


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("things") / "data")


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    labels = np.ones(SHAPE, dtype=np.int16)
    labels[2:] = 2
    path = tmp_path_factory.mktemp("roi") / "halves.nii.gz"
    save_nifti(path, labels, np.eye(4) * 3)
    return path


@pytest.fixture(scope="module")
def animate(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "animate.tsv"
    return write_model(path, lambda a, b: (a in ANIMATE) != (b in ANIMATE))


@pytest.fixture
def refused(data, tmp_path):
    def plan(*words):
        settings, _ = parse_args(words_for(data, tmp_path / "out", *words))
        with pytest.raises(FindingsError) as caught:
            make_plan(settings, tmp_path / "work")
        return [f for f in caught.value.findings if f.severity == "error"]

    return plan


@pytest.mark.parametrize(("content", "part"), [
    (lambda a, b: 0, "all dissimilarities are equal"),
    (lambda a, b: a < b, "not symmetric"),
    (lambda a, b: np.nan if "cow" in (a, b) else a != b, "not symmetric, or holds values"),
])
def test_models_that_say_nothing_are_refused(refused, tmp_path, content, part):
    found = refused("--rsa", write_model(tmp_path / "model.tsv", content))
    assert {finding.code for finding in found} == {65}
    assert part in found[0].why


def test_absent_files_names_and_kinds_are_told_at_once(refused, tmp_path):
    short = write_model(tmp_path / "short.tsv", lambda a, b: a != b, NAMES[:4])
    words = refused("--rsa", tmp_path / "no.tsv", short, tmp_path / "model.mat", "label")
    found = {finding.what.split("/")[-1]: finding for finding in words}
    assert found["no.tsv"].code == 66 and found["short.tsv"].code == 65
    assert "jar, pan" in found["short.tsv"].why
    assert "--rsa label" in found and found["--rsa label"].code == 64
    (tmp_path / "more").mkdir()
    again = refused("--rsa", short, write_model(tmp_path / "more/short.tsv", lambda a, b: a != b))
    assert any("several models have this name" in finding.why for finding in again)


def test_a_stage_without_model_is_refused(data, tmp_path):
    words = [word for word in words_for(data, tmp_path / "out") if word != "prepare"]
    with pytest.raises(FindingsError) as caught:
        make_plan(parse_args(words)[0], tmp_path / "work")
    assert caught.value.findings[0].code == 64


def test_rows_and_columns_need_the_same_names(tmp_path):
    path = tmp_path / "model.csv"
    path.write_text("x,cat,dog\ncat,0,1\ncow,1,0\n", encoding="utf-8")
    with pytest.raises(InputError, match="dog"):
        read_model(path, ["cat", "dog"])
    path.write_bytes(b"\xff\xfe\x00" * 50)
    with pytest.raises(InputError):
        read_model(path, ["cat", "dog"])


def test_words_become_absolute_before_steps_change_their_folder(monkeypatch, tmp_path, data):
    monkeypatch.chdir(tmp_path)
    settings, _ = parse_args(words_for(data, "out", "--rsa", "a.tsv", "b.tsv:size", "label"))
    assert settings.section(Rsa).models == (
        str(tmp_path / "a.tsv"), f"{tmp_path / 'b.tsv'}:size", "label"
    )


def test_pairs_that_are_never_together_are_found():
    trials = pd.DataFrame({
        "label": list("abab" "cdcd"), "run_group": ["1", "1", "2", "2", "3", "3", "4", "4"],
    })
    assert apart(trials, list("ab"), "category") == []
    assert apart(trials, list("abcd"), "category")[0] == ("a", "c")


def test_a_label_of_each_stimulus_is_no_model():
    trials = pd.DataFrame({"stimulus": list("abcd"), "label": list("abcd")})
    with pytest.raises(UsageError, match="all dissimilarities are equal"):
        labels_of(trials, list("abcd"))
    assert labels_of(trials.assign(label=list("xxyy")), list("abcd"))["d"] == "y"


def test_an_empty_diagonal_is_zero(tmp_path):
    path = tmp_path / "model.csv"
    path.write_text("x,a,b,c\na,n/a,1,2\nb,1,n/a,3\nc,2,3,n/a\n", encoding="utf-8")
    np.testing.assert_array_equal(np.diag(read_model(path, list("abc"))), 0)


def test_further_names_are_left_out_and_order_is_that_of_conditions(animate):
    found = read_model(animate, ["pan", "cat", "dog", "cup"])
    np.testing.assert_array_equal(found[1], [1, 0, 0, 1])


def test_columns_of_tables_are_models(tmp_path):
    path = tmp_path / "stimuli.tsv"
    path.write_text("id\tsize\tkind\tone\ncat\t1\tx\t1\ncup\t3\ty\t1\ndog\t1\tx\t1\n")
    names = ["cup", "cat", "dog"]
    assert model_name(f"{path}:size") == "size"
    np.testing.assert_array_equal(make_model(f"{path}:size", names)[0], [0, 4, 4])
    np.testing.assert_array_equal(make_model(f"{path}:kind", names)[1], [1, 0, 0])
    for column, part in (("one", "all dissimilarities"), ("colour", "has the columns")):
        with pytest.raises(InputError, match=part):
            make_model(f"{path}:{column}", names)
    with pytest.raises(InputError, match="no value for pan"):
        make_model(f"{path}:size", ["cat", "pan"])
    path.write_text("id\tsize\ncat\t1\ncat\t3\ndog\t5\n")
    with pytest.raises(InputError, match="several rows for cat"):
        make_model(f"{path}:size", ["cat", "dog"])
    with pytest.raises(MissingInputError):
        make_model(f"{tmp_path}/none.tsv:size", ["cat"])


def test_npz_holds_what_a_table_holds(animate, tmp_path):
    np.savez(tmp_path / "m.npz", names=np.array(NAMES), rdm=make_model(str(animate), NAMES))
    wanted = ["pan", "cat", "dog", "cup"]
    np.testing.assert_array_equal(
        make_model(str(tmp_path / "m.npz"), wanted), make_model(str(animate), wanted)
    )
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    np.savez(tmp_path / "other.npz", rdm=np.zeros((2, 2)))
    for name in ("bad.npz", "other.npz"):
        with pytest.raises(InputError, match="cannot be read"):
            make_model(str(tmp_path / name), wanted)
    np.savez(tmp_path / "size.npz", names=np.array(NAMES), rdm=np.zeros((2, 2)))
    with pytest.raises(InputError, match="have the shapes"):
        make_model(str(tmp_path / "size.npz"), wanted)


def test_lack_of_memory_is_no_damage_of_a_model(tmp_path, monkeypatch):
    np.savez(tmp_path / "m.npz", names=np.array(NAMES), rdm=np.zeros((2, 2)))

    def fail(*args, **kwargs):
        raise MemoryError("Unable to allocate 40 GiB")

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(MemoryError, match="Unable"):
        make_model(str(tmp_path / "m.npz"), ["pan", "cat"])


def test_regions_are_planned_once_for_all(data, animate, halves, tmp_path):
    def plan(*words):
        settings, _ = parse_args(words_for(data, tmp_path / "out", "--rsa", animate, *words))
        return make_plan(settings, tmp_path / "work")

    names = [job.name for job in plan("--regions", halves).jobs if job.analysis == "rsa"]
    assert names == ["rsa_01_wf", "rsaregions_01_wf", "rsa_02_wf", "rsaregions_02_wf"]
    assert len([job for job in plan().jobs if job.analysis == "rsa"]) == 2

    def keys(*words):
        return {job.name: job.key.key for job in plan(*words).jobs}

    first, other = keys("--regions", halves), keys("--regions", str(halves), "--random-seed", 3)
    assert first["rsa_01_wf"] == keys()["rsa_01_wf"] != other["rsa_01_wf"]
    assert first["rsaregions_01_wf"] != other["rsaregions_01_wf"]
    away = tmp_path / "away.nii.gz"
    save_nifti(away, np.ones(SHAPE, dtype=np.int16), np.diag([3, 3, 3, 1.0]) + 500 * np.eye(4, k=3))
    with pytest.raises(FindingsError) as caught:
        plan("--regions", away, "--stage", "prepare", "rsa", "regions")
    assert [f.code for f in caught.value.findings if f.severity == "error"] == [65, 65]


def test_the_model_of_the_patterns_is_found(data, animate, halves, tmp_path):
    other = write_model(
        tmp_path / "other.tsv", lambda a, b: (a in ("cat", "cup", "jar")) != (b in ("cat", "cup",
                                                                                   "jar"))
    )
    out = tmp_path / "out"
    words = words_for(data, out, "--rsa", animate, other, "--n-permutations", 99,
                      "--regions", halves)
    assert main([*words, "--stage", "prepare", "rsa", "population"]) == 0
    results = Results(out, "01")
    metrics = numeric(results.table("rsa_metrics"), "value", "p", "p_max", "p_min").set_index(
        "model")
    assert metrics.loc["animate", "value"] > 0.8 > metrics.loc["other", "value"]
    assert metrics.loc["animate", "p"] < 0.3 and (metrics["p_max"] >= metrics["p"]).all()
    assert len(results.table("rsa_nulls")) == 2 * 99
    distances = read_table(results.files("rsa_distances")[0]).set_index("condition").astype(float)
    assert list(distances.index) == list(NAMES) == list(distances.columns)
    np.testing.assert_allclose(distances, distances.T)
    assert len(results.files("rsa_model")) == 2
    assert set(results.card("rsa_metrics")) >= {"Shrinkage", "Runs", "Permutations"}
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "Representational similarity" in page and "Crossnobis distances of 6" in page
    statistics = results.output_dir / "group" / "desc-group_metrics.tsv"
    assert set(read_table(statistics)["source"]) == {"rsa"}
    group = (out / "group.html").read_text(encoding="utf-8")
    assert "Noise ceiling over 2 participants and 6 conditions" in group
    check_people(results, metrics)
    assert not results.files("rsa_comparisons") and "6 conditions are too few" in page
    check_regions(results, metrics)
    assert "Representational similarity in regions" in page
    assert list(out.glob("sub-01/figures/*desc-rsaregions_figure.svg"))
    assert "each of 2 regions (halves)" in (out / "logs" / "CITATION.md").read_text("utf-8")


def check_regions(results, whole):
    table = read_regions_table(results).set_index(["region", "model"])
    assert len(table) == 4 and table["n_voxels"].groupby("region").first().sum() == 60
    assert (table.xs("animate", level="model")["value"] > 0.6).all()
    assert (table["p_max"] >= table["p"]).all()
    np.testing.assert_allclose(
        table.xs("animate", level="model")["p_min"], whole.loc["animate", "p_min"]
    )
    null = read_table(results.files("rsa_region_nulls")[0])
    assert len(null) == 4 * 99
    largest = null["value"].astype(float).groupby(null["permutation"]).max()
    value = table["value"].max()
    assert table["p_max"].min() == pytest.approx((1 + (largest >= value - 1e-9).sum()) / 100)
    distances = read_table(results.files("rsa_region_distances")[0])
    assert len(distances) == 15 and list(distances["other"][:5]) == list(NAMES[1:])


def check_people(results, whole):
    table = read_table(results.output_dir / "group" / "desc-rsa_metrics.tsv")
    for own in (table[table["region"].isna()], table[table["region"] == "1"]):
        assert (own["statistic"] == "mean").sum() == 2
    means = table[table["region"].isna() & (table["statistic"] == "mean")].set_index("model")
    both = [numeric(Results(results.output_dir, label).table("rsa_metrics"), "value")["value"][0]
            for label in ("01", "02")]
    assert float(means.loc["animate", "value"]) == pytest.approx(np.mean(both))
    assert set(means["method"]) == {"these participants and conditions"}
    assert whole.loc["animate", "value"] == pytest.approx(both[0])


@pytest.mark.parametrize("vectors", [
    np.ones((4, 1)), np.vstack([np.eye(3), np.zeros((1, 3))]), np.tile(np.arange(3.0), (4, 1)),
])
def test_vectors_without_a_model_are_refused(vectors):
    with pytest.raises(InputError, match="no correlation"):
        model_of_vectors(vectors)


def test_means_of_long_vectors_are_subtracted():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((5, 20_000)) + rng.standard_normal(20_000)
    moved = sketch(vectors + np.arange(5)[:, None])
    found = model_of_vectors(moved, 20_000)
    np.testing.assert_allclose(found, model_of_vectors(vectors), atol=5 / np.sqrt(N_BINS))
    assert np.abs(model_of_vectors(moved) - model_of_vectors(vectors)).max() > 0.2


def test_long_vectors_of_equal_numbers_are_refused():
    vectors = np.vstack([np.random.default_rng(0).standard_normal((3, 9000)), np.ones((1, 9000))])
    with pytest.raises(InputError, match="no correlation"):
        model_of_vectors(sketch(vectors), 9000)


def test_vectors_without_a_model_are_refused_in_the_plan(refused, tmp_path):
    table = pd.DataFrame({"size": np.arange(len(NAMES))}, NAMES).rename_axis("stimulus")
    save_table(tmp_path / "features.tsv", table.reset_index())
    words = ("--target", "features", "--features", tmp_path / "features.tsv", "--rsa", "features")
    found = {finding.what: finding for finding in refused(*words)}
    assert "have no correlation" in found["--rsa features"].why
    assert found["--rsa features"].code == 65
