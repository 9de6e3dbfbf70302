"""The plan of encoding models: when they run, what they depend on, what stands in the way."""

import dataclasses
import shutil

import pandas as pd
import pytest

from bids_decoder.cli.parser import parse_args
from bids_decoder.cli.plan import make_plan
from bids_decoder.cli.plan_encoding import _RANGES, too_few
from bids_decoder.config import Encoding
from bids_decoder.errors import FindingsError
from bids_decoder.files import write_text
from bids_decoder.markers import write_marker
from bids_decoder.simulate.betas import write_encoding_dataset
from bids_decoder.simulate.images import write_scene
from bids_decoder.simulate.layout import PictureDesign


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
    for person in made.work.people:
        for work in (person.betas, person.encode and person.encode.key,
                     person.decode and person.decode.key):
            if work is not None:
                path = write_text(made.work.output_dir / f"{work.unit}_{work.stage}.txt", "done")
                write_marker(made.work.output_dir, work, [path])


def test_only_when_asked_for_and_only_at_the_participant_level(plan):
    assert all(person.encode is None for person in plan().work.people)
    made = plan("--encoder", "etecrm", "--participant-label", "02")
    assert todo(made) == [("sub-02", "betas"), ("sub-02", "decode"), ("sub-02", "encode")]
    (person,) = made.work.people
    assert person.encode.names == (
        "etecrm", "etecrm-plain", "twostep-selective", "twostep-plain", "ridge",
    )
    assert person.encode.needs_pictures
    assert not plan("--encoder", "ridge").work.people[0].encode.needs_pictures
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
