"""Provenance: one activity per finished stage, one entity per file."""

import json
import re

from bids_decoder import __version__
from bids_decoder.bids.provenance import Call, write_provenance
from bids_decoder.files import write_text
from bids_decoder.markers import StageKey, write_marker

CALL = Call("20260105x", ["/my data", "/out", "participant"], "2026-01-05T10:00:00+00:00",
            "2026-01-05T11:00:00+00:00", ("raw", "fmriprep"))
DONE = StageKey("betas", "sub-01", {"glm": {"hrf": "spm"}, "inputs": "abc"})


def finished(out):
    path = write_text(out / "sub-01" / "func" / "sub-01_task-a_desc-brain_mask.nii.gz", "x")
    write_marker(out, DONE, [path])


def read(out):
    return {path.stem.rsplit("_", 1)[-1]: json.loads(path.read_text())
            for path in (out / "prov").iterdir()}


def test_every_file_has_the_stage_that_made_it(tmp_path):
    finished(tmp_path)
    group = StageKey("pretrain", "group", {})
    write_marker(tmp_path, group, [])
    write_provenance(tmp_path, CALL, [DONE, group], {"BIDS_DECODER_IMAGE": "lab/x@sha256:ab"})
    found = read(tmp_path)
    first, second = found["act"]["Activities"]
    assert first["Command"] == "bids_decoder '/my data' /out participant"
    assert first["Used"] == ["bids:raw:sub-01", "bids:fmriprep:sub-01"]
    assert second["Used"] == ["bids:raw:", "bids:fmriprep:"]
    assert first["Parameters"] == {"glm": {"hrf": "spm"}, "inputs": "abc"}
    (entity,) = found["ent"]["Entities"]
    assert entity["Id"] == "bids::sub-01/func/sub-01_task-a_desc-brain_mask.nii.gz"
    assert (tmp_path / entity["AtLocation"]).stat().st_size == entity["Size"]
    assert entity["GeneratedBy"] == [first["Id"]]
    versions = {entry["Label"]: entry["Version"] for entry in found["soft"]["Software"]}
    assert versions["bids_decoder"] == __version__ and {"numpy", "torch", "Python"} <= set(versions)
    (environment,) = found["env"]["Environments"]
    assert environment["Container"] == {"Type": "docker", "URI": "docker://lab/x@sha256:ab"}
    known = {entry["Id"] for entry in found["soft"]["Software"]} | {environment["Id"]}
    assert set(first["AssociatedWith"]) == known


def test_unfinished_stages_have_no_record(tmp_path):
    finished(tmp_path)
    changed = StageKey("betas", "sub-01", {"glm": {"hrf": "fir"}})
    absent = StageKey("decode", "sub-01", {})
    assert write_provenance(tmp_path, CALL, [changed, absent], {}) == []
    assert not (tmp_path / "prov").exists()


def test_names_are_those_of_the_proposal(tmp_path):
    finished(tmp_path)
    names = [path.name for path in write_provenance(tmp_path, CALL, [DONE], {})]
    pattern = r"prov-[0-9A-Za-z]+_(act|ent|soft|env)\.json"
    assert len(names) == 4 and all(re.fullmatch(pattern, name) for name in names)
