"""The plan of encoding models: when they run, what they depend on, what stands in the way."""

import dataclasses
import shutil

import pandas as pd
import pytest

from bids_decoder.analyses.encode.plan import _RANGES, too_few
from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.errors import FindingsError
from bids_decoder.files import write_text
from bids_decoder.markers import write_marker
from bids_decoder.simulate.betas import write_encoding_dataset
from bids_decoder.simulate.images import write_scene
from bids_decoder.simulate.layout import PictureDesign
from bids_decoder.training.encoding_settings import Encoding


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_encoding_dataset(
        tmp_path_factory.mktemp("plan") / "data", PictureDesign(n_participants=2, n_train=24),
        shape=(3, 3, 2), region=(2, 2, 1),
    )


@pytest.fixture
def plan(data, tmp_path):
    def make(*words, folder=data, levels=("participant",)):
        settings, _ = parse_args([
            str(folder), str(tmp_path / "out"), *levels, *map(str, words), "-d",
            f"betas={folder}", "--device", "cpu",
        ])
        return make_plan(settings, tmp_path / "work")

    return make


def todo(made):
    return [(step.unit, step.stage) for step in made.steps if step.todo]


def finish(made):
    """Mark every stage of a plan as done."""
    output = made.study.output_dir
    for stage in (stage for job in made.jobs for stage in job.stages):
        path = write_text(output / f"{stage.key.unit}_{stage.key.stage}.txt", "done")
        write_marker(output, stage.key, [path])


def encoded(made):
    return [job.spec for job in made.jobs if job.analysis == "encode"]


def test_only_when_asked_for_and_only_at_the_participant_level(plan):
    assert encoded(plan()) == []
    made = plan("--encoder", "etecrm", "--participant-label", "02")
    assert {("sub-02", "betas"), ("sub-02", "encode")} <= set(todo(made))
    assert {unit for unit, _ in todo(made)} == {"sub-02"}
    (spec,) = encoded(made)
    assert spec.names == (
        "etecrm", "etecrm-plain", "twostep-selective", "twostep-plain", "ridge",
    )
    assert spec.needs_pictures
    assert not encoded(plan("--encoder", "ridge"))[0].needs_pictures
    group = plan("--encoder", "etecrm", "--holdout-label", "02", levels=("group",))
    assert "encode" not in {step.stage for step in group.steps}
    prepared = plan("--encoder", "etecrm", "--stage", "prepare")
    assert "encode" not in {step.stage for step in prepared.steps}


@pytest.mark.parametrize(("words", "again"), [
    ((), False), (("--budget", "20vox"), False), (("--nprocs", "2"), False),
    (("--random-seed", "5"), True), (("--encoder", "ridge"), True),
])
def test_what_it_depends_on(plan, words, again):
    finish(plan("--encoder", "etecrm"))
    made = plan("--encoder", "etecrm", *words)
    assert (("sub-01", "encode") in todo(made)) == again


def test_another_picture_is_another_input(plan, data, tmp_path):
    finish(plan("--encoder", "etecrm"))
    copy = shutil.copytree(data, tmp_path / "copy")
    assert todo(plan("--encoder", "etecrm", folder=copy)) == []
    write_scene(copy / "stimuli" / "unique-01-001.png", "another", seed=1, size=64)
    assert ("sub-01", "encode") in todo(plan("--encoder", "etecrm", folder=copy))


def test_numbers_out_of_range_are_all_named(plan, tmp_path):
    toml = write_text(tmp_path / "s.toml", "[encoding]\nvalidation_share = 0.9\nbatch_size = 1\n")
    with pytest.raises(FindingsError) as caught:
        plan("--encoder", "ridge", "--config-file", toml)
    assert {f.what for f in caught.value.findings if f.severity == "error"} == {
        "[encoding] validation_share", "[encoding] batch_size",
    }
    numbers = {f.name for f in dataclasses.fields(Encoding)} - {"encoder"}
    assert set(_RANGES) == numbers


def test_too_few_held_out_stimuli_are_said():
    table = pd.DataFrame({
        "split": ["test"] * 2 + ["train"] * 6, "stimulus": list("abcdefgh"), "excluded": False,
    })
    assert too_few(table) == "2 held-out stimuli, 3 are needed"
    enough = pd.concat([table, table.iloc[:1].assign(stimulus="z")])
    assert too_few(enough) is None
    assert too_few(enough.assign(excluded=enough["stimulus"] == "z")) is not None
    assert too_few(enough[enough["stimulus"] != "h"]) == "5 training stimuli, 6 are needed"
