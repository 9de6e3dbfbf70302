import numpy as np
import pandas as pd
import pytest

from bids_decoder.bids.names import derivative_path
from bids_decoder.bids.prepared import prepared_runs
from bids_decoder.bids.writer import save_nifti, save_table
from bids_decoder.errors import InputError, MissingInputError


def write(out, groups=("g",), **entities):
    names = {"sub": "01", "task": "see", **entities}
    betas = derivative_path(out, "betaseries", **names)
    save_nifti(betas, np.zeros((2, 2, 2, len(groups))), np.eye(4))
    save_table(derivative_path(out, "trials", **names), pd.DataFrame({"run_group": groups}))
    return betas


def test_runs_in_natural_order(tmp_path):
    for run in ("10", "2", "1"):
        write(tmp_path, (f"task-see_run-{run}",), run=run)
    write(tmp_path, ("task-hear",), task="hear")
    write(tmp_path, ("other",), sub="02")
    write(tmp_path, ("ses-b_task-see",), ses="b")
    groups = [run.run_group for run in prepared_runs(tmp_path, "01", "see")]
    assert groups == ["ses-b_task-see", "task-see_run-1", "task-see_run-2", "task-see_run-10"]
    assert len(prepared_runs(tmp_path, "01")) == 5
    assert prepared_runs(tmp_path, "03") == [] and prepared_runs(tmp_path / "no", "01") == []


def test_space_belongs_to_the_name(tmp_path):
    betas = write(tmp_path, space="T1w", run="1")
    (run,) = prepared_runs(tmp_path, "01")
    assert run.betas_file == betas
    assert run.trials_file.name == "sub-01_task-see_run-1_space-T1w_desc-singletrial_trials.tsv"


def test_table_missing(tmp_path):
    write(tmp_path).with_name("sub-01_task-see_desc-singletrial_trials.tsv").unlink()
    with pytest.raises(MissingInputError):
        prepared_runs(tmp_path, "01")


@pytest.mark.parametrize("groups", [("a", "b"), (None, "a"), (None,), ()])
def test_table_of_no_or_several_runs(tmp_path, groups):
    write(tmp_path, groups or ("x",))
    if not groups:
        save_table(derivative_path(tmp_path, "trials", sub="01", task="see"),
                   pd.DataFrame({"trial": [1]}))
    with pytest.raises(InputError):
        prepared_runs(tmp_path, "01")
