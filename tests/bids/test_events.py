import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_decoder.bids.blocks import block_numbers, measure_design
from bids_decoder.bids.collect import collect_dataset
from bids_decoder.bids.event_columns import choose_stimulus_column
from bids_decoder.bids.events import build_dataset_trials, with_trials_only
from bids_decoder.bids.rows import read_events
from bids_decoder.bids.stimulus_files import find_stimulus_files
from bids_decoder.bids.trial_tables import SPLIT_SOURCE
from bids_decoder.errors import ExitCode, InputError, MissingInputError
from bids_decoder.trials import TRIAL_COLUMNS

STIM = ("onset", "duration", "trial_type", "stim_file")


def errors(build):
    return [f for f in build.findings if f.severity == "error"]


def warnings(build):
    return [f for f in build.findings if f.severity == "warning"]


def decision(build, what):
    return [d.value for d in build.decisions if d.what == what]


def one_run(bare, rows, columns=None, **kwargs):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    bare.run(rows=rows, columns=columns)
    return bare.build(**kwargs)


def steady(values, step=6.0):
    return [(2 + step * i, 1, *value) for i, value in enumerate(values)]


def test_table_has_the_contract_columns(toy):
    build = toy.build()
    table = build.tables["01"]
    assert list(table.columns) == list(TRIAL_COLUMNS)
    assert list(table["trial"]) == [*range(1, 11)] * 3
    assert set(table["split"]) == {""} and table["fold"].isna().all()
    assert list(table["run_group"].unique()) == [f"task-see_run-{r}" for r in "123"]
    assert table["session"].isna().all() and not table["excluded"].any()
    assert build.target_kind == "category" and build.trial_unit == "event"
    assert not errors(build)


def test_crlf_bom_and_spaces_are_tolerated(bare):
    text = "\ufeffonset\tduration\t trial_type\r\n 1.0\t2\tface \r\n3\tn/a\tn/a\r\n"
    table = read_events(bare.text("e.tsv", text))
    assert list(table.columns) == ["onset", "duration", "trial_type"]
    assert table["onset"].tolist() == [1.0, 3.0] and np.isnan(table["duration"][1])
    assert table["trial_type"].tolist() == ["face", None]


def test_ids_that_look_like_numbers_keep_their_zeros(bare):
    build = one_run(bare, steady([("a", "0071"), ("b", "71"), ("a", "3626115.019490")]), STIM)
    assert build.tables["01"]["stimulus"].tolist() == ["0071", "71", "3626115.019490"]
    assert build.tables["01"]["run"].tolist() == ["1"] * 3


@pytest.mark.parametrize("text", ["", "duration\ttrial_type\n1\ta\n"])
def test_unusable_events_are_named(bare, text):
    with pytest.raises(InputError, match="e.tsv"):
        read_events(bare.text("e.tsv", text))


def test_annexed_events_are_named(bare):
    with pytest.raises(MissingInputError, match="datalad get"):
        read_events(bare.text("e.tsv", "/annex/objects/MD5E-s1--x.tsv\n"))


def test_order_of_stimulus_columns():
    full = pd.DataFrame({"onset": [1.0], "trial_type": ["x"], "stim_file": ["y"], "own": ["z"]})
    assert choose_stimulus_column([full]) == "stim_file"
    assert choose_stimulus_column([full], "own") == "own"
    empty = full.assign(stim_file=pd.Series([None], dtype=object))
    assert choose_stimulus_column([empty]) == "trial_type"
    with pytest.raises(InputError, match="own, stim_file, trial_type"):
        choose_stimulus_column([full], "other")
    with pytest.raises(InputError, match=r"did you mean stim_file\?"):
        choose_stimulus_column([full], "StimFile")
    with pytest.raises(InputError, match="1 of 2 runs lack it"):
        choose_stimulus_column([full, full.drop(columns="stim_file")])


def test_words_are_those_of_the_labels_unless_a_column_is_named(bare, tmp_path):
    rows = steady([("face", "1.jpg"), ("house", "2.jpg")] * 4)
    build = one_run(bare, rows, STIM, trials={"features": tmp_path})
    assert build.stimulus_column == build.label_column == "trial_type"
    assert build.target_kind == "features"
    assert set(build.tables["01"]["stimulus"]) == {"face", "house"}
    named = bare.build(trials={"features": tmp_path, "stimulus_column": "stim_file"})
    assert named.stimulus_column == "stim_file"


def test_no_stimulus_column_is_an_error_with_the_columns(bare):
    build = one_run(bare, steady([("x",)]), ("onset", "duration", "picture"))
    (finding,) = errors(build)
    assert "picture" in finding.why and "--stimulus-column" in finding.fix and not build.tables


def test_rows_that_show_nothing_are_dropped_and_counted(bare):
    values = ["a", "rest", "b", "Fixation", "catch", "a", "n/a", "b", "inter_rest", "cue"]
    build = one_run(bare, steady([(v,) for v in values]))
    assert build.tables["01"]["stimulus"].tolist() == ["a", "b", "a", "b"]
    assert len(decision(build, "rows left out")) == 6


def test_trial_filter(bare):
    columns = ("onset", "duration", "trial_type", "kind")
    rows = steady([("a", "x"), ("b", "y"), ("cue", "x"), ("c", "z"), ("d", "n/a")])

    def kept(*filters):
        build = one_run(bare, rows, columns, trials={"trial_filter": filters})
        return build.tables["01"]["stimulus"].tolist()

    assert kept("kind=x|y") == ["a", "b"]
    assert kept("kind != x") == ["b", "c", "d"]
    assert kept("kind!=x", "kind!=y") == ["c", "d"]
    assert kept("kind=n/a") == ["d"]
    # What is asked for by name is not dropped for its name.
    assert kept("trial_type=cue|a") == ["a", "cue"]


def test_filter_on_an_absent_column(bare):
    build = one_run(bare, steady([("a",)]), trials={"trial_filter": ("colour=x",)})
    (finding,) = errors(build)
    assert finding.code == ExitCode.USAGE and "trial_type" in finding.why


def test_nothing_left_is_an_error(bare):
    (finding,) = errors(one_run(bare, steady([("cue",), ("rest",)])))
    assert "trial_type=cue (1)" in finding.why


def test_unsorted_and_missing_onsets(bare):
    rows = [(20, 1, "a"), (2, 1, "b"), ("n/a", 1, "c"), (30, "n/a", "a"), ("x", 1, "c")]
    build = one_run(bare, rows)
    table = build.tables["01"]
    assert table["onset"].tolist() == [2.0, 20.0, 30.0] and table["duration"].tolist() == [1, 1, 0]
    assert any("2 row(s)" in f.why for f in warnings(build))
    assert decision(build, "order of events") == ["sorted by onset"]


def test_infinite_times_are_no_times(bare):
    build = one_run(bare, [("inf", 1, "a"), (2, "inf", "b"), (9, 1, "a")])
    table = build.tables["01"]
    assert table["onset"].tolist() == [2.0, 9.0] and table["duration"].tolist() == [0, 1]


def test_onsets_that_are_no_numbers_are_an_error(bare):
    (finding,) = [f for f in errors(one_run(bare, [("6,5", 1, "a"), ("9,5", 1, "b")]))
                  if "events.tsv" in f.what]
    assert "'6,5'" in finding.why and finding.participant == "01"


def test_columns_without_tabs_are_said_to_lack_them(bare):
    with pytest.raises(InputError, match="separated by tabs"):
        read_events(bare.text("e.tsv", "onset;duration\n1;2\n"))
    with pytest.raises(InputError, match="onset and duration are required"):
        read_events(bare.text("e.tsv", "Onset\tDuration\n1\t2\n"))


def test_why_of_a_ragged_table_is_one_line(bare):
    with pytest.raises(InputError) as caught:
        read_events(bare.text("e.tsv", "onset\tduration\n1\t2\t3\t4\n5\t6\t7\t8\t9\n"))
    assert "\n" not in caught.value.finding.why


def test_rows_written_twice_count_once(bare):
    build = one_run(bare, [(2, 1, "a"), (9, 1, "b"), (2, 1, "a"), ("n/a", 1, "a")])
    assert build.tables["01"]["stimulus"].tolist() == ["a", "b"]
    assert any("1 row(s) repeat" in f.why for f in warnings(build))


def test_trials_at_the_same_time_are_said(bare):
    build = one_run(bare, [(2, 1, "a"), (9, 1, "b"), (2, 1, "b")])
    (finding,) = [f for f in warnings(build) if "same time" in f.what]
    assert "2 trials" in finding.why and finding.participant == "01"


def test_runs_without_trials_are_left_out_and_said(toy):
    toy.events("sub-01/func/sub-01_task-see_run-2_events.tsv", [])
    toy.events("sub-02/func/sub-02_task-see_run-1_events.tsv", [(2, 5, "rest"), (9, 5, "rest")])
    dataset, build = toy.dataset(), toy.build()
    assert [f.what for f in warnings(build)] == [
        "sub-01: runs without trials", "sub-02: runs without trials",
    ]
    people = with_trials_only(dataset, build).participants
    assert [[run.run for run in person.runs] for person in people] == [["1", "3"], ["2", "3"]]


def test_trials_outside_of_the_recording_are_excluded(bare):
    # 40 volumes of 2 s: the run ends at 80 s.
    onsets = [-3, *range(2, 62, 5), 75.9, 76.1, 80]
    build = one_run(bare, [(o, 1, "ab"[i % 2]) for i, o in enumerate(onsets)])
    table = build.tables["01"]
    assert table["excluded"].tolist() == [True] + [False] * 13 + [True] * 2
    reasons = table["reason"].tolist()
    assert "before the first" in reasons[0] and "less than 4 s" in reasons[-2]
    assert "after the end of the run (80 s)" in reasons[-1]
    assert not errors(build)
    assert any("short recording" in f.what for f in warnings(build))


def test_events_in_milliseconds_are_an_error(bare):
    (finding,) = errors(one_run(bare, [(1000 * i, 500, "ab"[i % 2]) for i in range(1, 11)]))
    assert finding.participant == "01" and "10 of 10" in finding.why and "80 s" in finding.why


def test_repeats_are_counted_over_runs_and_per_person(toy):
    build = toy.build()
    for table in build.tables.values():
        seen = table[table["stimulus"] == "a"]
        assert seen["repeat"].tolist() == list(range(9))


def test_session_ten_comes_after_session_two(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    for session in ("10", "2"):
        bare.run(ses=session)
    table = bare.build().tables["01"]
    assert table[table["repeat"] == 0]["session"].unique().tolist() == ["2"]


def blocks(labels, n_events=8, step=1.0, rest=10.0, start=2.0):
    rows, onset = [], start
    for label in labels:
        rows += [
            (round(onset + i * step, 3), 0.5, label, f"{label}{i}.png") for i in range(n_events)
        ]
        onset += n_events * step + rest
    return rows


def test_blocks_become_trials(bare):
    build = one_run(bare, blocks("abba"), STIM)
    table = build.tables["01"]
    assert build.trial_unit == "block" and build.target_kind == "category"
    # Two blocks of one condition with a pause between them stay two.
    assert table["label"].tolist() == ["a", "b", "b", "a"] == table["stimulus"].tolist()
    assert table["n_events"].tolist() == [8] * 4
    assert table["onset"].tolist() == [2.0, 20.0, 38.0, 56.0]
    assert table["duration"].tolist() == [7.5] * 4


def test_unit_can_be_forced(bare):
    build = one_run(bare, blocks("abba"), STIM, trials={"trial_unit": "event"})
    assert len(build.tables["01"]) == 32
    rows = steady([(c,) for c in "aabbaabb"], step=3.0)
    build = one_run(bare, rows, trials={"trial_unit": "block"})
    assert build.tables["01"]["n_events"].tolist() == [2] * 4


def test_responses_within_a_block_do_not_split_it(bare):
    rows = blocks("abab")
    rows[3] = (*rows[3][:2], "response", "n/a")
    build = one_run(bare, rows, STIM)
    assert build.tables["01"]["n_events"].tolist() == [7, 8, 8, 8]


@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([1.5, 4.0, 9.0]))
def test_random_orders_at_a_steady_pace_are_no_blocks(seed, n_labels, soa):
    rng = np.random.default_rng(seed)
    runs = [
        (np.arange(60) * soa, rng.integers(n_labels, size=60).astype(str)) for _ in range(2)
    ]
    assert not measure_design(runs).is_block_design


@given(
    st.integers(0, 10_000), st.integers(4, 20), st.floats(0.5, 3.0), st.floats(3.0, 20.0),
    st.floats(0.0, 0.3),
)
def test_blocks_with_pauses_are_found_exactly(seed, n_events, step, pause, jitter):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(["a", "b", "c"], 3))
    onsets, names, truth, onset = [], [], [], 0.0
    for number, label in enumerate(labels):
        for _ in range(n_events):
            onsets.append(onset)
            names.append(label)
            truth.append(number)
            onset += step * (1 + jitter * rng.uniform())
        onset += step * pause
    onsets, names = np.array(onsets), np.array(names)
    if (names[1:] != names[:-1]).sum() < 2:
        return
    design = measure_design([(onsets, names)])
    assert design.is_block_design
    np.testing.assert_array_equal(block_numbers(onsets, names, design.limit), truth)


def test_long_events_with_rest_are_not_merged_by_force(bare):
    rows = [(2 + 24 * i, 16, label) for i, label in enumerate("aab")]
    build = one_run(bare, rows, trials={"trial_unit": "block"})
    assert len(build.tables["01"]) == 3


def test_generic_trial_types_are_questioned(bare):
    rows = [(2 + i, 0.5, "test" if i % 5 == 0 else "exp", f"i{i % 12}", f"c{i % 3}")
            for i in range(60)]
    columns = ("onset", "duration", "trial_type", "stim_file", "animal")
    build = one_run(bare, rows, columns)
    (finding,) = [f for f in warnings(build) if "trial_type" in f.what]
    assert "animal (3 levels)" in finding.fix
    build = one_run(bare, rows, columns, trials={"label_column": "animal"})
    assert not [f for f in warnings(build) if "trial_type" in f.what]
    assert set(build.tables["01"]["label"]) == {"c0", "c1", "c2"}


def images(bare, names):
    for name in names:
        bare.text(f"stimuli/{name}", "x")


def test_images_decide_the_target(bare):
    rows = steady([("a", "x/1.png"), ("b", "stimuli/x/2.png"), ("a", "3"), ("b", "x/1.png")])
    images(bare, ["x/1.png", "x/2.png", "y/3.JPEG", "notes.txt"])
    build = one_run(bare, rows, STIM)
    assert build.target_kind == "image"
    assert {k: v.name for k, v in build.stimulus_files.items()} == {
        "x/1.png": "1.png", "stimuli/x/2.png": "2.png", "3": "3.JPEG",
    }
    assert one_run(bare, rows, STIM, trials={"target": "category"}).target_kind == "category"


def test_block_designs_are_not_decoded_as_images(bare):
    rows = blocks("abab")
    images(bare, {row[3] for row in rows})
    assert one_run(bare, rows, STIM).target_kind == "category"


def test_missing_images_are_an_error_only_when_needed(bare):
    rows = steady([("a", "1.png"), ("b", "2.png")] * 3)
    images(bare, ["1.png"])
    assert not errors(one_run(bare, rows, STIM))
    (finding,) = errors(one_run(bare, rows, STIM, trials={"target": "image"}))
    assert finding.code == ExitCode.MISSING_INPUT and "2.png" in finding.why


def test_a_few_missing_images_exclude_their_trials(bare):
    rows = [(2 + 2 * i, 0.5, "a", f"{i}.png") for i in range(25)]
    images(bare, [f"{i}.png" for i in range(24)])
    build = one_run(bare, rows, STIM)
    table = build.tables["01"]
    assert build.target_kind == "image"
    assert table.loc[table["excluded"], "stimulus"].tolist() == ["24.png"]
    assert table.loc[24, "reason"] == "the stimulus has no readable image file"


def test_damaged_images_exclude_their_trials_only(bare):
    rows = [(2 + 2 * i, 0.5, "a", f"{i}.png") for i in range(25)]
    images(bare, [f"{i}.png" for i in range(25)])
    one_run(bare, rows, STIM)
    settings = bare.settings()
    build = build_dataset_trials(
        collect_dataset(settings), settings, lambda found: {"3.png": "is truncated"}
    )
    table = build.tables["01"]
    assert table.loc[table["excluded"], "stimulus"].tolist() == ["3.png"]
    assert "3.png" not in build.stimulus_files
    assert any("is truncated" in finding.why for finding in warnings(build))


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "a/../../secret.png",
                                  "..\\secret.png"])
def test_paths_out_of_the_folder_are_refused(tmp_path, name):
    (tmp_path / "secret.png").write_text("x")
    (tmp_path / "stimuli").mkdir()
    (tmp_path / "stimuli/secret.png").write_text("x")
    files = find_stimulus_files(tmp_path / "stimuli", [name])
    assert files.refused == (name,) and not files.found and not files.absent


def test_ambiguous_and_dead_stimuli_are_absent(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.png").write_text("x")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "live.png").symlink_to(tmp_path / "a/x.png")
    files = find_stimulus_files(tmp_path, ["x.png", "dead.png", "live.png", "a/x.png"])
    assert files.absent == ("dead.png", "x.png") and set(files.found) == {"live.png", "a/x.png"}


@pytest.mark.parametrize(("name", "expected"), [
    ("houses/1.png", "houses/1.png"), ("houses/1", "houses/1.png"), ("1.png", "1.png"),
    ("old/houses/1.png", "houses/1.png"), ("2.png", "set/faces/2.png"),
    ("faces/2", "set/faces/2.png"), ("stimuli/set/faces/2.png", "set/faces/2.png"),
    ("any/3.png", "3.png"), ("houses/2.png", None), ("faces/1.png", None), ("faces/1", None),
])
def test_pictures_of_other_folders_are_not_taken(tmp_path, name, expected):
    files = ["houses/1.png", "1.png", "set/faces/2.png", "3.png"]
    if name.startswith(("faces/1", "old")):
        files.remove("1.png")
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x")
    found = find_stimulus_files(tmp_path, [name])
    assert found.found == ({} if expected is None else {name: tmp_path / expected})
    assert found.absent == (() if expected else (name,))


def test_features_decide_the_target(toy, tmp_path):
    build = toy.build(trials={"features": tmp_path / "f.tsv"})
    assert build.target_kind == "features"
    (finding,) = errors(toy.build(trials={"target": "features"}))
    assert finding.code == ExitCode.USAGE


def test_split_column_is_carried(bare):
    columns = ("onset", "duration", "trial_type", "part")
    rows = steady([("a", "train"), ("b", "0")])
    build = one_run(bare, rows, columns, trials={"split_column": "part"})
    assert build.tables["01"][SPLIT_SOURCE].tolist() == ["train", "0"]
    build = one_run(bare, rows, columns, trials={"split_column": "parts"})
    (finding,) = errors(build)
    assert finding.code == ExitCode.USAGE and finding.fix == "did you mean part?"


def test_trials_without_label_are_excluded(bare):
    columns = ("onset", "duration", "stim_file", "kind")
    rows = steady([("1", "x"), ("2", "n/a"), ("3", "y")])
    table = one_run(bare, rows, columns, trials={"label_column": "kind"}).tables["01"]
    assert table["excluded"].tolist() == [False, True, False] and len(table) == 3


def beta_tables(bare, rows, columns):
    for run in "12":
        stem = f"sub-01/func/sub-01_task-see_run-{run}_desc-singletrial"
        bare.image(f"{stem}_betaseries.nii.gz", (4, 4, 3, len(rows)))
        bare.events(f"{stem}_trials.tsv", rows, columns)


def test_minimal_beta_tables(bare):
    beta_tables(bare, [(1, "x"), (2, "rest"), (3, "y")], ("trial", "trial_type"))
    table = bare.build().tables["01"]
    # Row i is volume i, so nothing may be dropped for its name.
    assert table["stimulus"].tolist() == ["x", "rest", "y"] * 2
    assert table["onset"].isna().all() and table["n_events"].tolist() == [1] * 6
    assert list(table.columns) == list(TRIAL_COLUMNS)


def test_own_beta_tables_keep_what_was_excluded(bare):
    columns = ("trial", "onset", "duration", "stimulus", "label", "n_events", "excluded", "reason")
    beta_tables(bare, [
        (1, 2, 8, "img1", "face", 8, "False", "n/a"),
        (2, 12, 8, "img2", "house", 8, "True", "late"),
        (3, 22, 8, "n/a", "n/a", 8, "False", "n/a"), (4, 32, 8, "img1", "face", 7, "False", "n/a"),
    ], columns)
    build = bare.build(trials={"trial_filter": ("n_events!=7",)})
    table = build.tables["01"].head(4)
    assert (build.stimulus_column, build.label_column) == ("stimulus", "label")
    assert table["excluded"].tolist() == [False, True, True, True]
    assert table["reason"].tolist()[1:] == ["late", "no value in stimulus",
                                            "--trial-filter n_events!=7"]
    assert table["onset"].tolist() == [2, 12, 22, 32] and table["n_events"].tolist() == [8, 8, 8, 7]


def test_haxby_is_96_blocks(shared_data):
    build = shared_data("haxby-1slice").build()
    table = build.tables["1"]
    assert build.trial_unit == "block" and build.target_kind == "category"
    assert len(table) == 96 and set(table["n_events"]) == {12}
    assert (pd.crosstab(table["run_group"], table["label"]) == 1).all().all()
    assert table.groupby("run_group")["onset"].first().tolist() == [12.0] * 12
    assert not table["excluded"].any() and not build.findings


def test_localizer_keeps_successive_blocks_of_one_kind_apart(shared_data):
    build = shared_data("localizer").build()
    assert build.tables["02"]["label"].tolist() == [
        "face", "scene", "body", "house", "object", "scramble", "scramble", "body", "object",
        "face", "house", "scene",
    ]
    assert build.target_kind == "category" and set(build.tables["02"]["n_events"]) == {16}


def test_raider_betas(shared_data):
    build = shared_data("raider-betas").build()
    assert {len(t) for t in build.tables.values()} == {56} and len(build.tables) == 6
    assert build.tables["01"]["label"].head(3).tolist() == ["category6", "category5", "category4"]


def test_ds000105(shared_data):
    build = shared_data("openneuro-text/ds000105").build()
    assert {k: len(t) for k, t in build.tables.items()} == {"1": 96, "2": 96}


def test_ds001499_crlf(shared_data):
    build = shared_data("openneuro-text/ds001499").build()
    assert build.stimulus_column == "stim_file" and build.trial_unit == "event"
    assert build.tables["CSI1"]["stimulus"][0] == "n01930112_19568.JPEG"
    assert build.tables["CSI1"]["repeat"].sum() == 7


def test_ds001246_perception_and_imagery(shared_data):
    skeleton = shared_data("openneuro-text/ds001246")
    build = skeleton.build(execution={"task_id": ("perception",)})
    assert build.stimulus_column == "stimulus_name" and len(build.tables["01"]) == 1100
    assert build.tables["01"]["stimulus"][0] == "n03626115_19498"
    imagery = {"task_id": ("imagery",)}
    (finding,) = errors(skeleton.build(execution=imagery))
    assert "category_name" in finding.why
    build = skeleton.build(execution=imagery, trials={"stimulus_column": "category_name"})
    assert len(build.tables["01"]) == 200 and set(build.tables["01"]["duration"]) == {15.0}


def test_ds004192_catch_trials_and_labels(shared_data):
    build = shared_data("openneuro-text/ds004192").build()
    assert {k: len(t) for k, t in build.tables.items()} == {"01": 1640, "02": 820}
    assert build.stimulus_column == "file_path"
    (finding,) = warnings(build)
    assert "things_category_nr" in finding.fix


def test_a_design_is_described_without_what_is_not_known():
    text = str(measure_design([(np.array([0.0, 4, 8]), np.array(["a", "b", "c"]))]))
    assert text == "1 event(s) of one condition in a row (median), 4 s where the condition changes"


@pytest.mark.parametrize(("pause", "is_block"), [(10.0, True), (2.0, False), (5.0, False)])
def test_blocks_of_one_condition_in_each_run_are_found_by_their_pauses(pause, is_block):
    onsets = np.cumsum([pause if n % 8 == 0 else 2.0 for n in range(48)])
    design = measure_design([(onsets, np.full(48, name)) for name in "abc"])
    assert design.is_block_design == is_block
    assert ("10 s at pauses" in str(design)) == is_block
    assert (block_numbers(onsets, np.full(48, "a"), design.limit)[-1] == 5) == is_block


def test_text_columns_are_objects_with_none(toy):
    (table, _) = toy.build().tables.values()
    for name in ("session", "task", "run", "run_group", "stimulus", "label", "split", "reason"):
        assert table[name].dtype == object, name
    assert table["session"].tolist() == [None] * len(table)
    assert table["onset"].dtype == float
    assert table["excluded"].dtype == bool
