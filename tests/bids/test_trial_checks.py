"""Labels that cannot be decoded: what the plan says of them."""

import pytest

from bids_decoder.bids.trial_checks import check_trials

NAMES = [f"https://place.org/get?name={number:02d}.png" for number in range(12)]


@pytest.mark.parametrize(("column", "hint"), [("stim_file", True), ("kind", False)])
def test_images_that_were_not_found_are_told_where_names_of_stimuli_are_the_labels(
    bare, column, hint
):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    rows = [(4 + 6 * i, 1, name, f"kind{i}") for i, name in enumerate(NAMES)]
    bare.run(rows=rows, columns=("onset", "duration", "stim_file", "kind"))
    settings = bare.settings(trials={"label_column": column})
    dataset = bare.dataset()
    (found,) = check_trials(bare.build(trials={"label_column": column}), dataset.participants,
                            settings)
    assert f"labels of column {column}" in found.what
    assert "12 labels in 12 trials; only 0 occur twice or more" in found.why
    assert ("an image file was found for 0 of 12" in found.why) == hint


def test_a_participant_with_few_trials_beside_others_is_no_wrong_column(bare):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    for sub, names in (("01", "abc"), ("02", "abcabcabc")):
        bare.run(sub, rows=[(4 + 7 * i, 1, name) for i, name in enumerate(names)])
    found = [f for f in check_trials(bare.build(), bare.dataset().participants, bare.settings())
             if "labels of column" in f.what]
    assert [f.participant for f in found] == ["01"]
    assert found[0].fix == "add runs, or leave the participant out with --participant-label"
