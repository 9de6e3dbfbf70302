"""Learning curves: what the plan says, subsets without test trials, and a whole run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.learning.amounts import Amounts
from bids_decoder.analyses.learning.fits import (
    SubsetHits,
    hits_of_subset,
    read_hits,
    save_hits,
    stack_sizes,
)
from bids_decoder.analyses.learning.measuring import Design, measure_curves
from bids_decoder.analyses.learning.sentences import say_need, say_pretraining
from bids_decoder.bids.writer import read_table, save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.config import Network, Troi
from bids_decoder.errors import FindingsError, LeakageError
from bids_decoder.evaluation.subsets import keep_runs
from bids_decoder.files import read_json, write_json
from bids_decoder.interfaces.responses import (
    TABLE,
    collect_responses,
    load_person,
    load_sides,
    read_trials,
)
from bids_decoder.training.decoders import FitContext
from bids_decoder.training.ensemble import load_decoder
from bids_decoder.trials import Targets

SHAPE, LABELS = (6, 5, 4), ("cat", "dog", "fox") * 4
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
TARGETS = Targets(("cat", "dog", "fox"), np.eye(3, dtype=np.float32), "category")


def write_dataset(folder, people=(("01", 6),), strength=0.8):
    """Beta series with weak patterns of three labels; each run takes two minutes."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "weak", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    for person, n_runs in people:
        patterns = {name: rng.normal(0, strength, SHAPE) for name in sorted(set(LABELS))}
        for run in range(1, n_runs + 1):
            stem = f"{folder}/sub-{person}/func/sub-{person}_task-see_run-{run}_desc-singletrial"
            labels = rng.permutation(LABELS)
            betas = rng.normal(size=(*SHAPE, len(labels)))
            for trial, label in enumerate(labels):
                betas[:2, :2, :2, trial] += patterns[label][:2, :2, :2]
            save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas.astype(np.float32), AFFINE)
            save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
                "onset": np.arange(len(labels)) * 10.0, "duration": 10.0,
                "stimulus": [f"{label}{run}" for label in labels], "label": labels,
            }))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("weak") / "data")


def words_for(folder, out, *words):
    return [str(folder), str(out), "participant", "--from-scratch", "--skip-bids-validation",
            "--target", "category", "--device", "cpu", "--nprocs", "1", "--n-permutations", "0",
            "-d", f"betas={folder}", *words]


def plan(folder, tmp_path, *words):
    settings, _ = parse_args(words_for(folder, tmp_path / "out", *words))
    return make_plan(settings, tmp_path / "work")


# ------------------------------------------------------------------------------------------- plan


def test_it_runs_when_it_is_asked_for(data, tmp_path):
    assert not [job for job in plan(data, tmp_path).jobs if job.analysis == "learning"]
    for words in (("--learning-curve",), ("--learning-target", "0.9")):
        made = plan(data, tmp_path, *words)
        (job,) = [job for job in made.jobs if job.analysis == "learning"]
        assert job.is_due
        assert job.spec.subsets.sizes == (1, 2, 3, 4, 5)
        assert job.spec.amounts == Amounts(6, 12.0, pytest.approx(2.0), "trials")
        assert "learning curve" in {d.what for d in made.decisions}


def test_target_changes_the_key_and_nothing_else_does(data, tmp_path):
    def key(*words):
        jobs = plan(data, tmp_path, *words).jobs
        return next(job.key.key for job in jobs if job.analysis == "learning")

    first = key("--learning-curve")
    assert key("--learning-curve") == first
    assert key("--learning-target", "0.9") != first


def test_nobody_with_enough_runs_is_an_error(tmp_path):
    folder = write_dataset(tmp_path / "few", (("01", 3), ("02", 2)))
    with pytest.raises(FindingsError) as caught:
        plan(folder, tmp_path, "--learning-curve")
    (finding,) = [f for f in caught.value.findings if f.severity == "error"]
    assert finding.code == 64
    assert "2 participant(s): 01, 02" in finding.what


def test_some_with_too_few_runs_are_left_out(tmp_path):
    folder = write_dataset(tmp_path / "mixed", (("01", 5), ("02", 2)))
    made = plan(folder, tmp_path, "--learning-curve")
    assert [job.spec.person.label for job in made.jobs if job.analysis == "learning"] == ["01"]
    (finding,) = [f for f in made.findings if "--learning-curve" in f.what]
    assert finding.severity == "warning"
    (step,) = [s for s in made.steps if s.stage == "learning" and s.unit == "sub-02"]
    assert not step.todo


def test_target_out_of_range_is_refused_on_the_command_line(data, tmp_path, capsys):
    code = main(words_for(data, tmp_path / "out", "--learning-target", "1.2"))
    assert code == 64
    assert "between 0 and 1" in capsys.readouterr().err


# -------------------------------------------------------------------------------------- subsets


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """Joined responses, with the split of the plan."""
    root = tmp_path_factory.mktemp("joined")
    made = plan(data, root)
    work = made.study.people["01"]
    tables = []
    for run in work.participant.runs:
        table = made.study.tables["01"]
        path = root / f"{run.run_group}.tsv"
        save_table(path, table[table["run_group"] == run.run_group])
        tables.append(path)
    betas = [run.image_file for run in work.participant.runs]
    out = root / "responses"
    out.mkdir()
    return collect_responses(betas, tables, [], out)


def sides(folder, runs, fold=1):
    trials = keep_runs(read_trials(folder / TABLE), fold, runs)
    return load_sides(folder, "01", trials, TARGETS, "session")


def test_subset_is_loaded_as_if_no_other_run_had_been_measured(folder):
    runs = ["task-see_run-2", "task-see_run-4"]
    train, test = sides(folder, runs)
    assert set(train.trials["run_group"]) == set(runs)
    assert set(test.trials["run_group"]) == {"task-see_run-1"}
    # z-scores of the subset, not of all training trials.
    np.testing.assert_allclose(train.betas.mean(axis=0), 0, atol=1e-5)
    whole, all_test = load_person(folder, "01", TARGETS, fold=1, normalise="session")
    assert len(whole.trials) == 60
    pd.testing.assert_frame_equal(test.trials, all_test.trials)
    assert not np.allclose(test.betas, all_test.betas)


def context(seed=0):
    return FitContext(Network(), Troi(), seed, "cpu")


def test_a_test_trial_among_the_training_trials_stops_the_fit(folder):
    train, test = sides(folder, ["task-see_run-2", "task-see_run-3"])
    leaking = replace(test, trials=train.trials.iloc[: len(test.trials)].assign(split="test"))
    with pytest.raises(LeakageError):
        hits_of_subset(load_decoder("troi"), (train, leaking), TARGETS, None, context(), 300)


def fold_hits(folder, fold, shuffled=None):
    runs = [f"task-see_run-{k}" for k in range(1, 7) if k != fold]
    pairs = [sides(folder, runs[:size], fold) for size in (1, 3, 5)]
    if shuffled is not None:
        pairs = [(replace(a, target_rows=shuffled.permutation(a.target_rows)), b)
                 for a, b in pairs]
    decoder = load_decoder("troi")
    found = [hits_of_subset(decoder, pair, TARGETS, None, context(), 300) for pair in pairs]
    return stack_sizes(fold, 0, found, pairs, TARGETS)


DESIGN = Design((1, 3, 5), Amounts(6, 12.0, 2.0, "trials"), "category", 300, None, 0)


def test_permuted_labels_stay_at_chance_and_true_ones_rise(folder, tmp_path):
    true = [fold_hits(folder, fold) for fold in (1, 4)]
    rng = np.random.default_rng(0)
    null = [fold_hits(folder, fold, rng) for fold in (1, 4) for _ in range(2)]
    null = [replace(part, draw=k % 2) for k, part in enumerate(null)]
    curve = measure_curves(true, DESIGN).curve
    own = curve[curve["model"] == "decoder"]["value"].to_numpy()
    assert own[-1] > own[0] and own[-1] > 0.55
    flat = measure_curves(null, DESIGN)
    chance = flat.curve[flat.curve["model"] == "decoder"]
    assert chance["value"].between(0.12, 0.55).all()
    np.testing.assert_allclose(chance["chance"], 1 / 3)
    assert (flat.needs.loc[flat.needs["model"] == "decoder", "verdict"] == "no rise").all()
    again = read_hits(save_hits(tmp_path / "hits.npz", true[0]))
    assert again.values.keys() == true[0].values.keys()
    np.testing.assert_array_equal(again.labels, true[0].labels)


def test_largest_subset_of_the_first_draw_counts_for_all_draws():
    rng = np.random.default_rng(0)
    labels, clusters = np.array(["a", "b"] * 20), np.repeat(["1", "2"], 20)

    def part(draw, n_sizes):
        values = {("decoder", "balanced_accuracy"): (rng.random((n_sizes, 40)) < 0.7) * 1.0}
        return SubsetHits(1, draw, values, labels, clusters, np.array([10, 20, 40])[:n_sizes])

    parts = [part(0, 3), part(1, 2)]
    table = measure_curves(parts, DESIGN).curve
    first = parts[0].values["decoder", "balanced_accuracy"][-1]
    expected = np.mean([first[labels == name].mean() for name in "ab"])
    assert table["value"].iloc[-1] == pytest.approx(expected)
    assert table["n_draws"].unique().tolist() == [2]


def curve_of(values, n_trials=400):
    """Hits of the decoder with exactly these scores, in two runs."""
    labels, clusters = np.tile(["a", "b"], n_trials // 2), np.repeat(["1", "2"], n_trials // 2)
    ranks = np.arange(n_trials) // 2 / (n_trials / 2)
    hits = np.stack([(np.random.default_rng(0).permutation(ranks) < value) * 1.0
                     for value in values])
    sizes = np.array([10, 20, 40, 80])[:len(values)]
    found = {("decoder", "balanced_accuracy"): hits}
    return [SubsetHits(1, draw, found, labels, clusters, sizes) for draw in range(3)]


def needs_of(values, target, sizes=(1, 2, 4, 8)):
    design = replace(DESIGN, sizes=sizes, target=target)
    table = measure_curves(curve_of(values), design).needs
    return table[table["model"] == "decoder"].iloc[0]


def test_a_score_that_is_there_is_reached_even_without_rise():
    assert needs_of([0.95, 0.95, 0.95, 0.95], 0.8)["verdict"] == "reached"
    assert needs_of([0.9, 0.9, 0.9, 0.9], 0.99)["verdict"] == "no rise"


def test_a_score_that_all_runs_do_not_have_is_not_there():
    row = needs_of([0.55, 0.72, 0.78, 0.745], 0.75)
    assert row["verdict"] != "reached"


# ------------------------------------------------------------------------------------- sentences


CARD = {"Sizes": [1, 5, 10], "RunsNow": 10, "MinutesPerRun": 5.0}


def need(**values):
    row = {"metric": "balanced_accuracy", "target": 0.7, "n_runs": np.nan, "runs_low": np.nan,
           "runs_high": np.nan, "minutes": np.nan, "minutes_low": np.nan, "minutes_high": np.nan,
           "rise_low": 0.1, "rise_high": 0.3, "verdict": "forecast"}
    return pd.Series(row | values)


@pytest.mark.parametrize(("row", "parts"), [
    (need(n_runs=14.0, runs_low=11.0, minutes=70.0, minutes_low=55.0),
     ("scan about 20 minutes (4 runs) more", "55 to more than 3 times the data")),
    (need(n_runs=14.0, runs_low=11.0, runs_high=19.0),
     ("scan about 20 minutes (4 runs) more", "11 to 19 runs")),
    (need(verdict="reached", n_runs=4.0, runs_low=3.0, runs_high=6.0, minutes=20.0,
          minutes_low=15.0, minutes_high=30.0), ("about 20 minutes (4 runs)", "are there")),
    (need(verdict="beyond", runs_low=12.0, minutes_low=60.0),
     ("more than 30 training runs", "from 60 minutes (12 runs) on", "no number suffices")),
    (need(verdict="no rise", rise_low=-0.05), ("cannot say", "-5 to 30 points")),
    (need(verdict="ceiling", target=np.nan), ("no higher step",)),
])
def test_sentences_say_what_the_fit_can_say(row, parts):
    said = say_need(row, CARD)
    assert all(part in said for part in parts), said


def test_worth_of_pretraining_in_runs():
    own = pd.DataFrame({"metric": "top1", "n_runs": [2.0, 4, 8], "value": [0.3, 0.5, 0.6]})
    alone = own.assign(value=[0.1, 0.2, 0.4])
    (said,) = say_pretraining(own, alone)
    assert said.endswith("the pretrained one has from 4 on (not tested).")
    (said,) = say_pretraining(own.assign(value=[0.3, 0.5, 0.35]), alone)
    assert "the pretrained one" not in said
    assert say_pretraining(own, alone.iloc[:0]) == []
    (said,) = say_pretraining(alone, own)
    assert "10.0" in said and "the pretrained one" not in said


# ------------------------------------------------------------------------------------- whole run


def test_whole_run_for_two_participants(tmp_path):
    folder = write_dataset(tmp_path / "data", (("01", 4), ("02", 4)))
    out = tmp_path / "out"
    words = words_for(
        folder, out, "--learning-curve", "--test-runs", "4", "-w", str(tmp_path / "work")
    )
    assert main(words) == 0
    curve = read_table(next(out.glob("sub-01/func/*_desc-learningcurve_metrics.tsv")))
    assert set(curve["model"]) == {"decoder", "ridge-mask", "ridge-all", "svm-mask"}
    assert list(dict.fromkeys(curve["n_runs"])) == ["1", "2", "3"]
    assert [float(m) for m in dict.fromkeys(curve["minutes"])] == [2, 4, 6]
    card = read_json(next(out.glob("sub-01/func/*_desc-learningcurve_metrics.json")))
    assert card["RunsNow"] == 3 and card["MinutesFrom"] == "trials" and "value" in card
    assert next(out.glob("sub-01/func/*_desc-learningcurve_needs.tsv")).is_file()
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert 'id="learning-curve"' in page and "Figueroa" in page
    group = read_table(out / "group" / "desc-group_metrics.tsv")
    means = group[(group["source"] == "learning curve") & (group["statistic"] == "mean")]
    assert set(means["n_runs"]) == {"1", "2", "3"}
    assert 'id="learning-curve"' in (out / "group.html").read_text(encoding="utf-8")
    settings, _ = parse_args(words)
    assert not any(step.todo for step in make_plan(settings, tmp_path / "work").steps)


def write_features(folder, people=("01", "02"), n_runs=5, per_run=10):
    """Beta series that are a mixture of the features of stimuli; each stimulus is shown once."""
    rng = np.random.default_rng(0)
    write_json(folder / "dataset_description.json", {
        "Name": "features", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    names = [f"s{k:02d}" for k in range(n_runs * per_run)]
    vectors = rng.normal(size=(len(names), 4))
    for person in people:
        mixture = rng.normal(size=(4, np.prod(SHAPE)))
        for run in range(n_runs):
            name = f"sub-{person}_task-see_run-{run + 1}_desc-singletrial"
            stem = folder / f"sub-{person}" / "func" / name
            rows = run * per_run + rng.permutation(per_run)
            betas = vectors[rows] @ mixture + 2 * rng.normal(size=(per_run, np.prod(SHAPE)))
            save_nifti(Path(f"{stem}_betaseries.nii.gz"),
                       betas.T.reshape(*SHAPE, -1).astype(np.float32), AFFINE)
            save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame({
                "onset": np.arange(per_run) * 12.0, "duration": 12.0,
                "stimulus": [names[k] for k in rows],
            }))
    table = pd.DataFrame(vectors, names, list("abcd")).rename_axis("stimulus").reset_index()
    save_table(folder.parent / "features.tsv", table)
    return folder


def test_whole_run_on_stimuli_with_and_without_pretraining(tmp_path):
    folder, out = write_features(tmp_path / "data"), tmp_path / "out"
    words = [
        str(folder), str(out), "group", "participant", "--holdout-label", "02", "--target",
        "features", "--features", str(tmp_path / "features.tsv"), "--test-runs", "5",
        "--learning-curve", "--skip-bids-validation", "--device", "cpu", "--nprocs", "1",
        "--n-permutations", "0", "-d", f"betas={folder}", "-w", str(tmp_path / "work"),
    ]
    assert main(words) == 0
    curve = read_table(next(out.glob("sub-02/func/*_desc-learningcurve_metrics.tsv")))
    assert set(curve["model"]) == {"decoder", "without-pretraining", "ridge-mask", "ridge-all"}
    by_size = curve[curve["metric"] == "two_way"].set_index(["model", "n_runs"])
    assert list(dict.fromkeys(curve["n_runs"])) == ["1", "2", "3", "4"]
    assert set(curve["n"]) == {"10"} and set(curve["pool_size"]) == {"10", None}
    value = by_size["value"].astype(float)
    assert value["ridge-all", "4"] > max(0.8, value["ridge-all", "1"])
    assert value["decoder", "4"] > 0.7
    chance = dict(zip(curve["metric"], curve["chance"].astype(float), strict=True))
    assert chance == {"top1": pytest.approx(0.1), "two_way": 0.5}
    # All runs: the decoder that is reported, on the same trials.
    metrics = read_table(next(out.glob("sub-02/func/*_desc-decoder_metrics.tsv")))
    own = metrics[(metrics["model"] == "decoder") & (metrics["metric"] == "top1")
                  & (metrics["direction"] == "b2i") & (metrics["unit"] == "single")
                  & (metrics["similarity"] == "cosine")]
    last = curve[(curve["model"] == "decoder") & (curve["metric"] == "top1")].iloc[-1]
    assert float(last["value"]) == pytest.approx(float(own["value"].iloc[0]))
    page = (out / "sub-02.html").read_text(encoding="utf-8")
    assert 'id="learning-curve"' in page and "without pretraining" in page
