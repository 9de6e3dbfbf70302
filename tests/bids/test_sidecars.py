import json
from pathlib import Path

import numpy as np
import pytest

from bids_decoder.bids.names import sidecar_path
from bids_decoder.bids.writer import save_nifti
from bids_decoder.errors import UsageError
from bids_decoder.interfaces.outputs import DerivativesSink


def filtered(toy, tmp_path, query):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"bold": query}))
    dataset = toy.dataset(execution={"bids_filter_file": path})
    return [f"{run.subject} {run.run}" for run in dataset.runs]


def test_filters_may_ask_for_metadata(toy, tmp_path):
    toy.json("sub-01/func/sub-01_task-see_run-1_bold.json", {"FlipAngle": 70})
    toy.json("sub-02/func/sub-02_task-see_run-3_bold.json", {"FlipAngle": 80})
    assert filtered(toy, tmp_path, {"FlipAngle": 70}) == ["01 1"]
    assert filtered(toy, tmp_path, {"FlipAngle": [70, 80]}) == ["01 1", "02 3"]
    assert filtered(toy, tmp_path, {"FlipAngle": "*"}) == ["01 1", "02 3"]
    assert filtered(toy, tmp_path, {"FlipAngle": None, "run": 1}) == ["02 1"]


def test_a_key_that_is_nowhere_is_refused_with_the_nearest(toy, tmp_path):
    with pytest.raises(UsageError, match="did you mean RepetitionTime"):
        filtered(toy, tmp_path, {"RepetitonTime": 2.0})


def test_nearer_sidecars_win_and_null_is_absent(toy):
    toy.json("sub-01/sub-01_task-see_bold.json", {"RepetitionTime": 3.0, "TaskName": None})
    toy.json("sub-01/func/sub-01_task-see_run-01_bold.json", {"RepetitionTime": 4.0})
    toy.json("sub-01/func/sub-01_task-other_bold.json", {"RepetitionTime": 5.0})
    first, second = toy.dataset().participants[0].runs[:2]
    assert first.metadata == {"RepetitionTime": 4.0}
    assert second.metadata["RepetitionTime"] == 3.0


@pytest.mark.parametrize(("content", "why"), [
    ("[" * 200_000 + "]" * 200_000, "nested"), ('{"a": ' * 70 + "1" + "}" * 70, "nested"),
    ('{"a": "' + "x" * (17 << 20) + '"}', "larger than 16 MiB"), ("\0", "JSON"),
    ('{"TaskName": "\\ud800"}', "surrogates"), ('{"a": ' + "9" * 5000 + "}", "4300 digits"),
])
def test_hostile_sidecars_are_findings(toy, content, why):
    toy.text("sub-01/func/sub-01_task-see_run-1_bold.json", content)
    (finding,) = [f for f in toy.dataset().findings if f.severity == "error"]
    assert finding.place.endswith("sub-01_task-see_run-1_bold.json")
    assert why in finding.why and finding.code == 65


@pytest.mark.parametrize(("name", "resolution"), [
    ("sub-01_space-MNI152NLin6Asym_res-2_desc-brain_mask.nii.gz",
     "MNI152NLin6Asym, TemplateFlow resolution 2"),
    ("sub-01_space-T1w_desc-brain_mask.nii.gz", None),
])
def test_images_with_a_resolution_in_their_name_explain_it(tmp_path, name, resolution):
    path = save_nifti(tmp_path / name, np.ones((2, 2, 2)), np.eye(4), metadata={"Type": "Brain"})
    plain = save_nifti(tmp_path / "mask.nii.gz", np.ones((2, 2, 2)), np.eye(4))
    parts = dict(part.split("-") for part in name.split("_")[:-1])
    sink = DerivativesSink(
        in_file=str(plain), output_dir=str(tmp_path / "out"), key="bold_mask",
        entities={key: value for key, value in parts.items() if key != "desc"},
        metadata={"Type": "Brain"},
    )
    for written in (path, Path(sink.run().outputs.out_file)):
        sidecar = json.loads(sidecar_path(written).read_text())
        assert sidecar["Type"] == "Brain" and sidecar.get("Resolution") == resolution
