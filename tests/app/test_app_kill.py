"""Killed, stopped, run at once or with other processes: the results are the same bytes."""

import os
import signal
import time
from pathlib import Path

import pytest
from app_calls import derivatives, end_group, members, wait_for

from bids_decoder.files import read_json

HELD = ("--holdout-label", "03")

pytestmark = pytest.mark.slow


def node_has_started(output, *names):
    """Say whether a node with one of the names has a folder with something in it."""
    def check():
        return any(any(output.glob(f"work/call-*/*/**/{name}/*")) for name in names)

    return check


def killed(call, output, argv, names):
    """Start a call and kill its process group as soon as one of the nodes has started."""
    process = call.fork(*argv)
    try:
        hit = wait_for(process, node_has_started(output, *names))
    finally:
        end_group(process)
    process.communicate()
    assert hit, f"no node {names} was seen"


def markers(output):
    return {path.stem for path in (output / "logs" / "done").glob("*.json")}


def recorded(output):
    """Files whose provenance is on record."""
    return {entity["AtLocation"] for path in (output / "prov").glob("*_ent.json")
            for entity in read_json(path)["Entities"]}


def files_of_markers(output):
    return {name for path in (output / "logs" / "done").glob("*.json")
            for name in read_json(path)["outputs"]}


def test_killed_in_every_stage_of_raw_data(call, category_run, tmp_path):
    """Kill in preprocessing and in the GLM; then two workers, other hash seed.

    Decoding is killed in the tests below, on responses and between two parts of its refits.
    """
    assert category_run.done.code == 0
    output, data = tmp_path / "out", category_run.data
    argv = (data.folder, output, "participant", *data.options, "--nprocs", 1)
    killed(call, output, argv, ["confounds_1"])
    assert markers(output) == set()
    killed(call, output, argv, ["single_trial"])
    assert markers(output) <= {"sub-01_preprocess"}
    last = call(*argv[:-1], 2, PYTHONHASHSEED="5")
    assert last.code == 0, last.text
    assert {("sub-01", "betas"), ("sub-01", "decode")} <= set(last.todo())
    assert derivatives(output) == derivatives(category_run.output)
    assert not list(output.rglob(".tmp-*"))
    assert not (output / "work").exists()


def test_killed_in_pretraining_and_decoding(call, compute, betas, betas_run, tmp_path):
    assert betas_run.done.code == 0
    output = tmp_path / "out"
    argv = (betas.folder, output, "group", "participant", *betas.options, *HELD, "--nprocs", 1)
    killed(call, output, argv, ["pretrain"])
    assert markers(output) == {f"sub-0{n}_betas" for n in (1, 2, 3)}
    killed(call, output, argv, ["select_final"])
    assert "group_pretrain" in markers(output)
    last = compute(*argv)
    assert last.code == 0, last.text
    assert set(last.todo()) - {("sub-03", "controls")} == {("sub-03", "decode")}
    assert derivatives(output) == derivatives(betas_run.output)


def test_killed_between_two_parts_of_the_refits(call, compute, category_run, tmp_path):
    """Parts that were finished are not computed again."""
    assert category_run.done.code == 0
    data, output = category_run.data, category_run.copy(tmp_path / "out")
    words = ("participant", *data.options, "--troi", "encoding", "--n-permutations", 12,
             "--nprocs", 1)
    killed(call, output, (data.folder, output, *words), ["refit_fold2_from10"])
    last = compute(data.folder, output, *words)
    assert last.code == 0, last.text
    record = max((output / "logs").glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    ran = {timing["node"].rsplit(".", 1)[-1] for timing in read_json(record)["timings"]}
    parts = {(fold, first): f"refit_fold{fold}_from{first}" in ran
             for fold in (1, 2, 3, 4) for first in (0, 10)}
    assert not parts[1, 0] and not parts[1, 10] and not parts[2, 0]
    assert parts[2, 10] and all(parts[fold, first] for fold in (3, 4) for first in (0, 10))
    whole = category_run.copy(tmp_path / "whole")
    assert compute(data.folder, whole, *words).code == 0
    assert derivatives(output) == derivatives(whole)


def test_leftovers_of_a_killed_write_are_removed(compute, betas, betas_run, tmp_path):
    output = betas_run.copy(tmp_path / "out")
    stray = output / "sub-03" / "func" / ".tmp-1-sub-03_task-pictures_stat-troi_statmap.nii.gz"
    stray.write_bytes(b"half")
    (output / "sub-03" / "func" / "sub-03_task-pictures_stat-troi_statmap.nii.gz").unlink()
    done = compute(betas.folder, output, "group", "participant", *betas.options, *HELD,
                "--nprocs", 1)
    assert done.code == 0
    assert derivatives(output) == derivatives(betas_run.output)


@pytest.mark.parametrize(("nprocs", "number"), [(1, signal.SIGTERM), (2, signal.SIGINT)])
def test_stopped_by_a_signal(call, betas, tmp_path, nprocs, number):
    output = tmp_path / "out"
    # One imports while it is stopped: a signal may come in the middle of an import.
    start = call.start if nprocs == 1 else call.fork
    process = start(betas.folder, output, "group", "participant", *betas.options, *HELD,
                    "--nprocs", nprocs)
    try:
        assert wait_for(process, node_has_started(output, "pretrain"))
        assert list((output / "logs" / "locks").iterdir())
        os.kill(process.pid, number)
        _, text = process.communicate(timeout=60)
        assert process.returncode == 75, text
        assert f"stopped ({number.name})" in text
        assert f"kept in {output}, " in text and "sub-01 betas" in text
        assert f"run the same command again: bids_decoder {betas.folder} {output}" in text
        assert "Traceback" not in text
        assert list((output / "logs" / "locks").iterdir()) == []
        assert recorded(output) == files_of_markers(output) != set()
        time.sleep(1)
        assert members(process.pid) == []
    finally:
        end_group(process)


def test_workers_do_not_outlive_the_program(call, betas, tmp_path):
    output = tmp_path / "out"
    process = call.fork(betas.folder, output, "group", *betas.options, *HELD, "--nprocs", 2)
    try:
        assert wait_for(process, node_has_started(output, "pretrain"))
        assert len(members(process.pid)) >= 3
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        end = time.monotonic() + 20
        while members(process.pid) and time.monotonic() < end:
            time.sleep(0.1)
        assert members(process.pid) == []
    finally:
        end_group(process)


def test_killed_worker_is_reported(call, betas, tmp_path):
    output = tmp_path / "out"
    process = call.fork(betas.folder, output, "group", *betas.options, *HELD, "--nprocs", 2)
    try:
        assert wait_for(process, node_has_started(output, "pretrain"))
        for pid in members(process.pid):
            if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
        _, text = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "a worker process was killed" in text
        assert "why: " in text
        assert "fix: give more memory" in text
        assert list((output / "logs" / "locks").iterdir()) == []
    finally:
        end_group(process)


def test_same_participant_twice_at_once(call, compute, betas, betas_run, tmp_path):
    output = betas_run.copy(tmp_path / "out")
    argv = (betas.folder, output, "participant", *betas.options, "--participant-label", "03",
            "--budget", "60vox", "--nprocs", 1)
    first = call.fork(*argv)
    try:
        assert wait_for(first, (output / "logs" / "locks" / "03").exists)
        second = compute(*argv)
        assert second.code == 75
        assert "participant 03 is being processed by another run" in second.text
        dry = compute(*argv, "--dry-run")
        assert dry.code == 0
        _, text = first.communicate(timeout=300)
        assert first.returncode == 0, text
    finally:
        end_group(first)


def test_two_participants_at_once(call, compute, betas, tmp_path):
    """Neither may take the other's work folder away."""
    outputs = {}
    for name, together in (("apart", False), ("together", True)):
        output = tmp_path / name
        (output / "logs").mkdir(parents=True)
        argv = [
            (betas.folder, output, "participant", *betas.options, "--participant-label", label,
             "--from-scratch", "--budget", "60vox", "--n-permutations", 9,
             "--nprocs", 1)
            for label in ("01", "02")
        ]
        if together:
            started = [call.fork(*words) for words in argv]
            codes = [(p.communicate(timeout=300), p.returncode)[1] for p in started]
        else:
            codes = [compute(*words).code for words in argv]
        assert codes == [0, 0]
        outputs[name] = derivatives(output)
    assert outputs["apart"] == outputs["together"]
    assert {name.split("/")[0] for name in outputs["together"]} == {"sub-01", "sub-02"}
