"""Censored volumes and their trials in reports."""

import pytest
from report_tree import Tree

from bids_decoder.analyses.prepare.methods import _confounds_in_words
from bids_decoder.analyses.prepare.report import responses_section
from bids_decoder.bids.names import sidecar_path
from bids_decoder.files import write_json
from bids_decoder.reports.results import Results


@pytest.mark.parametrize(("moved", "said"), [(3, ["run-2", "100", "1", "3", "4"]), (0, None)])
def test_censored_volumes_are_counted_by_run(tmp_path, moved, said):
    tree = Tree(tmp_path, people=("01",), images=False)
    tree.write_plan()
    for run, count in (("1", 0), ("2", moved)):
        path = tree.path("betaseries", sub="01", task="see", run=run)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        counts = {"Volumes": 100, "BeforeSteadyState": 1 if count else 0, "Motion": count,
                  "Trials": 4}
        write_json(sidecar_path(path), {"Censored": counts})
    blocks = responses_section(Results(tree.out, "01")).blocks
    tables = [block for block in blocks if "Censored" in getattr(block, "caption", "")]
    if said is None:
        assert not tables and any("No volume is censored" in str(block) for block in blocks)
    else:
        assert tables[0].rows[1][1:] == said[1:] and said[0] in tables[0].rows[1][0]


def test_confounds_are_named_in_the_methods():
    words = _confounds_in_words(["simple", "w_comp_cor_0?", "/data/physio"])
    assert words.startswith("24 motion parameters and the mean signals")
    assert "“w_comp_cor_0?”" in words and words.endswith("own regressors")
    assert _confounds_in_words(["none"]) == "none"
