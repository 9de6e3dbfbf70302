"""Decoding over time: what the plan refuses, what results depend on, and a whole run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_decoder.analyses.timecourse import methods, report, workflow
from bids_decoder.analyses.timecourse.outputs import CLUSTERS
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.run import main
from bids_decoder.errors import FindingsError
from bids_decoder.files import read_json, write_json

SHAPE, N_SCANS, T_R, RUNS = (5, 4, 3), 90, 2.0, "1234"
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
ONSETS = 28.0 + 16.0 * np.arange(10)
"""The last trial begins at 172 s, 6 s before the last volume of the run."""
LATE = 6.0
"""Seconds from the onset to the volumes that tell labels apart, and to the next ones."""


def write_dataset(folder, onsets=ONSETS, t_rs=None):
    """Raw data with derivatives of fMRIPrep: one response 6 s after the onset, other noise."""
    rng = np.random.default_rng(0)
    prep = folder / "prep"
    for top in (folder / "raw", prep):
        write_json(top / "dataset_description.json", {"Name": "late", "BIDSVersion": "1.9.0"})
    patterns = {name: rng.normal(0, 6, SHAPE) for name in ("cat", "dog")}
    for run in RUNS:
        t_r = (t_rs or {}).get(run, T_R)
        labels = rng.permutation(["cat", "dog"] * (len(onsets) // 2))
        bold = 100 + rng.normal(size=(*SHAPE, N_SCANS)) + np.linspace(0, 5, N_SCANS)
        for onset, label in zip(onsets, labels, strict=True):
            volume = round((onset + LATE) / t_r)
            for later, height in enumerate((1.0, 0.5)):
                if volume + later < N_SCANS:
                    bold[..., volume + later] += height * patterns[label]
        name = f"sub-01/func/sub-01_task-see_run-{run}"
        raw, stem = folder / "raw" / name, f"{prep / name}_space-T1w"
        for path, data in (
            (f"{raw}_bold.nii.gz", bold), (f"{stem}_desc-preproc_bold.nii.gz", bold),
        ):
            save_nifti(Path(path), data.astype(np.float32), AFFINE, t_r=t_r)
        for path in (f"{raw}_bold.json", f"{stem}_desc-preproc_bold.json"):
            write_json(Path(path), {"RepetitionTime": t_r, "TaskName": "see"})
        save_nifti(Path(f"{stem}_desc-brain_mask.nii.gz"), np.ones(SHAPE, np.uint8), AFFINE)
        save_table(Path(f"{raw}_events.tsv"), pd.DataFrame(
            {"onset": onsets, "duration": 1.0, "trial_type": labels}
        ))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("late"))


def words_for(folder, out, *words):
    return [str(folder / "raw"), str(out), "participant", "-d", f"fmriprep={folder / 'prep'}",
            "--from-scratch", "--skip-bids-validation", "--target", "category", "--device", "cpu",
            "--nprocs", "1", "--confounds", "none", "--trial-unit", "event", *map(str, words)]


@pytest.fixture
def plan(data, tmp_path):
    def make(*words, folder=data):
        settings, _ = parse_args(words_for(folder, tmp_path / "out", *words))
        return make_plan(settings, tmp_path / "work")

    return make


def refused(plan, *words, **kwargs):
    with pytest.raises(FindingsError) as caught:
        plan(*words, **kwargs)
    return [f for f in caught.value.findings if f.severity == "error"]


def job_of(made):
    (job,) = [job for job in made.jobs if job.analysis == "timecourse"]
    return job


def decision_of(made):
    (decision,) = [one for one in made.decisions if one.what == "times after onset"]
    return decision


def warnings_of(made):
    return [f for f in made.findings if "fir-window" in f.what]


def test_a_window_turns_it_on(plan):
    assert not [job for job in plan().jobs if job.analysis == "timecourse"]
    made = plan("--fir-window", -2, 6)
    assert job_of(made).spec.folds == (1, 2, 3, 4) and job_of(made).spec.n_permutations == 100
    assert decision_of(made).value == "-2 to 6 s in steps of 2 s"
    assert "0 of 40 trials left out" in decision_of(made).reason
    assert "exchanged as for the decoder, 100 times" in decision_of(made).reason
    assert job_of(made).spec.test_share == pytest.approx(1 / 4)
    assert not warnings_of(made)


def test_trials_without_all_times_are_counted_and_warned_of(plan):
    made = plan("--fir-window", -2, 12)
    assert "4 of 40 trials left out" in decision_of(made).reason and not warnings_of(made)
    made = plan("--fir-window", -2, 40)
    (warning,) = [f for f in warnings_of(made) if "lack" in f.why]
    assert warning.severity == "warning" and "sub-01 12 of 40" in warning.why
    assert "from -28 to 6 s" in warning.fix


def test_neighbours_at_a_constant_interval_within_the_window_are_warned_of(plan, tmp_path):
    (warning,) = [f for f in warnings_of(plan("--fir-window", -2, 20)) if "neighbour" in f.why]
    assert warning.severity == "warning" and "16 s" in warning.why and "14 s" in warning.fix
    close = write_dataset(tmp_path / "close", 28.0 + T_R * np.arange(40))
    made = plan("--fir-window", 0, 6, folder=close)
    (warning,) = [f for f in warnings_of(made) if "neighbour" in f.why]
    assert "no window can tell them apart" in warning.fix
    jittered = 28 + np.cumsum(np.random.default_rng(0).choice([10.0, 14.0, 20.0], 10))
    made = plan("--fir-window", -2, 20, folder=write_dataset(tmp_path / "jitter", jittered))
    assert not [f for f in warnings_of(made) if "neighbour" in f.why]


@pytest.mark.parametrize(("words", "code", "part"), [
    (("--fir-window", 16, -2), 64, "no first and last"),
    (("--fir-window", 0.5, 1.5), 64, "holds 0 volumes"),
    (("--stage", "timecourse"), 64, "no window"),
    (("--fir-window", -2, 16, "--target", "value", "--value-column", "onset"), 64, "decodes value"),
])
def test_windows_and_targets_that_do_not_fit_are_refused(plan, words, code, part):
    found = [f for f in refused(plan, *words) if part in f.why]
    assert [f.code for f in found] == [code]


def test_a_window_that_leaves_too_few_trials_is_refused_with_one_that_does_not(plan):
    (finding,) = refused(plan, "--fir-window", 0, 178, "--high-pass", 0)[-1:]
    assert finding.code == 65 and "40 of 40 trials" in finding.why
    assert "from -28 to 6 s" in finding.fix


def test_runs_of_different_repetition_times_are_refused(plan, tmp_path):
    folder = write_dataset(tmp_path / "mixed", t_rs={"2": 2.5})
    (finding,) = refused(plan, "--fir-window", -2, 16, folder=folder)
    assert finding.code == 65 and "2, 2.5 s" in finding.why


def test_beta_series_have_no_times(plan, tmp_path):
    stems = [f"{tmp_path}/beta/sub-01/func/sub-01_task-see_run-{run}_desc-singletrial"
             for run in RUNS]
    write_json(tmp_path / "beta" / "dataset_description.json", {
        "Name": "x", "BIDSVersion": "1.9.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "test"}],
    })
    for number, stem in enumerate(stems):
        betas = np.random.default_rng(number).normal(size=(*SHAPE, 6)).astype(np.float32)
        save_nifti(Path(f"{stem}_betaseries.nii.gz"), betas, AFFINE)
        save_table(Path(f"{stem}_trials.tsv"), pd.DataFrame(
            {"stimulus": list("abcdef"), "label": ["cat", "dog"] * 3}
        ))
    settings, _ = parse_args([
        str(tmp_path / "beta"), str(tmp_path / "out"), "participant", "-d",
        f"betas={tmp_path / 'beta'}", "--from-scratch", "--skip-bids-validation", "--target",
        "category", "--fir-window", "-2", "16",
    ])
    with pytest.raises(FindingsError) as caught:
        make_plan(settings, tmp_path / "work")
    (finding,) = [f for f in caught.value.findings if f.severity == "error"]
    assert finding.code == 64 and "one response per trial" in finding.why


@pytest.mark.parametrize(("words", "again"), [
    (("--nprocs", 2), False), (("--troi", "all"), False), (("--random-seed", 5), True),
    (("--n-permutations", 5), True), (("--fir-window", -2, 10), True),
])
def test_what_it_depends_on(plan, words, again):
    def key(*more):
        return job_of(plan("--fir-window", -2, 8, *more)).key.key

    assert (key() != key(*words)) == again


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    words = words_for(
        data, folder / "out", "-w", folder / "work", "--fir-window", -4, 12, "--stage", "prepare",
        "timecourse", "--n-permutations", 39,
    )
    assert main(words) == 0
    return words, folder / "out"


class Written:
    """Results of one participant with two times, as a report reads them."""

    participant = "01"

    def __init__(self, p_cluster=0.5, **card):
        self.values = card
        self.tables = {
            "times": pd.DataFrame({
                "time": [2.0, 4.0], "metric": "balanced_accuracy", "value": [0.5, 0.7],
                **dict.fromkeys(("chance", "ci_low", "ci_high", "p", "cluster", "p_cluster",
                                 "p_min", "n_null", "n"), 0.5), "p_max": [0.9, 0.06],
            }),
            "clusters": pd.DataFrame({
                "map": ["diagonal"], "cluster": 1, "train_first": 2.0, "train_last": 4.0,
                "test_first": 2.0, "test_last": 4.0, "n_cells": 2, "mass": 3.0,
                "p_cluster": p_cluster,
            }),
        }

    def table(self, name):
        return self.tables["clusters" if name == CLUSTERS else "times"]

    def card(self, name):
        del name
        return {"Metric": "balanced_accuracy", "FirstTime": 2, "LastTime": 4, "RepetitionTime": 2,
                "Trials": 9, "TrialsLeftOut": 0, "Permutations": 100, "SmallestP": 0.01,
                "Null": "refitted", "ExchangedUnits": "labels", "PeakTime": None,
                "PeakLow": None, **self.values}


@pytest.mark.parametrize(("written", "part"), [
    (Written(Permutations=0, SmallestP=None), "not tested"),
    (Written(Permutations=9, SmallestP=0.1), "nothing can be significant"),
    (Written(p_cluster=0.02), "from 2 to 4 s after the onset, p = "),
    (Written(PeakTime=4.0), "best 4 s after the onset"),
    (Written(), "no time is above chance"),
])
def test_the_line_of_the_report_says_no_more_than_was_tested(written, part):
    (line,) = report.lines(written)
    assert part in line and ("no time is" in line) == (part == "no time is above chance")


@pytest.mark.parametrize(("card", "more"), [
    ({"Permutations": 0}, set()),
    ({"Permutations": 18}, {"timecourse-test"}),
    ({"Permutations": 19}, {"timecourse-test", "timecourse-clusters"}),
    ({"PeakLow": 2.0}, {"timecourse-test", "timecourse-clusters", "timecourse-peak"}),
])
def test_methods_tell_of_clusters_and_intervals_only_where_there_are_any(card, more):
    assert set(methods.steps(Written(**card))) == {"timecourse", *more}


def test_memory_of_decoding_grows_with_the_times(plan, monkeypatch):
    monkeypatch.setattr(workflow, "response_gb", lambda person: 2.0)

    def gigabytes(*window):
        return workflow._decode_gb(job_of(plan("--fir-window", *window)).spec)

    # A quarter of the trials is held out at 5 and at 21 times.
    assert gigabytes(-2, 6) == pytest.approx(2.0 * 1.5 * 5 / 4)
    assert gigabytes(-20, 20) == pytest.approx(2.0 * 1.5 * 21 / 4)
    assert gigabytes(0, 2) == 2.0


def table_of(out, kind, suffix="metrics"):
    (path,) = out.glob(f"sub-01/func/*_desc-{kind}_{suffix}.tsv")
    return pd.read_csv(path, sep="\t"), path


@pytest.mark.slow
def test_labels_are_decoded_late_and_not_before_the_onset(run):
    table, path = table_of(run[1], "timecourse")
    table = table.set_index("time")
    assert list(table.index) == list(range(-4, 13, 2))
    assert table["value"].idxmax() == LATE and table.loc[LATE, "value"] > 0.9
    assert table.loc[[LATE, LATE + 2], "p_cluster"].tolist() == [1 / 40, 1 / 40]
    assert (table.loc[[-4, -2, 0, 2], "p_max"] > 0.05).all()
    card = read_json(path.with_suffix(".json"))
    assert (card["Trials"], card["TrialsLeftOut"], card["Folds"]) == (36, 4, 4)
    assert card["PeakTime"] == LATE and card["PeakLow"] <= LATE <= card["PeakHigh"]
    assert card["ExpectedPeak"] == pytest.approx(5.5, abs=0.5) and card["LargestShift"] == 0
    matrix, _ = table_of(run[1], "timegeneralisation")
    cells = matrix.set_index(["train_time", "test_time"])["value"]
    assert len(matrix) == 9**2 and cells[6, 6] == pytest.approx(table.loc[6, "value"])
    assert cells[6, 8] > 0.8 and abs(cells[6, 0] - 0.5) < 0.3
    null, _ = table_of(run[1], "timecoursenull")
    own = null[(null["train_time"] == 6) & (null["test_time"] == 6)]["value"]
    assert len(own) == 39 and abs(own.mean() - 0.5) < 0.1
    clusters, _ = table_of(run[1], "timecourse", "clusters")
    first = clusters[clusters["map"] == "diagonal"].iloc[0]
    assert (first["test_first"], first["p_cluster"]) == (6, 1 / 40)


@pytest.mark.slow
def test_report_and_methods(run):
    out = run[1]
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    for part in ("Decoding over time", "6 s after the onset", "4 trials are left out", "TR 2 s"):
        assert part in page
    for kind in ("timecourse", "timegeneralisation"):
        assert list(out.glob(f"sub-01/figures/*desc-{kind}_figure.svg")), kind
    text = (out / "logs" / "CITATION.md").read_text(encoding="utf-8")
    for part in ("from -4 to 12 s after the onset", "temporal generalisation", "Maris"):
        assert part in text


@pytest.mark.slow
def test_a_second_call_computes_nothing(run):
    words, out = run
    times = {path: path.stat().st_mtime_ns for path in out.glob("sub-01/func/*time*_metrics.tsv")}
    assert len(times) == 3 and main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
