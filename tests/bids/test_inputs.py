"""What digests of the input hold of tables of confounds."""

from dataclasses import replace

from bids_decoder.bids.dataset import BoldRun, Participant
from bids_decoder.bids.inputs import input_digests, regressor_digests


def test_own_tables_are_apart_and_sidecars_count(tmp_path):
    table, sidecar, own = (
        tmp_path / name for name in ("a_timeseries.tsv", "a_timeseries.json", "own.txt")
    )
    for path in (table, own):
        path.write_text("x\n1\n", encoding="utf-8")
    run = BoldRun("01", None, "see", "1", "fmriprep", {}, {}, confounds_file=table)
    before = input_digests(Participant("01", (), (run,)))
    person = Participant("01", (), (replace(run, regressors_file=own),))
    first = regressor_digests(person)
    assert list(first) == ["task-see_run-1"]
    own.write_text("x\n2\n", encoding="utf-8")
    assert regressor_digests(person) != first
    assert input_digests(person) == before
    sidecar.write_text('{"a_comp_cor_00": {"Mask": "WM"}}', encoding="utf-8")
    assert input_digests(person) != before
