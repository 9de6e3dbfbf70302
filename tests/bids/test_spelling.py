import pytest

from bids_decoder.bids.spelling import did_you_mean, spelling_key, spelling_variants


@pytest.mark.parametrize(("left", "right"), [
    ("Face", "face"), ("old shoe", "old_shoe"), ("old-shoe", "oldshoe"), ("img-007", "img7"),
    ("0071", "71"), ("n01_2", "n1-02"), ("caf\u00e9", "cafe\u0301"), ("A.JPG", "a.jpg"),
    (" face", "face_"), ("1.0", "1"), ("0.50", "0.5"), ("-2.00", "-2"), ("0.0", "0"),
])
def test_names_that_differ_in_spelling_only(left, right):
    assert spelling_key(left) == spelling_key(right)


@pytest.mark.parametrize(("left", "right"), [
    ("img_1_11", "img_11_1"), ("-1", "1"), ("1.05", "1.5"), ("10", "1"), ("100", "10"),
    ("10.0", "1"), ("0.0", ""), ("v1.0", "v1"),
    ("face", "faces"), ("0", ""), ("a.png", "a.jpg"),
])
def test_names_that_differ_in_more(left, right):
    assert spelling_key(left) != spelling_key(right)


def test_the_usual_spelling_is_the_most_frequent():
    counts = {"FACE": 1, "face": 9, "Face": 3, "house": 4, "Shoe": 5, "shoe": 5}
    assert spelling_variants(counts) == [("face", ("FACE", "Face")), ("shoe", ("Shoe",))]


def test_suggestions_do_not_mind_case():
    assert did_you_mean("TRIALTYPE", ["onset", "trial_type"], "-") == "did you mean trial_type?"
    assert did_you_mean("fase", ["Face", "face", "house"], "-") == "did you mean Face or face?"
    assert did_you_mean("colour", ["onset", "trial_type"], "use another") == "use another"
