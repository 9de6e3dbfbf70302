"""Events files that are odd as a whole: no onset anywhere, two columns of one name."""

from test_events import STIM, errors, steady, warnings


def run_of(bare, rows, columns):
    bare.json("task-see_bold.json", {"RepetitionTime": 2.0})
    bare.run(rows=rows, columns=columns)
    return bare.build()


def test_events_without_any_onset_are_said(bare):
    rows = [("n/a", 1, name, f"{name}.png") for name in ("cat", "dog") * 4]
    (found,) = errors(run_of(bare, rows, STIM))
    assert "left out: n/a or no number as onset (8)" in found.why
    assert "write onsets in seconds" in found.fix


def test_two_columns_of_one_name_are_said(bare):
    rows = steady([(name, "x", f"{name}.png") for name in ("cat", "dog") * 4])
    build = run_of(bare, rows, ("onset", "duration", "trial_type", "trial_type", "stim_file"))
    (found,) = [f for f in warnings(build) if f.what == "events: column trial_type"]
    assert "1 of 1 run(s) have two columns" in found.why and "trial_type.1" in found.fix
    assert set(build.tables["01"]["label"]) == {"cat", "dog"}
