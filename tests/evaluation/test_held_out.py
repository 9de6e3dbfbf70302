"""Trials that a split leaves out, and why."""

from split_tables import choose, nsd, table

from bids_decoder.evaluation.held_out import apply_split


def errors(findings):
    return [f for f in findings if f.severity == "error"]


def test_labels_of_one_fold_are_excluded():
    tables = {"0": table([["a", "b"], ["a", "b"], ["a", "b", "c"]], labels=str)}
    split, *_ = choose(tables, "category")
    applied = apply_split(tables, split)["0"]
    assert applied.loc[applied["excluded"], "label"].tolist() == ["c"]
    split, *_ = choose(tables, "category", test_runs=("03",))
    applied = apply_split(tables, split)["0"]
    lost = applied.loc[applied["excluded"], "reason"]
    assert lost.tolist() == ["its label has no training trials"]


def test_excluded_trials_of_a_label_do_not_make_it_recur():
    one = table([["a", "b"], ["a", "b", "c"]], labels=str)
    split, *_ = choose({"0": one}, "category")
    one.loc[one["stimulus"].eq("b") & one["run"].eq("02"), ["excluded", "reason"]] = True, "motion"
    applied = apply_split({"0": one}, split)["0"]
    assert applied.loc[applied["split"].eq("cv"), "label"].tolist() == ["a", "a"]
    assert applied.loc[applied["excluded"], "reason"].tolist() == [
        "its label occurs in no other fold", "motion", "its label occurs in no other fold",
    ]
    # One fold is left: nothing can be cross-validated, and its trials stay for the GLM.
    one.loc[one["run"].eq("02"), ["excluded", "reason"]] = True, "motion"
    assert apply_split({"0": one}, split)["0"]["split"].tolist() == ["cv", "cv", None, None, None]


def test_labels_that_never_recur_are_an_error():
    tables = {"0": table([["a", "b"], ["c", "d"], ["e", "f"]], labels=str)}
    *_, findings = choose(tables, "category")
    assert any("no participant has test trials" in f.why for f in errors(findings))


def test_earlier_exclusions_keep_their_reason():
    tables = nsd()
    tables["0"].loc[:2, ["excluded", "reason"]] = [True, "motion"]
    split, *_ = choose(tables)
    applied = apply_split(tables, split)["0"]
    assert applied.loc[:2, "reason"].tolist() == ["motion"] * 3
    assert applied.loc[:2, "split"].tolist() == [None] * 3
    assert tables["0"]["split"].isna().all()
