import json

from bids_decoder.bids.fingerprint import fingerprint


def test_numbers_of_the_toy(toy):
    print_ = fingerprint(toy.dataset(), toy.build())
    assert json.loads(json.dumps(print_, allow_nan=False)) == print_
    assert print_["participants"] == ["01", "02"] and print_["runs"] == {"01": 3, "02": 3}
    assert print_["t_r"] == [2.0] and print_["volumes"] == [40]
    assert print_["voxel_sizes"] == [[3.0, 3.0, 3.0]] and print_["grid_shapes"] == [[4, 4, 3]]
    assert print_["n_trials"] == {"01": 30, "02": 30} and print_["median_soa"] == 7.0
    # "abcdabcdab" three times: a and b nine times, c and d six times.
    assert print_["repeats"]["01"] == {"6": 2, "9": 2}
    assert print_["labels"]["per_run"] == {"a": [3, 3], "b": [3, 3], "c": [2, 2], "d": [2, 2]}
    assert print_["has_t1w"] == {"01": True, "02": True} and not print_["has_slice_timing"]


def test_shared_stimuli_and_missing_images(toy):
    toy.events("sub-02/func/sub-02_task-see_run-1_events.tsv", [(2, 1, "e"), (9, 1, "a")])
    for run in "23":
        toy.events(f"sub-02/func/sub-02_task-see_run-{run}_events.tsv", [(2, 1, "e"), (9, 1, "a")])
    toy.text("sub-01/func/sub-01_task-see_run-1_bold.nii.gz", "/annex/objects/x")
    print_ = fingerprint(toy.dataset(), toy.build())
    assert print_["n_stimuli_shared"] == 1 and print_["n_stimuli_in_all"] == 5
    assert print_["repeats_of_shared"] == {"01": {"9": 1}, "02": {"3": 1}}
    assert print_["unreadable_images"] == 1


def test_excluded_trials_do_not_count(toy):
    toy.events("sub-01/func/sub-01_task-see_run-1_events.tsv",
               [*((2 + 7 * i, 1, "ab"[i % 2]) for i in range(10)), (79, 1, "late")])
    print_ = fingerprint(toy.dataset(), toy.build())
    assert print_["n_excluded"] == {"01": 1, "02": 0} and print_["n_stimuli"]["01"] == 4
