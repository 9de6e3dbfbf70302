"""Functional alignment: who is aligned with whom, what the plan refuses, and a whole run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.align.report import name_of
from bids_decoder.analyses.align.scoring import join_models, score_aligned
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.config import Evaluation
from bids_decoder.errors import FindingsError
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.heldout import Heldout, Predicted
from bids_decoder.trials import Targets

N_VOXELS = 30
LABELS = ("cat", "dog", "fox") * 3


def write_dataset(folder, people, **columns):
    """Beta series in which everybody has the same patterns in voxels of a person's own order."""
    write_json(folder / "dataset_description.json", {
        "Name": "same", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    patterns = np.random.default_rng(0).normal(0, 1.5, (9, N_VOXELS))
    for person, names in people.items():
        rng = np.random.default_rng(int(person))
        order = rng.permutation(N_VOXELS)
        codes = {name: patterns[k][order] for k, name in enumerate(dict.fromkeys(names))}
        for run in range(1, 4):
            stem = f"{folder}/sub-{person}/func/sub-{person}_task-see_run-{run}_desc-singletrial"
            labels = rng.permutation(names)
            betas = np.stack([codes[name] for name in labels], axis=1)
            betas = betas + rng.normal(size=betas.shape)
            image = betas.reshape(N_VOXELS, 1, 1, -1).astype(np.float32)
            save_nifti(Path(f"{stem}_betaseries.nii.gz"), image, np.eye(4))
            save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
                "stimulus": [f"{label}{run}" for label in labels], "label": labels,
                "size": rng.normal(size=len(labels)), **columns,
            }))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    people = dict.fromkeys(("01", "02", "03"), LABELS)
    return write_dataset(tmp_path_factory.mktemp("same") / "data", people)


def words_for(folder, out, *words, levels=("participant", "--from-scratch"), target="category"):
    return [str(folder), str(out), *levels, "--skip-bids-validation", "--target", target,
            "--device", "cpu", "--nprocs", "1", "-d", f"betas={folder}", *words]


def plan(folder, tmp_path, *words, **more):
    settings, _ = parse_args(words_for(folder, tmp_path / "out", *words, **more))
    return make_plan(settings, tmp_path / "work")


def specs(made):
    return {
        job.spec.person.label: job.spec for job in made.jobs if job.analysis == "align"
    }


def sources(made):
    return {label: [p.label for p in spec.sources] for label, spec in specs(made).items()}


def errors(folder, tmp_path, *words, **more):
    with pytest.raises(FindingsError) as caught:
        plan(folder, tmp_path, *words, **more)
    return [f for f in caught.value.findings if f.severity == "error"]


# ------------------------------------------------------------------------------------------- plan


def test_it_runs_when_a_method_is_named(data, tmp_path):
    assert not specs(plan(data, tmp_path))
    made = plan(data, tmp_path, "--alignment", "procrustes", "srm", "procrustes")
    assert sources(made) == {"01": ["02", "03"], "02": ["01", "03"], "03": ["01", "02"]}
    spec = specs(made)["01"]
    assert spec.methods == ("procrustes", "srm")
    assert spec.folds == (1, 2, 3) and spec.n_refits == 100
    (decision,) = [d for d in made.decisions if d.what == "functional alignment"]
    assert decision.value == "procrustes, srm; sub-01: 2 others, 3 shared labels"


@pytest.mark.parametrize(("words", "expected"), [
    ((), {"01": ["02", "03"], "02": ["01", "03"], "03": ["01", "02"]}),
    (("--holdout-label", "03"), {"03": ["01", "02"]}),
    (("--holdout-label", "02", "03"), {"02": ["01"], "03": ["01"]}),
    (("--participant-label", "02"), {"02": ["01", "03"]}),
])
def test_the_others_are_those_that_are_pretrained_on(data, tmp_path, words, expected):
    made = plan(
        data, tmp_path, "--alignment", "srm", *words, levels=("group", "participant")
    )
    assert sources(made) == expected
    by_model = {job.spec.path.name: set(job.spec.sources) for job in made.jobs
                if job.analysis == "pretrain"}
    decoders = {job.spec.person.label: job.spec.pretrained.name for job in made.jobs
                if job.analysis == "decode"}
    assert all(by_model[decoders[label]] == set(found) for label, found in expected.items())


def test_methods_and_others_are_in_the_key(data, tmp_path):
    def key(*words):
        jobs = plan(data, tmp_path, *words).jobs
        return next(job.key.key for job in jobs if job.analysis == "align")

    first = key("--alignment", "procrustes")
    assert key("--alignment", "procrustes") == first
    assert key("--alignment", "srm") != first
    assert key("--alignment", "procrustes", "--participant-label", "01", "02") != first


def test_nobody_else_is_an_error(data, tmp_path):
    (finding,) = errors(data, tmp_path, "--alignment", "srm", "--participant-label", "02")
    assert finding.code == 65
    assert "1 participant(s): 02" in finding.what and "no other participant" in finding.why


def test_values_are_refused(data, tmp_path):
    found = errors(
        data, tmp_path, "--alignment", "srm", "--value-column", "size", target="value"
    )
    assert [f.code for f in found if "--alignment" in f.what] == [64]


def test_stimuli_that_are_all_tested_in_folds_are_refused(data, tmp_path):
    names = [f"{label}{run}" for label in dict.fromkeys(LABELS) for run in range(1, 4)]
    vectors = np.random.default_rng(0).normal(size=(len(names), 3))
    table = pd.DataFrame(vectors, names, ["a", "b", "c"]).rename_axis("stimulus").reset_index()
    save_table(tmp_path / "vectors.tsv", table)
    words = words_for(data, tmp_path / "out", "--alignment", "srm", "--features",
                      str(tmp_path / "vectors.tsv"), target="features")
    with pytest.raises(FindingsError) as found:
        make_plan(parse_args(words)[0], tmp_path / "work")
    assert any("all stimuli are tested, in folds" in one.why for one in found.value.findings)


def test_an_unknown_method_is_refused_with_the_known_ones(data, tmp_path, capsys):
    assert main(words_for(data, tmp_path / "out", "--alignment", "icp")) == 64
    assert "procrustes" in capsys.readouterr().err


def test_participants_with_other_labels_are_left_out(tmp_path):
    people = {"01": LABELS, "02": LABELS, "03": LABELS, "04": ("car", "hat", "pen") * 3}
    folder = write_dataset(tmp_path / "mixed", people)
    made = plan(folder, tmp_path, "--alignment", "procrustes", "srm")
    assert sources(made) == {"01": ["02", "03"], "02": ["01", "03"], "03": ["01", "02"]}
    first, second = (f for f in made.findings if "--alignment" in f.what)
    assert first.severity == second.severity == "warning"
    assert "1 participant(s): 04" in first.what and "shares 2 labels" in first.why
    assert "3 participant(s): 01, 02, 03" in second.what and "left out" in second.why
    (step,) = [s for s in made.steps if s.stage == "align" and s.unit == "sub-04"]
    assert not step.todo


def test_transport_between_whole_brains_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr("bids_decoder.analyses.align.plan.MOST_VOXELS", 10)
    (finding,) = errors(data, tmp_path, "--alignment", "ot")
    assert finding.code == 64 and "3 participant(s): 01, 02, 03" in finding.what
    assert "--region" in finding.fix
    assert specs(plan(data, tmp_path, "--alignment", "srm"))
    mask = tmp_path / "mask.nii.gz"
    save_nifti(mask, np.ones((N_VOXELS, 1, 1), np.uint8), np.eye(4))
    assert specs(plan(data, tmp_path, "--alignment", "ot", "--region", str(mask)))


def test_nobody_who_shares_labels_is_an_error(tmp_path):
    folder = write_dataset(tmp_path / "apart", {"01": LABELS, "02": ("car", "hat", "pen") * 3})
    (finding,) = errors(folder, tmp_path, "--alignment", "srm")
    assert finding.code == 65 and "2 participant(s): 01, 02" in finding.what


def test_srm_needs_labels_that_all_share(tmp_path):
    people = {
        "01": ("cat", "dog", "fox") * 3, "02": ("cat", "dog", "hat") * 3,
        "03": ("cat", "fox", "hat") * 3,
    }
    folder = write_dataset(tmp_path / "ring", people)
    assert set(sources(plan(folder, tmp_path, "--alignment", "procrustes"))) == set(people)
    (finding,) = errors(folder, tmp_path, "--alignment", "procrustes", "srm")
    assert finding.why.startswith("srm:") and "3 participant(s)" in finding.what
    assert "procrustes" in finding.fix


# ----------------------------------------------------------------------------------------- scores


def test_stimuli_are_compared_with_the_decoder_and_own_data():
    rng = np.random.default_rng(0)
    targets = Targets(tuple(f"s{k:02d}" for k in range(20)),
                      rng.standard_normal((20, 5)).astype(np.float32), "features")
    trials = pd.DataFrame({"stimulus": targets.ids, "run_group": "1", "fold": "1"})

    def predicted(noise):
        return Predicted(targets.vectors + noise * rng.standard_normal((20, 5)), targets.vectors,
                         None)

    decoded = Heldout(trials, {name: predicted(5) for name in ("decoder", "ridge-all", "x")})
    aligned = Heldout(trials, {"srm-others": predicted(0.1)})
    fold = join_models(aligned, decoded, "features")
    assert list(fold.models) == ["decoder", "ridge-all", "srm-others"]
    metrics, comparisons, nulls = score_aligned(
        [fold], targets, Evaluation(n_permutations=19, pool_size=20), 0
    )
    assert set(metrics["model"]) == set(nulls.table["model"]) == {"srm-others"}
    gaps = comparisons.set_index(["first", "second"])["value"]
    assert gaps["decoder", "srm-others"] < -0.5 < 0.5 < gaps["srm-others", "ridge-all"]


def test_names_in_words():
    assert name_of("ot-both") == "optimal transport, others' and own trials"
    assert name_of("srm-others") == "shared response model, others' trials"


# -------------------------------------------------------------------------------------- whole run


def test_whole_run_with_permutations(tmp_path, data):
    out = tmp_path / "out"
    words = words_for(
        data, out, "--alignment", "procrustes", "srm", "ot", "--n-permutations", "19", "-w",
        str(tmp_path / "work"), "--participant-label", "01", "02",
    )
    assert main(words) == 0
    table = read_table(next(out.glob("sub-01/func/*_desc-alignment_metrics.tsv")))
    own = table[table["metric"] == "balanced_accuracy"].set_index("model")
    assert list(own.index) == ["procrustes-others", "procrustes-both", "srm-others", "srm-both",
                               "ot-others", "ot-both"]
    assert (own["value"].astype(float) > 0.6).all()
    assert (own["null"] == "refitted").all() and (own["p"].astype(float) <= 0.05).all()
    card = read_json(next(out.glob("sub-01/func/*_desc-alignment_metrics.json")))
    assert card["SourceParticipants"] == ["02"] and card["Methods"] == ["procrustes", "srm", "ot"]
    nulls = read_table(next(out.glob("sub-01/func/*_desc-alignmentnull_metrics.tsv")))
    counts = nulls[nulls["metric"] == "accuracy"].groupby("model").size()
    assert dict(counts) == dict.fromkeys(own.index, 19)
    gaps = read_table(next(out.glob("sub-01/func/*_desc-alignment_comparisons.tsv")))
    assert set(zip(gaps["first"], gaps["second"], strict=True)) == {
        pair for name in own.index for pair in (("decoder", name), (name, "svm-all"))
    }
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert 'id="alignment"' in page and "Chen" in page and "own data alone" in page
    assert "optimal transport, others" in page and "Flamary" in page
    settings, _ = parse_args(words)
    assert not any(step.todo for step in make_plan(settings, tmp_path / "work").steps)
